"""One prompt through the reference with hooks: every module's output against the engine's slices, and the noise.

Request: `{"checkpoint", "truth", "dtype", "prompt_ids", "tokens", "text", "image", "chat", "engine": [records of
accuracy_watch with "rank"], "account", "folder", "keep"}`. `account` is the dry run's (`into`, `sizes`; empty: modules
are matched by name). The reference runs twice: in the serving dtype (its slices go to `folder`), then in the truth's
dtype. Answer: `{"rows": [...], "unmatched": [...], "unjudged": [...], "only_reference": [...], "class",
"transformers", "prompt_tokens"}`, rows in the order of the engine's calls: `{"key", "by", "module", "class", "width",
"relative", "noise", "cosine", "ulps", "bad", "tokens_out", "tokens", "suspects": [{"name", "says", "left"}]}`. `by`
says how the pair was found (`accuracy_pairs.py`); `unjudged` are outputs whose tokens a router's near-ties all sent
elsewhere, and those of which the reference itself has no finite numbers.
`relative` is |engine - truth| / |truth| over the slice, `noise` the same of the reference's own serving dtype.
Suspects are tested (`accuracy_suspects.py`) only where the error leaves the band.
"""

import gc
import os
import re
import sys

BAND = 3.0  # times the noise
FEW = 4  # tokens; with fewer nothing is judged by them alone
BEHIND = 2.0  # times what strayed tokens did to later ones of the prompt
# The engine's activation multiplies gate and up, the reference's is the bare function; `down_proj@in` covers both.
OTHER_MEANING = ("act_fn",)
EPS = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-23}


def probe(request, progress):
    progress("importing transformers")
    import torch
    import transformers
    from seatrial_probes import accuracy_reference as reference
    from seatrial_probes.accuracy_pairs import owners
    from seatrial_probes.accuracy_watch import apart

    row = {k: request[k] for k in ("prompt_ids", "text", "image", "chat")}
    row["tokens"] = request["tokens"]
    if not row["prompt_ids"]:
        # A dump does not say what was asked: the reference's own tokens of the text are taken.
        tokenizer = transformers.AutoTokenizer.from_pretrained(request["checkpoint"])
        row["prompt_ids"] = [int(t) for t in tokenizer(row["text"])["input_ids"]]
    known = range(len(row["prompt_ids"]) + len(row["tokens"]))  # a dump goes on with tokens that nobody names
    chosen = sorted({r for e in request["engine"] if not apart(e["module"]) for r in e["rows"] if r in known})
    prepare, _ = reference._inputs({"checkpoint": request["checkpoint"], "rows": [row]})
    seen, weights = {}, {}
    for name in ("dtype", "truth"):
        dtype = getattr(torch, request[name])
        progress("the reference in " + request[name])
        model = reference.load(request["checkpoint"], dtype, keep=request.get("keep", False))
        with torch.inference_mode():
            seen[name] = watched(model, prepare(row, dtype), os.path.join(request["folder"], name), chosen)
        kind = type(model).__name__
        if name == "truth":
            named = (*model.named_parameters(), *model.named_buffers())
            weights = {n: p.detach() for n, p in named if p.dim() <= 2}
            config = model.config.get_text_config()
            owned = owners(model, request["account"].get("into", {}))
        del model
        gc.collect()
    progress("comparing")
    compared = compare(request, seen["truth"], seen["dtype"], weights, config, owned)
    told = {"class": kind, "transformers": transformers.__version__, "prompt_tokens": len(row["prompt_ids"])}
    return {**compared, **told}


