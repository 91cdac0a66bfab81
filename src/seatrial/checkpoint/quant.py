"""How the checkpoint says it is quantised: every spelling there is, translated into one record.

In: the config's sections and the files beside it. Out: `Quantization`, or None for none. What the tensors say is in
`quant_tensors.py`; the two are compared in `checks/quantization.py`.

Longer than 250 lines: one translator for each spelling, to be compared with its neighbours.
"""

from __future__ import annotations

from typing import Any

import msgspec

from seatrial.checkpoint import documents
from seatrial.checkpoint.codes import note, shown
from seatrial.checkpoint.config import Ledger, Sections, View
from seatrial.checkpoint.files import Folder
from seatrial.checkpoint.model_codes import QUANT_DISAGREES, QUANT_UNKNOWN
from seatrial.core.record import Record

# File beside config.json -> the method it means when config.json is silent (vLLM's and vllm-ascend's rules).
BESIDE = ("hf_quant_config.json", "quant_model_description.json", "quantize_config.json", "quant_config.json")
KNOWN = {
    "fp8", "compressed-tensors", "awq", "gptq", "bitsandbytes", "modelopt", "modelopt_fp4", "modelopt_mixed", "mxfp4",
    "ascend", "quark", "torchao", "fbgemm_fp8", "auto-round", "inc", "gguf", "hqq", "eetq", "aqlm", "vptq", "mxfp8",
    "experts_int8", "deepspeedfp", "ptpc_fp8", "auto_awq", "auto_gptq", "higgs", "quanto", "modelopt_mxfp8",
    "gpt_oss_mxfp4", "finegrained_fp8",
}  # fmt: skip
MOST_LISTED = 200_000


class Quantization(Record):
    """`method` is the engine's word; `scheme` ours, for people: `fp8 128x128`, `nvfp4 g16`, `int4 g128`, `mixed`.

    `excluded` are the modules kept in full precision, as written (globs, `re:` and plain prefixes). `layers` maps an
    algorithm to the number of modules or tensors it is used for where the file lists each. `files` are the sources.
    """

    method: str
    scheme: str
    weight_bits: int | None
    weight_format: str | None
    group_size: int | None
    block_size: tuple[int, int] | None
    activation: str | None
    kv_cache: str | None
    excluded: tuple[str, ...]
    layers: dict[str, int]
    producer: str | None
    files: tuple[str, ...]

    def excludes(self, module: str) -> bool:
        """Whether a module (a tensor's name without its last part) is kept in full precision, by vLLM's matching."""
        return any(_covers(rule, module) for rule in self.excluded)


def _covers(rule: str, module: str) -> bool:
    if rule.startswith("re:"):
        return False  # a foreign regular expression is never run; see `unread_rules`
    if "*" in rule:
        return _globs(rule, module)
    return module == rule or module.startswith(rule + ".") or module.endswith("." + rule) or f".{rule}." in module


def _globs(rule: str, module: str) -> bool:
    """`*` for anything: each part at the first place behind the one before, in linear time whatever the rule is."""
    first, *middle, last = rule.split("*")
    end = len(module) - len(last)
    at = len(first)
    if at > end or not module.startswith(first) or not module.endswith(last):
        return False
    for part in middle:
        found = module.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def read_quantization(parts: Sections, folder: Folder) -> Quantization | None:
    """Translate; a second description beside the first is compared with it."""
    found: list[Quantization] = []
    for view in (parts.top, parts.text):
        section = view.section("quantization_config", "compression_config")
        if section is not None:
            found.append(_translate(section, f"config.json: {section.path.rstrip('.')}"))
            break
    ledger = parts.top.ledger
    for file in BESIDE:
        document = documents.read(folder, file)
        ledger.findings += document.findings
        if document.data is not None:
            found.append(_beside(file, document.data, ledger))
    if not found:
        return None
    first = found[0]
    for other in found[1:]:
        if other.scheme != first.scheme and not ({first.method, other.method} <= {"modelopt", "modelopt_mixed"}):
            text = f"says {other.scheme}, but {first.files[0]} says {first.scheme}"
            ledger.findings.append(note(QUANT_DISAGREES, other.files[0], text))
    if first.method not in KNOWN:
        text = f"names the method {first.method!r}"
        ledger.findings.append(note(QUANT_UNKNOWN, first.files[0], text))
    # modelopt writes the details (exclusions, layers, KV cache) into one of its two files only.
    for other in found[1:]:
        first = msgspec.structs.replace(  # type: ignore[type-var]
            first,
            files=(*first.files, *other.files),
            excluded=first.excluded or other.excluded,
            layers=first.layers or other.layers,
            kv_cache=first.kv_cache or other.kv_cache,
            group_size=first.group_size or other.group_size,
        )
    return first


def _beside(file: str, data: dict[str, Any], ledger: Ledger) -> Quantization:
    view = View(data, Ledger(file))
    if file == "quant_model_description.json":
        result = _modelslim(view)
    elif file == "hf_quant_config.json":
        result = _modelopt(view.section("quantization") or view, view, file)
    else:
        method = "awq" if file == "quant_config.json" else "gptq"
        result = _packed(view, view.text("quantization.method", "quant_method") or method, file)
    ledger.findings += view.ledger.findings
    ledger.sources.update({k: v for k, v in view.ledger.sources.items() if k not in ledger.sources})
    return result


