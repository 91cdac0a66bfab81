"""One prompt through the reference with hooks: every module's output against the engine's slices, and the noise.

Request: `{"checkpoint", "truth", "dtype", "prompt_ids", "tokens", "text", "image", "chat", "engine": [records of
accuracy_watch with "rank"], "folder", "keep"}`. The reference runs twice: in the serving dtype (its slices go to
`folder`), then in the truth's dtype. Answer: `{"rows": [...], "unmatched": [...], "only_reference": [...], "class",
"transformers"}`, rows in the order of the engine's calls: `{"key", "module", "class", "width", "relative", "noise",
"cosine", "ulps", "bad", "tokens_out", "tokens", "suspects": [{"name", "says", "left"}]}`. `relative` is
|engine - truth| / |truth| over the slice, `noise` the same of the reference's own serving dtype. Over 250 lines for the
one comparison of two sides.
Suspects are tested (`accuracy_suspects.py`) only where the error leaves the band.
"""

import gc
import importlib.util
import os
import sys

BAND = 3.0  # times the noise
# The engine's activation multiplies gate and up, the reference's is the bare function; `down_proj@in` covers both.
OTHER_MEANING = ("act_fn",)
EPS = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-23}


def sibling(name):
    """The helper `name.py` beside this file, loaded once."""
    full = "seatrial_probe_" + name
    if full not in sys.modules:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        spec = importlib.util.spec_from_file_location(full, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


def probe(request, progress):
    progress("importing transformers")
    import torch
    import transformers

    reference = sibling("accuracy_reference")
    row = {k: request[k] for k in ("prompt_ids", "text", "image", "chat")}
    row["tokens"] = request["tokens"]
    if not row["prompt_ids"]:
        # A dump does not say what was asked: the reference's own tokens of the text are taken.
        tokenizer = transformers.AutoTokenizer.from_pretrained(request["checkpoint"])
        row["prompt_ids"] = [int(t) for t in tokenizer(row["text"])["input_ids"]]
    for record in request["engine"]:
        record["key"] = record["key"] or sibling("accuracy_watch").key_of(record["module"])
    apart = sibling("accuracy_watch").apart
    chosen = sorted({r for record in request["engine"] if not apart(record["module"]) for r in record["rows"]})
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
        del model
        gc.collect()
    progress("comparing")
    rows, unmatched, only = compare(request, seen["truth"], seen["dtype"], weights, config)
    return {
        "rows": rows,
        "unmatched": unmatched,
        "only_reference": only,
        "class": kind,
        "transformers": transformers.__version__,
    }


def watched(model, inputs, folder, rows):
    """The records of one forward pass, the rotation's outputs among them."""
    watch_module = sibling("accuracy_watch")
    watch = watch_module.Watch(model, folder, rows)
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


def by_key(records):
    """Key to record; a module called several times keeps its first call."""
    found = {}
    for record in records:
        found.setdefault(record["key"], record)
    return found


def read(record):
    import numpy

    width = min(record["width"], sibling("accuracy_watch").WIDTH)
    if record["file"].endswith(".npy"):
        whole = numpy.load(record["file"], allow_pickle=False, mmap_mode="r")
        return numpy.asarray(whole.reshape(-1, record["width"])[:, :width], dtype="float64")
    return numpy.fromfile(record["file"], dtype="<f4").reshape(-1, width).astype("float64")


def engine_slice(records, key, step, wanted):
    """The engine's rows for a key; shares of several ranks side by side when only together they have the width."""
    import numpy

    parts = [record for record in records if record["key"] == key and record["step"] == step]
    first = [p for i, p in enumerate(parts) if p["rank"] not in [q["rank"] for q in parts[:i]]]
    if not first:
        return None, None
    if first[0]["width"] == wanted or len(first) == 1:
        return first[0], read(first[0])
    if sum(p["width"] for p in first) == wanted:
        return first[0], numpy.concatenate([read(p) for p in first], axis=1)
    return first[0], read(first[0])


def compare(request, truth, rough, weights, config):
    import numpy

    suspects = sibling("accuracy_suspects")
    true, low = by_key(truth), by_key(rough)
    aliases = {"logits_processor": "lm_head"}
    rows, unmatched, done = [], [], set()
    ties, strayed = set(), set()
    eps = EPS[request["dtype"]]
    for record in request["engine"]:
        if record["rank"]:
            continue
        key, step = same_place(aliases.get(record["key"], record["key"]), true), record["step"]
        if (key, step) in done:
            continue
        done.add((key, step))
        if key not in true or key.rsplit(".", 1)[-1] in OTHER_MEANING:
            unmatched.extend([key] if key not in unmatched else [])
            continue
        head, mine = engine_slice(request["engine"], record["key"], step, true[key]["width"])
        theirs, noise = read(true[key]), read(low[key])
        mine, theirs, noise = same_rows(head, mine, true[key], theirs, low[key], noise)
        if mine is None or mine.shape != theirs.shape:
            unmatched.extend([key] if key not in unmatched else [])
            continue
        if "#rope" in key:
            mine = unleaved(mine, theirs, head_width(config))
        at = [t for t in head["rows"] if t in true[key]["rows"]]
        # Tokens that a router sent elsewhere for a near-tie, here or in an earlier layer, are no evidence.
        ties |= near_ties(key, at, true, low, weights, config)
        clear = numpy.array([(step, t) not in strayed for t in at])
        if ".experts" in key or key.endswith(".mlp"):
            clear &= numpy.array([t not in ties for t in at])
        if not clear.any():
            continue
        each = numpy.linalg.norm(mine - theirs, axis=1) / (numpy.linalg.norm(theirs, axis=1) + 1e-30)
        limits = BAND * numpy.linalg.norm(noise - theirs, axis=1) / (numpy.linalg.norm(theirs, axis=1) + 1e-30)
        size = float(numpy.linalg.norm(theirs[clear])) or 1e-30
        relative = float(numpy.linalg.norm((mine - theirs)[clear])) / size
        band = float(numpy.linalg.norm((noise - theirs)[clear])) / size
        norms = float(numpy.linalg.norm(mine)) * float(numpy.linalg.norm(theirs))
        limit = max(BAND * band, 2 * eps)
        if strayed:
            # What strayed tokens say reaches the later ones through attention: only the middle token is judged.
            relative, limit = float(numpy.median(each[clear])), 2 * max(float(numpy.median(limits[clear])), 2 * eps)
        out = not relative <= limit or bool(head["bad"])
        wide = numpy.maximum(limits, 2 * limit)
        if not out and (".experts" in key or key.endswith(".mlp")):
            strayed |= {(step, t) for t, e, w in zip(at, each, wide, strict=True) if t in ties and not e <= w}
        rows.append(
            {
                "key": key,
                "step": step,
                "engine_key": record["key"],
                "module": record["module"],
                "class": record["class"],
                "width": int(theirs.shape[1]),
                "relative": min(relative, 1e30) if relative == relative else 1e30,
                "noise": band,
                "limit": limit,
                "out": out,
                "cosine": float((mine * theirs).sum()) / norms if norms else 0.0,
                "ulps": float(numpy.median(numpy.abs(mine - theirs) / (numpy.abs(theirs) * eps + 1e-30))),
                "bad": int(head["bad"]),
                "tokens": [int(t) for t in at],
                "strayed": sorted(int(t) for s, t in strayed if s == step),
                "tokens_out": [int(t) for t, e in zip(at, each, strict=True) if not e <= 2 * limit],
                "suspects": [],
            }
        )
    tested = 0
    for row in rows:
        outside = {r["key"] for r in rows if r["out"] and r["step"] == row["step"]}
        judged = {r["key"] for r in rows if r["step"] == row["step"]}
        row["excused"] = row["out"] and excused(row["key"], outside, judged)
        if tested < 3 and row["out"] and not row["excused"]:
            tested += 1
            row["suspects"] = suspects.test(row, request["engine"], true, read, weights, config)
    seen = {key for key, _ in done}
    return rows, unmatched, [key for key in true if key not in seen]


def same_place(key, true):
    """The rotation may be called a level deeper in the engine (`self_attn.mla_attn`) than in the reference."""
    if "#" not in key or key in true:
        return key
    name, _, what = key.partition("#")
    return name.rsplit(".", 1)[0] + "#" + what


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


def near_ties(key, tokens, true, low, weights, config):
    """Tokens whose choice of experts hangs on less than the router's own rounding; empty away from experts."""
    import numpy

    gate = key.rsplit(".experts", 1)[0].removesuffix(".mlp") + (".gate" if ".experts" in key else ".mlp.gate")
    if gate not in true or gate not in low or not (".experts" in key or key.endswith(".mlp")):
        return set()
    picked = [true[gate]["rows"].index(t) for t in tokens if t in true[gate]["rows"]]
    logits, rough = read(true[gate])[picked], read(low[gate])[[low[gate]["rows"].index(t) for t in tokens]]
    bias = next((w for n, w in weights.items() if n.endswith(gate + ".e_score_correction_bias")), None)
    groups = int(getattr(config, "n_group", 0) or 1)
    if bias is not None or groups > 1:
        # Chosen by the sigmoid and a bias (DeepSeek-V3's rule).
        more = bias.to("cpu").double().numpy() if bias is not None else 0.0
        logits, rough = 1 / (1 + numpy.exp(-logits)) + more, 1 / (1 + numpy.exp(-rough)) + more
    slack = 4 * numpy.abs(rough - logits).max(axis=1)
    count = int(getattr(config, "num_experts_per_tok", 0) or 1)
    gaps = -numpy.diff(-numpy.sort(-logits, axis=1), axis=1)
    # With groups the border may lie elsewhere in the order: every gap among the better half counts.
    border = gaps[:, count - 1 : count] if groups == 1 else gaps[:, : max(1, logits.shape[1] // 2)]
    near = border.min(axis=1) < slack
    if groups > 1:
        best = -numpy.sort(-logits.reshape(len(logits), groups, -1), axis=2)[:, :, :2].sum(axis=2)
        edge = int(getattr(config, "topk_group", 1) or 1)
        ordered = -numpy.sort(-best, axis=1)
        near |= ordered[:, edge - 1] - ordered[:, edge] < 2 * slack
    return {t for t, tie in zip(tokens, near, strict=True) if tie}


def same_rows(head, mine, other, theirs, rough, noise):
    """The rows both sides have, by token number."""
    if head is None or mine is None:
        return None, None, None
    common = [r for r in head["rows"] if r in other["rows"]]
    if not common:
        return None, None, None
    return (
        mine[[head["rows"].index(r) for r in common]],
        theirs[[other["rows"].index(r) for r in common]],
        noise[[rough["rows"].index(r) for r in common]],
    )


def head_width(config):
    return int(getattr(config, "qk_rope_head_dim", 0) or getattr(config, "head_dim", 0) or 0)


def unleaved(mine, theirs, width):
    """The engine's rotated rows in the reference's order of features, if that is another (pairs side by side)."""
    import numpy

    if not width or mine.shape[1] % width:
        return mine
    folded = mine.reshape(mine.shape[0], -1, width)
    other = numpy.concatenate([folded[..., 0::2], folded[..., 1::2]], axis=-1).reshape(mine.shape)
    return min((mine, other), key=lambda m: float(numpy.linalg.norm(m - theirs)))
