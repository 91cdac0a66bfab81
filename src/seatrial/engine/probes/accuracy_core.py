"""Suspects at the attention's core, which has no module: the reference's queries, keys and values put together wrongly.

`test(...)` offers what would turn the reference's rows into the engine's: another scale, no causal mask, a mask that is
off by one, key heads given to other query heads. It says nothing unless the plain attention gives the reference's own
output (no window, no gate, no sinks) and all tokens of the prompt were kept.
"""

KNOWN = 0.05  # relative error below which the plain attention is the reference's


def test(key, row, mine, theirs, common, ref, config, offer):
    import numpy
    from seatrial_probes.accuracy_rows import head_size

    width = head_size(config)
    attn = key[: -len(".o_proj@in")]
    if row["step"] or not width or common != list(range(len(common))):
        return
    names = (("#rope_q", ".q_norm", ".q_proj"), ("#rope_k", ".k_norm", ".k_proj"), (".v_proj",))
    found = [next((r for r in (ref(attn + n) for n in tried) if r is not None), None) for tried in names]
    if any(r is None or r.shape[1] % width for r in found):
        return
    q, k, v = (r.reshape(len(common), -1, width).transpose(1, 0, 2) for r in found)
    if k.shape != v.shape or q.shape[0] % k.shape[0] or q.shape[0] * width != mine.shape[1]:
        return
    group = q.shape[0] // k.shape[0]
    plain = numpy.arange(q.shape[0]) // group
    base = float(getattr(config, "query_pre_attn_scalar", 0) or width) ** -0.5
    later = numpy.triu(numpy.ones((len(common), len(common)), dtype=bool), 1)

    def core(factor=1.0, hidden=later, order=plain):
        scores = numpy.einsum("hqd,hkd->hqk", q, k[order]) * base * factor
        scores = numpy.where(hidden[None], -1e30, scores)
        scores = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return numpy.einsum("hqk,hkd->hqd", scores, v[order]).transpose(1, 0, 2).reshape(mine.shape)

    def apart(factor):
        return float(numpy.linalg.norm(mine - core(factor)))

    if numpy.linalg.norm(core() - theirs) > KNOWN * numpy.linalg.norm(theirs):
        return
    grid = [2.0 ** (n / 4) for n in range(-28, 29)]
    best = min(range(len(grid)), key=lambda i: apart(grid[i]))
    low, high = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    for _ in range(24):  # by thirds: the error has one lowest place between neighbours of the best
        third = (high - low) / 3
        low, high = (low, high - third) if apart(low + third) < apart(high - third) else (low + third, high)
    factor = (low + high) / 2
    if abs(factor - 1) > 0.02:
        says = f"the scores are scaled by {factor:.4g} times what they should be"
        offer("attention-scale", "kernel", says, mine, core(factor))
    offer("no-mask", "kernel", "later tokens are seen: no causal mask", mine, core(hidden=numpy.zeros_like(later)))
    if len(common) > 2:
        early = numpy.triu(numpy.ones_like(later), 2)
        offer("mask-late", "kernel", "one token too many is seen: the mask is off by one", mine, core(hidden=early))
    if 1 < k.shape[0] < q.shape[0]:
        says = "key heads are given out in turn instead of in groups (grouped-query attention)"
        offer("kv-heads", "distributed", says, mine, core(order=numpy.arange(q.shape[0]) % k.shape[0]))
