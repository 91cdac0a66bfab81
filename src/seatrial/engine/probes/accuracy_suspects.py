"""The usual suspects at a module whose output is wrong: changes that would turn one side's rows into the other's.

`test(...)` gives those that explain the difference, best first: `{"name", "class", "says", "left"}`; `left` is the
share of the error that remains once the suspect is allowed for (0: explains all of it). A suspect must leave under
EXPLAINED. Arrays are [tokens, features] of float64: `mine` the engine's (all ranks' shares side by side), `theirs` the
reference's, `common` their token numbers; `ref(key)` gives the reference's rows of another output, None without one.
A little over 250 lines: one list of suspects that share their arrays.
"""

EXPLAINED = 0.15
FEWEST = 4  # tokens; with fewer, one free number per feature explains anything


def test(row, mine, theirs, common, ref, weights, config):
    import numpy
    from seatrial_probes import accuracy_core

    key = row["key"]
    if mine.shape != theirs.shape:
        return []
    if not numpy.isfinite(mine).all():
        return [{"name": "not-a-number", "class": "kernel", "says": "the output holds NaN or infinity", "left": 0.0}]
    error = float(numpy.linalg.norm(mine - theirs)) or 1e-30
    found = []

    def offer(name, kind, says, one, other=None):
        """`one` is what the engine's rows would be without the fault; or `other` what the reference's with it."""
        left = float(numpy.linalg.norm(one - (theirs if other is None else other))) / error
        if left < EXPLAINED:
            found.append({"name": name, "class": kind, "says": says, "left": left})

    leaf = key.rsplit(".", 1)[-1]
    # Swapped halves of a fused projection: the engine's gate is the reference's up.
    for one, two in (("gate_proj", "up_proj"), ("q_proj", "k_proj"), ("k_proj", "v_proj"), ("q_proj", "v_proj")):
        other = {one: two, two: one}.get(leaf)
        sibling_key = key[: -len(leaf)] + (other or "")
        across = ref(sibling_key) if other else None
        if across is not None and across.shape == mine.shape:
            says = f"the engine's {leaf} is the reference's {other}: the halves are swapped"
            offer("swapped-halves", "weight load", says, mine, across)
    scale = float((mine * theirs).sum() / ((mine * mine).sum() + 1e-30))
    if scale:
        says = (
            f"one factor for all: the engine's output times {scale:.5g} is the reference's (missing or doubled scale)"
        )
        offer("scale", "weight load", says, mine * scale)
    if len(common) >= FEWEST:
        shift = (mine - theirs).mean(axis=0, keepdims=True)
        says = "the same vector is missing or added at every token: a bias dropped, doubled or of another layer"
        offer("bias", "weight load", says, mine - shift)
        order(mine, theirs, offer)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        if "norm" in leaf and len(common) >= FEWEST:
            per_token = (mine * theirs).sum(axis=1, keepdims=True) / ((mine * mine).sum(axis=1, keepdims=True) + 1e-30)
            least, most = float(per_token.min()), float(per_token.max())
            says = f"one factor per token, from {least:.4g} to {most:.4g}: epsilon or the mean's formula"
            offer("norm-epsilon", "kernel", says, mine * per_token)
            width = weights_of(key, weights).shape[0] if weights_of(key, weights) is not None else row["width"]
            if row["width"] % width == 0:
                m, t = mine.reshape(-1, width), theirs.reshape(-1, width)
                per_feature = (m * t).sum(axis=0) / ((m * m).sum(axis=0) + 1e-30)
                says = (
                    "one factor per feature, the same at every token: the norm's weight (missing, of another layer, +1)"
                )
                offer("norm-weight", "weight load", says, (m * per_feature).reshape(mine.shape))
    heads(row, mine, theirs, config, offer)
    if "#rope" in key:
        rope(row, common, mine, theirs, ref, config, offer)
        width = int(getattr(config, "qk_rope_head_dim", 0) or 0)
        if width and row["width"] % width == 0:
            # Latent attention: the engine keeps the pairs side by side, the reference moves them to halves.
            folded = mine.reshape(mine.shape[0], -1, width)
            moved = numpy.concatenate([folded[..., 0::2], folded[..., 1::2]], axis=-1).reshape(mine.shape)
            rope(row, common, moved, theirs, ref, config, offer)
    transposed(key, mine, theirs, weights, offer)
    other_layer(key, mine, ref, weights, offer)
    if key.endswith("o_proj@in"):
        accuracy_core.test(key, row, mine, theirs, common, ref, config, offer)
    late(row, found)
    experts(row, common, ref, found)
    # Another order of features explains whatever another order of heads does: the narrower of the two comes first.
    return sorted(found, key=lambda s: s["left"] + (0.01 if s["name"] == "feature-order" else 0.0))