def _translate(view: View, place: str) -> Quantization:
    """One `quantization_config`, by its method."""
    producer = view.section("producer")
    name = producer.text("quantization.producer", "name") if producer else None
    method = (
        (view.text("quantization.method", "quant_method") or "")
        .lower()
        .replace("compressed_tensors", "compressed-tensors")
    )
    if name == "modelopt" or method.startswith("modelopt") or "quant_algo" in view.data:
        return _modelopt(view.section("quantization") or view, view, place)
    if not method and "config_groups" in view.data:
        method = "compressed-tensors"
    if method == "compressed-tensors" or "config_groups" in view.data:
        return _groups(view, method, place)
    if method in ("fp8", "finegrained_fp8", "fbgemm_fp8", "mxfp8"):
        return _fp8(view, method, place)
    if method == "mxfp4":
        return _make(view, method, "mxfp4", place, bits=4, form="float", group=32)
    if method == "bitsandbytes":
        four = view.flag("quantization.load_in_4bit", "load_in_4bit")
        kind = view.text("quantization.scheme", "bnb_4bit_quant_type") or "nf4"
        return _make(view, method, f"bnb {kind}" if four else "bnb int8", place, bits=4 if four else 8)
    return _packed(view, method or "unnamed", place)


def _make(
    view: View,
    method: str,
    scheme: str,
    place: str,
    *,
    bits: int | None = None,
    form: str | None = None,
    group: int | None = None,
    block: tuple[int, int] | None = None,
    activation: str | None = None,
    kv_cache: str | None = None,
    layers: dict[str, int] | None = None,
    producer: str | None = None,
) -> Quantization:
    return Quantization(
        method=shown(method), scheme=scheme, weight_bits=bits, weight_format=form, group_size=group, block_size=block,
        activation=activation, kv_cache=kv_cache, excluded=_excluded(view), layers=layers or {}, producer=producer,
        files=(place,),
    )  # fmt: skip


def _excluded(view: View) -> tuple[str, ...]:
    for key in ("modules_to_not_convert", "exclude_modules", "ignore", "ignored_layers", "llm_int8_skip_modules"):
        values = view.data.get(key)
        if isinstance(values, list):
            view.ledger.used.add(view.path + key)
            view.ledger.sources["quantization.excluded"] = f"{view.ledger.file}: {view.path}{key}"
            return tuple(shown(v) for v in values[:MOST_LISTED] if isinstance(v, str))
    return ()


def _fp8(view: View, method: str, place: str) -> Quantization:
    sizes = view.wholes("quantization.block_size", "weight_block_size")
    block = (sizes[0], sizes[1]) if sizes and len(sizes) == 2 and min(sizes) > 0 else None
    per = f"fp8 {block[0]}x{block[1]}" if block else "fp8 per-tensor"
    if method == "mxfp8":
        per = "mxfp8"
    return _make(
        view, method, per, place, bits=8, form="float", block=block,
        activation=view.text("quantization.activation", "activation_scheme"),
    )  # fmt: skip


def _packed(view: View, method: str, place: str) -> Quantization:
    """AWQ, GPTQ and their like: whole numbers of `bits` in groups."""
    bits = view.whole("quantization.weight_bits", "bits", "w_bit", "wbits", most=64)
    size = view.data.get("group_size", view.data.get("q_group_size"))
    group = size if isinstance(size, int) and not isinstance(size, bool) and 0 < size < 2**31 else None
    scheme = f"int{bits}" + (f" g{group}" if group else "") if bits else method
    return _make(view, method, f"{method} {scheme}" if bits else scheme, place, bits=bits, form="int", group=group)


ALGORITHMS = {
    "NVFP4": ("nvfp4", 4, "float"), "W4A16_NVFP4": ("nvfp4 w4a16", 4, "float"), "FP8": ("fp8 per-tensor", 8, "float"),
    "FP8_PB_WO": ("fp8 128x128", 8, "float"), "FP8_PER_CHANNEL_PER_TOKEN": ("fp8 per-channel", 8, "float"),
    "W4A16_AWQ": ("int4 awq", 4, "int"), "W4A8_AWQ": ("int4 awq a8", 4, "int"), "INT8_SQ": ("int8", 8, "int"),
    "MXFP8": ("mxfp8", 8, "float"), "MXFP4": ("mxfp4", 4, "float"), "W4A8_NVFP4_FP8": ("nvfp4 a8", 4, "float"),
    "MIXED_PRECISION": ("mixed", None, None), "FP8_BLOCK_SCALES": ("fp8 128x128", 8, "float"),
}  # fmt: skip
BLOCKED = ("FP8_PB_WO", "FP8_BLOCK_SCALES")


