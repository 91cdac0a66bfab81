"""The engine's outputs, each with its counterpart among the reference's: by tensors (`accuracy_pairs`), else by name.

Records are those of `accuracy_watch`. A name is not believed where the tensors say that it means something else.
"""

ALIASES = {"logits_processor": "lm_head"}


def keyed(records):
    """Every record has a key that no other module's output has: its short name, or its whole one where two share it."""
    from seatrial_probes.accuracy_watch import key_of

    homes = {}
    for record in records:
        record["key"] = record["key"] or key_of(record["module"])
        homes.setdefault(record["key"], set()).add(record["module"])
    for record in records:
        if len(homes[record["key"]]) > 1:
            record["key"] = record["module"] + suffix(record["key"])
    return records


def by_key(records):
    """Key to record; a module called several times keeps its first call."""
    found = {}
    for record in keyed(records):
        found.setdefault(record["key"], record)
    return found


def suffix(key):
    """What of the module it is: `@in`, `#rope_q` or, as a rule, nothing: its output."""
    return key[min((key.index(mark) for mark in "@#" if mark in key), default=len(key)) :]


def outputs(records, pairs, true):
    """The engine's outputs in the order of its calls (those of rank 0), each once: `{"key", "by", "engine_key",
    "module", "class", "step", "rows", "bad", "shares"}`. `key` is the reference's ("" without a counterpart), `by` how
    it was found; shares are `(record, at, of, rows)`, without figures where the whole output is meant.
    """
    groups = {}
    for record in keyed(records):
        held = groups.setdefault((record["module"], suffix(record["key"]), record["step"]), {})
        held.setdefault(record["rank"], record)
    keys = {record["module"]: key[: len(key) - len(suffix(key))] for key, record in true.items()}
    made = []
    for (module, more, _), held in groups.items():
        if 0 not in held:
            continue
        for key, by, engine_key, spans in counterparts(module, more, held, pairs, keys, true):
            shares = [(held[r], at, of, rows) for r, at, of, rows in spans if r in held]
            first = held[0]
            made.append(
                {
                    "key": key,
                    "by": by,
                    "engine_key": engine_key,
                    "shares": shares or [(record, 0, 0, 0) for _, record in sorted(held.items())],
                    **{k: first[k] for k in ("module", "class", "step", "rows", "bad")},
                }
            )
    return made


def counterparts(module, more, held, pairs, keys, true):
    """(the reference's key or "", how it was found, the engine's key, spans) for every part of an output."""
    own = held[0]["key"]
    if pairs and more:
        # The rotation may be called a level deeper in the engine (`self_attn.mla_attn`) than in the reference.
        above = module
        while above:
            for pair in pairs.of.get(above, []):
                if keys.get(pair["module"], "") + more in true:
                    return [(keys[pair["module"]] + more, pair["by"], own, [])]
            above = above.rpartition(".")[0] if more[0] == "#" else ""
    elif pairs:
        found = [p for p in pairs.of.get(module, []) if p["module"] in keys]
        mark = [":" + keys[p["module"]] if len(found) > 1 else "" for p in found]
        if found:
            return [(keys[p["module"]], p["by"], own + m, p["spans"]) for p, m in zip(found, mark, strict=True)]
    return by_name(module, more, held, pairs, true)


def by_name(module, more, held, pairs, true):
    """As `counterparts`, by names: the parts of a fused projection as the model and the layer name them."""
    own, at, made = held[0]["key"], 0, []
    parts = [] if more else held[0].get("parts") or []
    for name, size in parts:
        key = own.rpartition(".")[0] + "." + name if "." in own else name
        spans = [[rank, at, rank * size, size] for rank in sorted(held)]
        made.append((key, "name", key, spans))
        at += size
    if not any(key in true for key, _, _, _ in made):
        made = [(same_place(ALIASES.get(own, own), true), "name", own, [])]
    return [(key if named(module, key, pairs, true) else "", by, own_key, spans) for key, by, own_key, spans in made]


def named(module, key, pairs, true):
    return key in true and not (pairs and pairs.contradicts(module, true[key]["module"]))


def same_place(key, true):
    """The rotation may be called a level deeper in the engine (`self_attn.mla_attn`) than in the reference."""
    if "#" not in key or key in true:
        return key
    name, _, what = key.partition("#")
    return name.rsplit(".", 1)[0] + "#" + what
