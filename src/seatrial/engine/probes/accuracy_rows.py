"""The two sides of `accuracy_locate` brought together: rows by token, in one order, of one meaning; routers' near-ties.

Records are those of `accuracy_watch`; rows are float64 arrays [tokens, features]. Engine and reference differ in what
some modules hand out; what is the same quantity is compared, whatever it is called.
"""


def read(record):
    import numpy
    from seatrial_probes.accuracy_watch import WIDTH

    width = min(record["width"], WIDTH)
    if record["file"].endswith(".npy"):
        whole = numpy.load(record["file"], allow_pickle=False, mmap_mode="r")
        return numpy.asarray(whole.reshape(-1, record["width"])[:, :width], dtype="float64")
    return numpy.fromfile(record["file"], dtype="<f4").reshape(-1, width).astype("float64")


def engine_rows(output, wanted):
    """The engine's rows and which of the `wanted` features of the reference they are (None: all of them in order).

    Shares of several ranks are put where they belong; where their place is not known, side by side if only together
    they have the width.
    """
    import numpy

    spans = [s for s in output["shares"] if s[3]]
    if spans and all(at + rows <= record["width"] and of + rows <= wanted for record, at, of, rows in spans):
        pieces, features = [], []
        for record, at, of, rows in spans:
            piece = read(record)[:, at : at + rows]
            pieces.append(piece)
            features.append(numpy.arange(of, of + piece.shape[1]))
        order, first = numpy.unique(numpy.concatenate(features), return_index=True)
        if not len(order):
            return None, None
        return numpy.concatenate(pieces, axis=1)[:, first], None if len(order) == wanted else order
    first = [record for record, _, _, _ in output["shares"]]
    first = [p for i, p in enumerate(first) if p["rank"] not in [q["rank"] for q in first[:i]]]
    if first[0]["width"] != wanted and sum(p["width"] for p in first) == wanted:
        return numpy.concatenate([read(p) for p in first], axis=1), None
    return read(first[0]), None


def sides(output, true, low, config):
    """(token numbers, the engine's rows, the truth's, the rough reference's); None if they do not match."""
    key = output["key"]
    mine, features = engine_rows(output, true[key]["width"])
    theirs, noise = read(true[key]), read(low[key])
    if features is not None:
        features = features[features < theirs.shape[1]]
        mine, theirs, noise = mine[:, : len(features)], theirs[:, features], noise[:, features]
    mine, theirs, noise = same_rows(output, mine, true[key], theirs, low[key], noise)
    if mine is None or mine.shape != theirs.shape:
        return None
    if "#rope" in key:
        mine = unleaved(mine, theirs, head_width(config))
    at = [t for t in output["rows"] if t in true[key]["rows"]]
    theirs, noise = same_meaning(key, at, mine, theirs, noise, true, low)
    return at, mine, theirs, noise


def reader(true, at):
    """A function from a key to the truth's rows of these tokens; None if there is no such output or not of them."""

    def ref(name):
        if name not in true or not set(at) <= set(true[name]["rows"]):
            return None
        return read(true[name])[[true[name]["rows"].index(t) for t in at]]

    return ref


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


def same_meaning(key, at, mine, theirs, noise, true, low):
    """The reference's rows as the engine means the output, if that is nearer: what belongs to it differs.

    The engine's shared expert may hold its gate (`shared_expert_gate`, a sigmoid), and its experts the shared one.
    """
    import numpy

    parent, _, leaf = key.rpartition(".")
    names = [n for n in ("shared_expert", "shared_experts") if f"{parent}.{n}" in true]
    if leaf not in ("experts", *names) or not names:
        return theirs, noise

    def rows(records, name):
        record = records[f"{parent}.{name}"]
        return read(record)[[record["rows"].index(t) for t in at]] if set(at) <= set(record["rows"]) else None

    def shared(records):
        found, gate = rows(records, names[0]), None
        if found is not None and f"{parent}.{names[0]}_gate" in records:
            gate = rows(records, f"{names[0]}_gate")
        return found if found is None or gate is None else found / (1.0 + numpy.exp(-gate))

    whole, rough = shared(true), shared(low)
    if whole is None or rough is None or whole.shape != theirs.shape:
        return theirs, noise
    other = (whole, rough) if leaf == names[0] else (theirs + whole, noise + rough)
    nearer = numpy.linalg.norm(mine - other[0]) < numpy.linalg.norm(mine - theirs)
    return other if nearer else (theirs, noise)


def unleaved(mine, theirs, width):
    """The engine's rotated rows in the reference's order of features, if that is another (pairs side by side)."""
    import numpy

    if not width or mine.shape[1] % width:
        return mine
    folded = mine.reshape(mine.shape[0], -1, width)
    other = numpy.concatenate([folded[..., 0::2], folded[..., 1::2]], axis=-1).reshape(mine.shape)
    return min((mine, other), key=lambda m: float(numpy.linalg.norm(m - theirs)))


def head_size(config):
    """Features of an attention head; 0 if the configuration does not say."""
    count = int(getattr(config, "num_attention_heads", 0) or 0)
    return int(getattr(config, "head_dim", 0) or (getattr(config, "hidden_size", 0) // count if count else 0))


def head_width(config):
    """Features of a head as the rotation sees it."""
    return int(getattr(config, "qk_rope_head_dim", 0) or head_size(config))


def router_of(key, true):
    """The router that chose what this output (of experts, or of their block) is made of; empty for any other."""
    block = key.rsplit(".experts", 1)[0]
    return next((f"{block}.{n}" for n in ("gate", "router") if f"{block}.{n}" in true), "")


def near_ties(gate, tokens, true, low, weights, config):
    """Tokens whose choice of experts hangs on less than the router's own rounding."""
    import numpy

    if gate not in low or not set(tokens) <= set(true[gate]["rows"]):
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