def weights_of(key, weights):
    # By key, not by the name's end: a vision tower has layers of the same names.
    from seatrial_probes.accuracy_watch import key_of

    return next((w for n, w in weights.items() if n.endswith(".weight") and key_of(n[: -len(".weight")]) == key), None)


def heads(row, mine, theirs, config, offer):
    """Head blocks in another order, or one of them twice."""
    import numpy
    from seatrial_probes.accuracy_rows import head_size

    width = head_size(config)
    if not width or row["width"] % width or row["width"] // width < 2:
        return
    if "attn" not in row["key"]:
        return
    count = row["width"] // width
    m, t = (a.reshape(a.shape[0], count, width) for a in (mine, theirs))
    order = []
    for i in range(count):
        distances = [float(numpy.linalg.norm(m[:, i] - t[:, j])) for j in range(count)]
        order.append(int(numpy.argmin(distances)))
    if order == list(range(count)):
        return
    says = "heads " + " ".join(str(o) for o in order) + " where 0 1 2 … belong: order, or a duplicated or skipped head"
    offer("head-order", "distributed", says, mine, t[:, order].reshape(theirs.shape))


def order(mine, theirs, offer):
    """The same features in another order (rows of a weight, shards, a vocabulary shifted by one)."""
    import numpy

    if mine.shape[1] > 4096:
        # A whole vocabulary: only moved as one.
        for by in (-2, -1, 1, 2):
            says = f"all features are {abs(by)} {'later' if by > 0 else 'earlier'} than they belong"
            offer("feature-order", "layout", says, mine, numpy.roll(theirs, by, axis=1))
        return
    apart = (mine**2).sum(axis=0)[:, None] + (theirs**2).sum(axis=0)[None, :] - 2 * mine.T @ theirs
    place = apart.argmin(axis=1)
    moved = numpy.flatnonzero(place != numpy.arange(len(place)))
    if not len(moved):
        return
    first = int(moved[0])
    says = f"{len(moved)} of {len(place)} features are in another place (first: {first} holds {place[first]})"
    offer("feature-order", "layout", says, mine, theirs[:, place])


def rope(row, common, mine, theirs, ref, config, offer):
    """The rotation: other pairs, another position, another base."""
    import numpy
    from seatrial_probes.accuracy_rows import head_width

    width = head_width(config)
    if not width or row["width"] % width:
        return
    turning = rotary_width(config, width)
    half = turning // 2
    letter = row["key"][-1]
    attn = row["key"].split("#")[0]
    named = (attn + f".{letter}_norm", attn + f".{letter}_proj")
    raw = next((r for r in map(ref, named) if r is not None), None)
    m = mine.reshape(mine.shape[0], -1, width)
    t = theirs.reshape(theirs.shape[0], -1, width)
    positions = numpy.array(common, dtype="float64")
    parameters = getattr(config, "rope_parameters", None) or {}
    base = float(parameters.get("rope_theta", 10000.0) or 10000.0) if isinstance(parameters, dict) else 10000.0
    theta = base ** (-numpy.arange(half) * 2.0 / turning)
    a = m[..., :half] + 1j * m[..., half:turning]
    b = t[..., :half] + 1j * t[..., half:turning]
    turned = numpy.angle((a * b.conj()).sum(axis=1))  # [tokens, pairs]: the angle from the reference to the engine

    def rotated(z, angle):
        w = z * numpy.exp(1j * angle[:, None, :])
        return numpy.concatenate([w.real, w.imag, m[..., turning:]], axis=-1).reshape(theirs.shape)

    for step in (-2, -1, 1, 2):
        says = f"positions are shifted by {step}"
        offer("position", "position", says, rotated(a, -numpy.ones((len(positions), 1)) * step * theta[None, :]))
    slope = turned[positions == 1]
    if slope.size:
        new = theta + slope[0]
        usable = (new > 0) & (numpy.arange(half) > 0)
        if usable.any():
            guess = float(numpy.median(-numpy.log(new[usable]) / (2.0 * numpy.arange(half)[usable] / turning)))
            other = numpy.exp(guess)
            says = f"the rotation has base {other:.6g}, the configuration says {base:.6g}"
            angle = positions[:, None] * (other ** (-numpy.arange(half) * 2.0 / turning) - theta)[None, :]
            offer("rope-base", "position", says, rotated(a, -angle))
            factor = new[0] / theta[0]
            says = f"all positions count {factor:.4g} fold: scaling of the rotation"
            offer("rope-scaling", "position", says, rotated(a, -positions[:, None] * (factor - 1) * theta[None, :]))
    if raw is not None and raw.shape == mine.shape:
        says = "no rotation was applied"
        offer("no-rope", "position", says, mine, raw)
        r = raw.reshape(m.shape)
        pairs = r[..., 0:turning:2] + 1j * r[..., 1:turning:2]
        w = pairs * numpy.exp(1j * positions[:, None, None] * theta[None, None, :])
        leaved = r.copy()
        leaved[..., 0:turning:2], leaved[..., 1:turning:2] = w.real, w.imag
        says = "pairs side by side were rotated instead of halves (rope style)"
        offer("rope-style", "position", says, mine, leaved.reshape(theirs.shape))


