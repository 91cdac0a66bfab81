"""Which layer is which: the rules by which configs spell the pattern of a hybrid model.

In: the language model's section and its number of layers. Out: one `Word` per layer. A rule is used when its field is
there; the order is that of how exact the field is (a list per layer, a pattern string, an interval, a default).

Longer than 250 lines: one rule for each spelling, to be compared with its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.checkpoint.codes import note
from seatrial.checkpoint.config import MOST, MOST_LAYERS, View
from seatrial.checkpoint.model_codes import LAYER_LIST, UNKNOWN_LAYER
from seatrial.core.record import Record


class Word(Record):
    """A layer's mixer in one word, with the window or chunk (tokens) of attention and what else is the layer's own.

    `second`: the heads are those of the config's second set (MiMo-V2, Step-3.5).
    """

    kind: str = "attention"
    window: int | None = None
    chunk: int | None = None
    compress_ratio: int | None = None
    kv_heads: int | None = None
    second: bool = False


# The words of `layer_types` and `layers_block_type` (transformers' ALLOWED_LAYER_TYPES and remote code).
WORDS = {
    "full_attention": "attention",
    "attention": "attention",
    "global_attention": "attention",
    "indexed_attention": "attention",
    "deepseek_sparse_attention": "attention",
    "sliding_attention": "sliding",
    "chunked_attention": "chunked",
    "compressed_sparse_attention": "attention",
    "heavily_compressed_attention": "attention",
    "linear_attention": "linear",
    "linear": "linear",
    "lightning_attention": "linear",
    "mamba": "mamba",
    "mamba2": "mamba2",
    "hybrid": "mamba",
    "conv": "conv",
    "recurrent": "recurrent",
    "moe": "none",
    "mlp": "none",
}
# Only Mamba 2 has heads.
MAMBA2_HEADS = {"mamba_num_heads", "mamba_n_heads", "n_mamba_heads"}
LETTERS = {"M": "mamba", "*": "attention", "-": "none", "E": "none", "|": ""}
FACT = "attention.pattern"


def mixer_words(text: View, layers: int | None) -> list[Word]:
    """One word per layer; empty where the number of layers is unknown."""
    if not layers:
        return []
    rules = (
        _ratios, _flags, _written, _letters, _blocks, _kimi_linear, _interval, _types, _listed, _grouped, _periods,
        _llama4, _interleaved, _windows,
    )  # fmt: skip
    for rule in rules:
        words = rule(text, layers)
        if words is not None:
            return words
    return [Word() for _ in range(layers)]


def stateful(text: View, kind: str) -> str:
    """`linear` and `mamba` made exact by the fields that only one of them has."""
    if kind == "linear":
        # transformers 5.19 writes "linear_attention" for what it called "mamba" before.
        if "linear_num_value_heads" in text.data:
            return "gated-deltanet"
        return "mamba2" if MAMBA2_HEADS & text.data.keys() else "linear"
    if kind == "mamba" and MAMBA2_HEADS & text.data.keys():
        return "mamba2"
    return kind


def fitted(text: View, key: str, values: Sequence[object], layers: int, *, more: int = 0) -> bool:
    """Whether a per-layer list has one entry per layer (or up to `more` beyond, for MTP layers); else a finding."""
    if layers <= len(values) <= layers + more:
        return True
    place = f"config.json: {text.path}{key}"
    text.ledger.findings.append(note(LAYER_LIST, place, f"has {len(values)} entries for {layers} layers"))
    return False


def _from_kinds(text: View, key: str, kinds: Sequence[str]) -> list[Word]:
    window = text.whole("attention.window", "sliding_window", "sliding_window_size")
    chunk = text.whole("attention.chunk", "attention_chunk_size")
    other = text.section("attention_other_setting")
    own = other.text(FACT, "attention_type") or "sliding_attention" if other else None
    words: list[Word] = []
    strange: set[str] = set()
    for name in kinds:
        kind = WORDS.get(name, "unknown")
        if kind == "unknown":
            strange.add(name)
        if kind == "sliding":
            words.append(Word(window=window, second=name == own))
        elif kind == "chunked":
            words.append(Word(chunk=chunk))
        else:
            words.append(Word(kind=stateful(text, kind), second=name == own))
    for name in sorted(strange)[:5]:
        text.ledger.findings.append(note(UNKNOWN_LAYER, f"config.json: {text.path}{key}", f"names the kind {name!r}"))
    return words


def _ratios(text: View, layers: int) -> list[Word] | None:
    """DeepSeek-V4: `compress_ratios`, with one more entry for each MTP layer; all layers also have the window."""
    ratios = text.wholes(FACT, "compress_ratios", most=1_000_000)
    if ratios is None:
        return None
    extra = text.whole("mtp.declared", "num_nextn_predict_layers") or 0
    if not fitted(text, "compress_ratios", ratios, layers, more=extra):
        return None
    window = text.whole("attention.window", "sliding_window")
    return [Word(window=window, compress_ratio=r) for r in ratios[:layers]]


def _flags(text: View, layers: int) -> list[Word] | None:
    """MiMo-V2: `hybrid_layer_pattern`, 1 where a layer has the window and the heads of the `swa_` fields."""
    flags = text.wholes(FACT, "hybrid_layer_pattern", most=10)
    if flags is None or not fitted(text, "hybrid_layer_pattern", flags, layers):
        return None
    window = text.whole("attention.window", "sliding_window_size", "sliding_window")
    return [Word(window=window, second=True) if flag == 1 else Word() for flag in flags]


def _written(text: View, layers: int) -> list[Word] | None:
    # Step-3.5 lists its MTP layers too.
    extra = text.whole("mtp.declared", "num_nextn_predict_layers") or 0
    for key in ("layer_types", "layers_block_type"):
        kinds = text.texts(FACT, key)
        if kinds and fitted(text, key, kinds, layers, more=extra):
            return _from_kinds(text, key, kinds[:layers])
    return None


def _letters(text: View, layers: int) -> list[Word] | None:
    """Nemotron-H: `hybrid_override_pattern`, M Mamba, * attention, - MLP, E experts."""
    pattern = text.text(FACT, "hybrid_override_pattern")
    if pattern is None:
        return None
    letters = pattern.replace("|", "")
    if not fitted(text, "hybrid_override_pattern", letters, layers):
        return None
    kinds = [LETTERS.get(c, "unknown") for c in letters]
    if "unknown" in kinds:
        place = f"config.json: {text.path}hybrid_override_pattern"
        text.ledger.findings.append(note(UNKNOWN_LAYER, place, "holds a letter that is none of M, *, -, E"))
    return [Word(kind=stateful(text, k)) for k in kinds]


def _blocks(text: View, layers: int) -> list[Word] | None:
    """DeciLM (Nemotron NAS): each block's attention may be absent, linear, or have its own number of KV heads."""
    rows = text.rows(FACT, "block_configs")
    if rows is None or not fitted(text, "block_configs", rows, layers):
        return None
    heads = text.whole("attention.heads", "num_attention_heads") or 0
    words: list[Word] = []
    for row in rows:
        part = row.section("attention")
        if part is None or part.flag(FACT, "no_op"):
            words.append(Word(kind="none"))
        elif part.flag(FACT, "replace_with_linear"):
            words.append(Word(kind="linear"))
        else:
            group = part.whole(FACT, "n_heads_in_group", least=1)
            window = part.whole(FACT, "window_length")
            words.append(Word(window=window, kv_heads=heads // group if group and heads else None))
    return words


def _kimi_linear(text: View, layers: int) -> list[Word] | None:
    """Kimi-Linear: `linear_attn_config` lists its KDA layers, counted from 1."""
    part = text.section("linear_attn_config")
    linear = part.wholes(FACT, "kda_layers") if part else None
    if linear is None:
        return None
    return [Word(kind="kda" if i + 1 in linear else "attention") for i in range(layers)]


def _interval(text: View, layers: int) -> list[Word] | None:
    """Qwen3-Next: every `full_attention_interval`-th layer is attention, the others linear."""
    step = text.whole(FACT, "full_attention_interval", least=1)
    if step is None or "linear_num_value_heads" not in text.data:
        return None
    return [Word(kind="attention" if (i + 1) % step == 0 else "gated-deltanet") for i in range(layers)]


def _types(text: View, layers: int) -> list[Word] | None:
    """MiniMax: `attn_type_list`, 1 softmax attention, 0 lightning (linear) attention."""
    types = text.wholes(FACT, "attn_type_list", most=10)
    if types is None or not fitted(text, "attn_type_list", types, layers):
        return None
    return [Word(kind="attention" if t == 1 else "linear") for t in types]


def _listed(text: View, layers: int) -> list[Word] | None:
    """The numbers of the layers with attention: Bamba's among Mamba layers, LFM2's among convolutions."""
    for key, other in (("attn_layer_indices", stateful(text, "mamba")), ("full_attn_idxs", "conv")):
        if (listed := text.wholes(FACT, key)) is not None:
            those = set(listed)
            return [Word(kind="attention" if i in those else other) for i in range(layers)]
    return None


def _grouped(text: View, layers: int) -> list[Word] | None:
    """Ling and Ring: attention in the last layer of each `layer_group_size`, and beyond the last whole group."""
    size = text.whole(FACT, "layer_group_size")
    if not size or size == 1 or not str(text.data.get("model_type")).startswith("bailing"):
        return None
    whole = layers // size * size
    return [Word(kind="attention" if (i + 1) % size == 0 or i >= whole else "linear") for i in range(layers)]


def _periods(text: View, layers: int) -> list[Word] | None:
    """Jamba: attention every `attn_layer_period` layers from `attn_layer_offset`; pure Mamba has no attention."""
    period = text.whole(FACT, "attn_layer_period", least=1)
    if period is not None:
        offset = text.whole(FACT, "attn_layer_offset") or 0
        return [Word(kind="attention" if i % period == offset else stateful(text, "mamba")) for i in range(layers)]
    if str(text.data.get("model_type")) in ("mamba", "falcon_mamba"):
        return [Word(kind="mamba")] * layers
    if str(text.data.get("model_type")) == "mamba2":
        return [Word(kind="mamba2")] * layers
    return None


def _llama4(text: View, layers: int) -> list[Word] | None:
    """Llama 4: chunked attention where a layer has rope; layers without (every 4th by default) see everything."""
    chunk = text.whole("attention.chunk", "attention_chunk_size")
    if not chunk:
        return None
    rope = text.wholes(FACT, "no_rope_layers")
    if not rope:
        step = text.whole(FACT, "no_rope_layer_interval", least=1) or 4
        rope = tuple(int((i + 1) % step != 0) for i in range(layers))
        text.ledger.derived(FACT, f"attention_chunk_size; every {step}th layer without rope sees everything")
    if not fitted(text, "no_rope_layers", rope, layers):
        return None
    return [Word(chunk=chunk) if r else Word() for r in rope]


def _interleaved(text: View, layers: int) -> list[Word] | None:
    """A window for each layer, in turn (openPangu, PLaMo 3): a list of tokens, null for none."""
    for key in ("interleaved_sliding_window", "sliding_window"):
        given = text.data.get(key)
        if isinstance(given, list) and given and len(given) <= layers and all(_is_window(v) for v in given):
            text.ledger.used.add(text.path + key)
            text.ledger.derived("attention.window", f"config.json: {text.path}{key}, in turn")
            return [Word(window=given[i % len(given)] or None) for i in range(layers)]
    window = text.whole("attention.window", "interleaved_sliding_window")
    return [Word(window=window)] * layers if window else None


def _is_window(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value <= MOST)


# transformers 5.19: the classes of which every n-th layer sees everything where no field says otherwise, by the start
# of model_type (the first that fits) …
LAST_OF = {
    "afmoe": 4, "cohere2": 4, "exaone4": 4, "exaone_moe": 4, "gemma2": 2, "gemma3n": 5, "gemma3": 6, "gemma4": 6,
    "gpt_oss": 2, "olmo3": 4,
}  # fmt: skip
# … and those of which it is the first of every n.
FIRST_OF = {"cwm": 4, "granite_swa": 4, "granitemoe_swa": 4}
# Classes whose use_sliding_window is false where it is not written.
UNUSED = ("qwen2", "qwen3", "smollm3")


def _windows(text: View, layers: int) -> list[Word] | None:
    """A window for all layers (Mistral), by a pattern (Gemma, Cohere), or switched off (Qwen)."""
    window = text.whole("attention.window", "sliding_window", "sliding_window_size")
    used = text.flag("attention.window_used", "use_sliding_window")
    first = text.whole("attention.window_from", "max_window_layers")
    kind = str(text.data.get("model_type"))
    if not window or used is False or (used is None and kind.startswith(UNUSED)):
        return None
    if (turn := _turn(text, kind)) is not None:
        return [Word(window=window) if turn[i % len(turn)] else Word() for i in range(layers)]
    if (used or kind == "dots1") and first is not None:
        return [Word(window=window) if i >= first else Word() for i in range(layers)]
    return [Word(window=window)] * layers


def _turn(text: View, kind: str) -> list[bool] | None:
    """Which layers of one turn of the pattern have the window; None where no pattern is known."""
    keys = ("sliding_window_pattern", "_sliding_window_pattern", "global_attn_every_n_layers")
    letters = text.data.get("sliding_window_pattern")
    if isinstance(letters, str) and letters and set(letters) <= {"L", "G"} and len(letters) <= MOST_LAYERS:
        # EXAONE 4: L local, G global.
        text.ledger.used.add(f"{text.path}sliding_window_pattern")
        return [letter == "L" for letter in letters]
    step = text.whole(FACT, *keys, least=1, most=MOST_LAYERS)
    if step is None:
        step = next((n for name, n in LAST_OF.items() if kind.startswith(name)), None)
    if step is None and kind in FIRST_OF:
        return [False] + [True] * (FIRST_OF[kind] - 1)
    return [True] * (step - 1) + [False] if step is not None and step > 1 else None
