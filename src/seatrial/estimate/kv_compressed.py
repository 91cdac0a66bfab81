"""The caches of DeepSeek-V4: a window on every layer, and beside it what the compressed layers keep.

In: a model with `compress_ratios`, or transformers' form of them. Out: `KvCache`. The rules are vLLM 0.32's
(models/deepseek_v4/attention.py and compressor.py, v1/attention/backends/mla/sparse_swa.py): rows of 584 bytes (448 of
fp8, 128 of bf16 rope, 8 of scales), pages rounded up to 576 bytes, a block of 256 tokens. A compressed layer keeps one
row for each `ratio` tokens, and the last tokens' float32 states; at ratio 4 an indexer with keys and states of its own.
Refuses (NotModelled): platforms whose layout was not read, dtypes that this layout does not take.
"""

from __future__ import annotations

from seatrial.core.errors import UsageError
from seatrial.estimate.draft import draft_layers
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.kv_specs import NOT_COUNTED, CacheSpec, Kind, KvCache
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.model import Lacking, Model, NotModelled, need

BLOCK = 256
WINDOW_BLOCK = 64
ROW, ALIGNMENT = 584, 576
# Tokens per block of the states by ratio, and whether groups overlap, which doubles window and width (compressor.py).
STATE_BLOCKS = {4: 4, 128: 8}
OVERLAPPING = 4
# transformers' names of the layers that keep the window alone, and of those that compress (`compress_rates`).
PLAIN_LAYERS = {"sliding_attention"}


def is_compressed(model: Model) -> bool:
    """Whether this is the family, whichever form its config has; also a foreign name with the field."""
    return model.kind() in ("deepseek_v4", "deepseek_v41") or "compress_ratios" in model.text()


def ratios(model: Model) -> list[int]:
    """One ratio per layer, 1 for a plain window; raises Lacking where no field says."""
    layers, text = model.layers(), model.text()
    stated = text.get("compress_ratios")
    if isinstance(stated, list) and len(stated) >= layers and all(type(r) is int and r >= 0 for r in stated):
        return [max(1, r) for r in stated[:layers]]
    kinds, rates = text.get("layer_types"), text.get("compress_rates")
    if isinstance(kinds, list) and len(kinds) == layers and isinstance(rates, dict):
        made = [1 if kind in PLAIN_LAYERS else rates.get(kind) for kind in kinds if isinstance(kind, str)]
        if len(made) == layers and all(type(r) is int and r >= 1 for r in made):
            return [int(r or 1) for r in made]
    raise Lacking(
        "compress_ratios", f"has no entry for each of {layers} layers, nor have layer_types and compress_rates"
    )


def compressed_cache(model: Model, layout: Layout, serving: Serving, rules: EngineRules) -> KvCache:
    """Alike on every tensor-parallel rank."""
    if model.kind() != "deepseek_v4":
        raise NotModelled(f"compress_ratios: the paged layout of {model.kind()!r} was not read from an engine")
    if rules.platform not in ("cpu", "cuda"):
        raise NotModelled(f"compress_ratios: the paged layout of DeepSeek-V4 on platform {rules.platform!r}")
    if serving.kv_dtype != "auto" and not serving.kv_dtype.startswith("fp8"):
        raise NotModelled(f"--kv-cache-dtype {serving.kv_dtype}: DeepSeek-V4's paged layout takes fp8 alone")
    told: tuple[str, ...] = ()
    if serving.block_size not in (None, BLOCK):
        if rules.platform != "cpu":
            raise UsageError(
                f"--block-size {serving.block_size}: DeepSeek-V4's kernels take {BLOCK}", mend="Leave it out."
            )
        told = (f"--block-size {serving.block_size}: the engine takes {BLOCK} for DeepSeek-V4",)
    if rules.platform == "cuda":
        told = (*told, "the cache is laid out as FlashMLA's (fp8_ds_mla); FlashInfer's plain rows would be larger")
    window = need(model.number("sliding_window"), "sliding_window")
    dim = need(model.card.attention.head_dim, "head_dim")
    index_dim = need(model.card.attention.index_head_dim, "index_head_dim")
    specs: list[CacheSpec] = []
    for layer, ratio in enumerate(ratios(model)):
        specs += _layer(layer, ratio, window, dim, index_dim)
    if serving.spec_tokens:
        # The draft's attention compresses nothing (its layer numbers are beyond the list of ratios).
        drafts = draft_layers(model, serving)
        specs += [_window(model.layers() + i, window, "draft window") for i in range(drafts)]
        told = told if drafts else (*told, NOT_COUNTED)
    return KvCache(specs=tuple(specs), block=BLOCK, state_aligned=False, dtype="fp8_ds_mla", notes=told, packed=True)


def _layer(layer: int, ratio: int, window: int, dim: int, index_dim: int) -> list[CacheSpec]:
    """In the order in which the engine registers them, which decides its groups."""
    if ratio == 1:
        return [_window(layer, window)]
    if ratio not in STATE_BLOCKS:
        raise NotModelled(f"compress_ratios: the states of a ratio of {ratio}")
    made: list[CacheSpec] = []
    if ratio == OVERLAPPING:
        # Keys of a byte an element and a float32 scale per 128 (DeepseekV4Indexer).
        made.append(_rows(layer, "indexer", ratio, index_dim + index_dim // 128 * 4))
        made.append(_state(layer, "indexer state", ratio, index_dim))
    return [*made, _window(layer, window), _rows(layer, "attention", ratio, ROW), _state(layer, "state", ratio, dim)]


def _window(layer: int, window: int, role: str = "window") -> CacheSpec:
    return _spec(layer, role, "window-mla", WINDOW_BLOCK, WINDOW_BLOCK * ROW, f"{WINDOW_BLOCK} tokens * {ROW}", window)


def _rows(layer: int, role: str, ratio: int, row: int) -> CacheSpec:
    return _spec(layer, role, "mla", BLOCK, BLOCK // ratio * row, f"{BLOCK} tokens / {ratio} * {row}")


def _state(layer: int, role: str, ratio: int, dim: int) -> CacheSpec:
    """float32 of keys and scores for the tokens of a group that is not whole yet."""
    times = 2 if ratio == OVERLAPPING else 1
    block, width = STATE_BLOCKS[ratio], 2 * times * dim
    return _spec(layer, role, "window-mla", block, block * width * 4, f"{block} tokens * {width}*4", times * ratio)


def _spec(
    layer: int, role: str, kind: Kind, block: int, content: int, formula: str, window: int | None = None
) -> CacheSpec:
    page = -(-content // ALIGNMENT) * ALIGNMENT
    return CacheSpec(
        layer=layer, role=role, kind=kind, block=block, page=page, content=content,
        merge=f"{kind} {window or ''} {block} {page} {role}", formula=f"{formula} = {content}", window=window,
    )  # fmt: skip