def rotary_width(config, width):
    """How many features of a head are rotated: all, or the share that the configuration declares."""
    parameters = getattr(config, "rope_parameters", None)
    given = parameters.get("partial_rotary_factor") if isinstance(parameters, dict) else None
    share = given or getattr(config, "partial_rotary_factor", None) or 1.0
    turning = int(width * float(share)) if not getattr(config, "qk_rope_head_dim", 0) else width
    return turning if 0 < turning <= width and turning % 2 == 0 else width


def transposed(key, mine, theirs, weights, offer):
    """A square weight used the other way round; its input is solved for from the reference's output."""
    import numpy

    weight = weights_of(key, weights)
    if weight is None or weight.dim() != 2 or weight.shape[0] != weight.shape[1]:
        return
    matrix = weight.to("cpu").double().numpy()
    given = numpy.linalg.lstsq(matrix, theirs.T, rcond=None)[0].T
    offer("transposed", "layout", "the weight is used transposed", mine, given @ matrix)


def other_layer(key, mine, ref, weights, offer):
    """The weight of a layer nearby, where the reference's input of the module is known."""
    import re

    place = re.match(r"layers\.(\d+)\.", key)
    given = ref(key + "@in") if place else None
    if given is None:
        return
    for by in (-2, -1, 1, 2):
        other = int(place[1]) + by
        weight = weights_of(key.replace(place[0], f"layers.{other}.", 1), weights) if other >= 0 else None
        if weight is None or weight.dim() != 2 or tuple(weight.shape) != (mine.shape[1], given.shape[1]):
            continue
        says = f"the weight of layer {other} was loaded into layer {place[1]}"
        offer("other-layer", "weight load", says, mine, given @ weight.to("cpu").double().numpy().T)


def late(row, found):
    """Only later tokens are wrong: something carried over (state, cache, chunk) or only far positions."""
    good = [t for t in row["tokens"] if t not in row["tokens_out"]]
    if row["tokens_out"] and good and min(row["tokens_out"]) > max(good) and len(good) > 1:
        kind, what = ("position", "far positions") if "#rope" in row["key"] else ("KV cache", "state, cache or chunk")
        says = f"tokens up to {max(good)} agree, from {min(row['tokens_out'])} on they do not: {what}"
        found.append({"name": "late-tokens", "class": kind, "says": says, "left": 0.1})


def experts(row, common, ref, found):
    """Exactly the tokens routed to one or two experts are wrong."""
    import itertools

    import numpy

    logits = ref(row["key"].rsplit(".experts", 1)[0] + ".gate") if ".experts" in row["key"] else None
    wrong = set(row["tokens_out"]) & set(common)
    if logits is None or not wrong or len(wrong) == len(common):
        return
    for chosen in range(1, 9):
        picked = {t: set(numpy.argsort(-logits[i])[:chosen].tolist()) for i, t in enumerate(common)}
        for size in (1, 2):
            for group in itertools.combinations(range(logits.shape[1]), size):
                if {t for t, those in picked.items() if those & set(group)} == wrong:
                    says = "wrong are exactly the tokens routed to expert " + " and ".join(map(str, group))
                    found.append({"name": "expert", "class": "weight load", "says": says, "left": 0.05})
                    return