def watched(model, inputs, folder, rows):
    """The records of one forward pass, the rotation's outputs among them."""
    from seatrial_probes.accuracy_watch import Watch

    watch = Watch(model, folder, rows)
    modeling = {}
    for module in model.modules():
        home = sys.modules[type(module).__module__]
        for name in dir(home):
            if name.startswith("apply_rotary_pos_emb"):
                modeling[(home, name)] = getattr(home, name)

    def wrapped(function):
        def call(*args, **kwargs):
            output = function(*args, **kwargs)
            if watch.stack and isinstance(output, tuple) and len(output) == 2:
                watch.rope(watch.stack[-1], output, by_head=True)
            return output

        return call

    for (home, name), function in modeling.items():
        setattr(home, name, wrapped(function))
    try:
        model(**inputs)
    finally:
        for (home, name), function in modeling.items():
            setattr(home, name, function)
        for handle in watch.handles:
            handle.remove()
    return watch.records


def compare(request, truth, rough, weights, config, owned=None):
    """`owned`: tensor to the reference's module, of `accuracy_pairs.owners`."""
    import numpy
    from seatrial_probes import accuracy_outputs
    from seatrial_probes import accuracy_rows as both
    from seatrial_probes import accuracy_suspects as suspects
    from seatrial_probes.accuracy_pairs import Pairs

    true, low = accuracy_outputs.by_key(truth), accuracy_outputs.by_key(rough)
    here = [record["module"] for record in request["engine"]]
    there = [record["module"] for record in truth]
    pairs = Pairs(request["account"], owned, here, there) if owned else None
    rows, unmatched, unjudged, done = [], [], [], {}
    # `origin`: the layer in which a token strayed; `behind`: by key, what that did to the prompt's later tokens.
    ties, strayed, origin, behind = set(), set(), {}, {}
    eps = EPS[request["dtype"]]
    for output in accuracy_outputs.outputs(request["engine"], pairs, true):
        key, step = output["key"], output["step"]
        if (key, step) in done:
            continue
        pair = None
        if key and key.rsplit(".", 1)[-1] not in OTHER_MEANING:
            pair = both.sides(output, true, low, config)
        if pair is None:
            unmatched.extend([output["engine_key"]] if output["engine_key"] not in unmatched else [])
            continue
        done[key, step] = output
        at, mine, theirs, noise = pair
        if not (numpy.isfinite(theirs).all() and numpy.isfinite(noise).all()):
            # Where the reference itself overflows (float16), nothing says what the engine ought to give.
            unjudged.append(key)
            continue
        # Tokens that a router sent elsewhere for a near-tie, here or in an earlier layer, are no evidence.
        routed = both.router_of(key, true)
        ties |= both.near_ties(routed, at, true, low, weights, config) if routed else set()
        clear = numpy.array([(step, t) not in strayed for t in at])
        if routed:
            clear &= numpy.array([t not in ties for t in at])
        if not clear.any():
            unjudged.append(key)
            continue
        each = numpy.linalg.norm(mine - theirs, axis=1) / (numpy.linalg.norm(theirs, axis=1) + 1e-30)
        rough_each = numpy.linalg.norm(noise - theirs, axis=1) / (numpy.linalg.norm(theirs, axis=1) + 1e-30)
        limits = BAND * rough_each
        size = float(numpy.linalg.norm(theirs[clear])) or 1e-30
        relative = float(numpy.linalg.norm((mine - theirs)[clear])) / size
        band = float(numpy.linalg.norm((noise - theirs)[clear])) / size
        norms = float(numpy.linalg.norm(mine)) * float(numpy.linalg.norm(theirs))
        limit = max(BAND * band, 2 * eps)
        reached = [t for t, where in origin.items() if where < layer_of(key)]
        if reached:
            # What strayed tokens say reaches the later ones through the attention of later layers. Those before the
            # first of them are judged as ever, of all together only the middle one.
            untouched = clear & numpy.array([t < min(reached) for t in at])
            relative, limit = float(numpy.median(each[clear])), 2 * max(float(numpy.median(limits[clear])), 2 * eps)
            if untouched.sum() >= FEW:
                own = float(numpy.linalg.norm(theirs[untouched])) or 1e-30
                apart = float(numpy.linalg.norm((mine - theirs)[untouched])) / own
                rough = max(BAND * float(numpy.linalg.norm((noise - theirs)[untouched])) / own, 2 * eps)
                if not apart / rough <= relative / limit:
                    relative, limit = apart, rough
            late = [float(e) for t, e in zip(at, each, strict=True) if t > min(reached) and t not in origin]
            if not step:
                # Of the logits only the last token's are known: what came before them says more.
                before = list(behind.values())[-1:] if len(late) < FEW else []
                behind[key] = max(late + before, default=0.0)
            elif not untouched.any():
                # The decoded token looks back at strayed ones as the prompt's last tokens do.
                limit = max(limit, BEHIND * behind.get(key, 0.0))
        out = not relative <= limit or bool(output["bad"])
        wide = numpy.maximum(limits, 2 * limit)
        if not out and routed:
            strayed |= {(step, t) for t, e, w in zip(at, each, wide, strict=True) if t in ties and not e <= w}
        if routed:
            # A tie that fell the other way in the reference's own rounding would make everything behind it noise.
            strayed |= {(step, t) for t, e in zip(at, rough_each, strict=True) if t in ties and not e <= 2 * limit}
            for _, t in strayed:
                origin.setdefault(t, layer_of(key))
        rows.append(
            {
                "key": key,
                "step": step,
                "by": output["by"],
                "engine_key": output["engine_key"],
                "module": output["module"],
                "class": output["class"],
                "width": int(theirs.shape[1]),
                "relative": min(relative, 1e30) if relative == relative else 1e30,
                "noise": band,
                "limit": limit,
                "out": out,
                "cosine": float((mine * theirs).sum()) / norms if norms else 0.0,
                "ulps": float(numpy.median(numpy.abs(mine - theirs) / (numpy.abs(theirs) * eps + 1e-30))),
                "bad": int(output["bad"]),
                "tokens": [int(t) for t in at],
                "strayed": sorted(int(t) for s, t in strayed if s == step),
                "tokens_out": [int(t) for t, e in zip(at, each, strict=True) if not e <= 2 * limit],
                "suspects": [],
            }
        )
    excuse(rows)
    tested = 0
    for row in rows:
        if tested < 3 and row["out"] and not row["excused"]:
            tested += 1
            at, mine, theirs, _ = both.sides(done[row["key"], row["step"]], true, low, config)
            ref = both.reader(true, at)
            row["suspects"] = suspects.test(row, mine, theirs, at, ref, weights, config)
    seen = {key for key, _ in done}
    return {
        "rows": rows,
        "unmatched": unmatched,
        "unjudged": list(dict.fromkeys(unjudged)),
        "only_reference": [key for key in true if key not in seen],
    }