def _modelopt(view: View, whole: View, place: str) -> Quantization:
    """NVIDIA modelopt: `quant_algo`, `group_size`, and for mixed precision each layer's own."""
    algorithm = (view.text("quantization.scheme", "quant_algo", "moe_quant_algo") or "").upper()
    layers: dict[str, int] = {}
    listed = view.section("quantized_layers")
    for row in list((listed.data if listed else {}).values())[:MOST_LISTED]:
        name = str(row.get("quant_algo")) if isinstance(row, dict) else "unknown"
        layers[shown(name)] = layers.get(shown(name), 0) + 1
    group = view.whole("quantization.group_size", "group_size", most=2**31)
    if not algorithm:
        base = _groups(view, "modelopt", place)
        return base if not layers else msgspec.structs.replace(base, layers=layers)  # type: ignore[type-var]
    name, bits, form = ALGORITHMS.get(algorithm, (algorithm.lower(), None, None))
    if algorithm == "NVFP4" and not group:
        group = 16
    kv_cache = _kv_cache(view)
    producer = whole.section("producer")
    version = producer.text("quantization.producer_version", "version") if producer else None
    method = {"NVFP4": "modelopt_fp4", "MIXED_PRECISION": "modelopt_mixed"}.get(algorithm, "modelopt")
    return _make(
        view, method, f"{name} g{group}" if group and bits == 4 else name, place, bits=bits, form=form, group=group,
        block=(128, 128) if algorithm in BLOCKED else None,
        activation=_input_activation(view), kv_cache=kv_cache, layers=layers,
        producer=f"modelopt {version}" if version else "modelopt",
    )  # fmt: skip


def _kv_cache(view: View) -> str | None:
    scheme = view.data.get("kv_cache_scheme")
    if isinstance(scheme, dict):
        view.ledger.used.add(view.path + "kv_cache_scheme")
        part = view.section("kv_cache_scheme")
        if part is not None:
            return f"{part.text('quantization.kv_cache', 'type')}{part.whole('quantization.kv_cache', 'num_bits')}"
    return view.text("quantization.kv_cache", "kv_cache_quant_algo", "kv_cache_scheme")


def _input_activation(view: View) -> str | None:
    groups = view.section("config_groups")
    first = next((g for g in groups.sections(*list(groups.data)[:1])), None) if groups else None
    part = first.section("input_activations") if first else None
    dynamic = part.flag("quantization.activation", "dynamic") if part else None
    return None if dynamic is None else "dynamic" if dynamic else "static"


def _groups(view: View, method: str, place: str) -> Quantization:
    """compressed-tensors' `config_groups`: one scheme per group of targets."""
    groups = view.section("config_groups")
    names: dict[str, int] = {}
    bits: int | None = None
    form: str | None = None
    size: int | None = None
    block: tuple[int, int] | None = None
    for group in groups.sections(*list(groups.data)[:50]) if groups else ():
        weights = group.section("weights")
        if weights is None:
            continue
        bits = weights.whole("quantization.weight_bits", "num_bits", most=64) or bits
        form = weights.text("quantization.weight_format", "type") or form
        size = weights.whole("quantization.group_size", "group_size", most=2**31) or size
        strategy = weights.text("quantization.strategy", "strategy")
        shape = weights.wholes("quantization.block_size", "block_structure")
        block = (shape[0], shape[1]) if shape and len(shape) == 2 else block
        per = f"{'fp' if form == 'float' else 'int'}{bits}"
        how = (
            f"{block[0]}x{block[1]}"
            if block
            else f"g{size}"
            if size
            else {"tensor": "per-tensor", "channel": "per-channel"}.get(strategy or "")
        )
        name = f"{per} {how}" if how else per
        targets = group.data.get("targets")
        names[name] = names.get(name, 0) + (len(targets) if isinstance(targets, list) else 1)
    scheme = "mixed" if len(names) > 1 else next(iter(names), method or "compressed-tensors")
    return _make(
        view, method or "compressed-tensors", scheme, place, bits=None if len(names) > 1 else bits, form=form,
        group=size, block=block, activation=_input_activation(view), kv_cache=_kv_cache(view),
        layers=names if len(names) > 1 else {},
    )  # fmt: skip


def _modelslim(view: View) -> Quantization:
    """ModelSlim (Ascend): one entry per tensor, its type or FLOAT."""
    types: dict[str, int] = {}
    kept: list[str] = []
    for key, value in list(view.data.items())[: 5 * MOST_LISTED]:
        if not isinstance(value, str) or not key.endswith((".weight", ".bias", "_weight")):
            continue
        if value == "FLOAT":
            kept.append(shown(key.rsplit(".", 1)[0]))
        else:
            types[shown(value)] = types.get(shown(value), 0) + 1
    scheme = view.text("quantization.scheme", "model_quant_type")
    name = scheme or (next(iter(types)) if len(types) == 1 else "mixed" if types else "float")
    bits = {"W4": 4, "W8": 8}.get(name[:2].upper())
    base = _make(
        view,
        "ascend",
        name.lower(),
        "quant_model_description.json",
        bits=bits,
        form="int",
        layers=types,
        kv_cache=view.text("quantization.kv_cache", "kv_cache_type"),
        producer="ModelSlim",
    )
    return msgspec.structs.replace(base, excluded=tuple(dict.fromkeys(kept)))  # type: ignore[type-var]
