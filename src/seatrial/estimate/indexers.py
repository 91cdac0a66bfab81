"""Which layers of sparse attention have an indexer of their own: the others use the choice of an earlier layer.

In: a model. Out: the layers without one. The rules are vLLM 0.32's (models/deepseek_v32/attention.py and
models/hy_v4/nvidia/attention.py); HY-V4's class alone heeds `indexer_types`.
"""

from __future__ import annotations

from seatrial.estimate.model import Lacking, Model


def without_indexer(model: Model) -> frozenset[int]:
    """Layer numbers; raises Lacking for a field that the engine refuses."""
    layers, text = model.layers(), model.text()
    kinds = text.get("indexer_types")
    if model.kind() == "hy_v4" and kinds is not None:
        if not isinstance(kinds, list) or len(kinds) != layers:
            raise Lacking("indexer_types", f"has no entry for each of {layers} layers")
        return frozenset(i for i, kind in enumerate(kinds) if kind == "shared")
    pattern = text.get("index_topk_pattern")
    if isinstance(pattern, (str, list)):
        return frozenset(i for i, letter in enumerate(pattern[:layers]) if letter == "S")
    frequency = model.number("index_topk_freq") or 1
    offset = model.number("index_skip_topk_offset", least=0)
    start = 2 if offset is None else offset
    return frozenset(i for i in range(layers) if max(i - start + 1, 0) % frequency)