def layer_of(key):
    """The layer's number; what has none comes before all (embeddings) or after them."""
    found = re.match(r"layers\.(\d+)", key)
    return int(found[1]) if found else (-1 if key.startswith(("embed", "vision", "projector")) else 1 << 30)


def excuse(rows):
    """Mark the outputs outside that merely mean something else: what encloses them is inside, and nothing behind them
    in the same block is outside for good (an error that goes on into the next step is one).
    """
    for step in {r["step"] for r in rows}:
        mine = [r for r in rows if r["step"] == step]
        outside, judged = {r["key"] for r in mine if r["out"]}, {r["key"] for r in mine}
        carried = set()
        for row in reversed(mine):
            block = row["key"].split("#")[0] if "#" in row["key"] else row["key"].rpartition(".")[0]
            row["excused"] = row["out"] and block not in carried and excused(row["key"], outside, judged)
            if row["out"] and not row["excused"]:
                carried.add(block)


def excused(key, outside, judged):
    """Is an enclosing module's output in the band again? Then this one only means something else on the two sides."""
    parent = key.split("#")[0].split("@")[0]
    if "#" in key or "@" in key:
        return parent in judged and parent not in outside and "#" not in key
    while "." in parent:
        parent = parent.rsplit(".", 1)[0]
        if parent in judged:
            return parent not in outside
    return False
