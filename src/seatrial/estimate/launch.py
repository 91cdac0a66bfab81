"""What a launch command says of memory: its flags and variables as the estimate's layout and serving.

In: the arguments of `vllm serve` and its environment. Out: `Launch`. A flag that changes memory and that no formula
here takes is named in `notes`, never passed over; a value that is not understood counts as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from seatrial.core.record import Record
from seatrial.estimate.layout import Layout, Serving

NUMBERS = {
    "--tensor-parallel-size": "tp", "-tp": "tp", "--pipeline-parallel-size": "pp", "-pp": "pp",
    "--data-parallel-size": "dp", "-dp": "dp", "--max-model-len": "max_model_len", "--max-num-seqs": "max_num_seqs",
    "--max-num-batched-tokens": "max_num_batched_tokens", "--kv-cache-memory-bytes": "kv_bytes",
    "--block-size": "block_size",
}  # fmt: skip
SWITCHES = {
    "--enable-expert-parallel": ("ep", True), "-ep": ("ep", True), "--no-enable-prefix-caching": ("prefix", False),
    "--enable-prefix-caching": ("prefix", True), "--enforce-eager": ("eager", True),
    "--no-enforce-eager": ("eager", False), "--no-enable-expert-parallel": ("ep", False),
}  # fmt: skip
DTYPES = {"bfloat16": "BF16", "float16": "F16", "half": "F16", "float32": "F32", "float": "F32"}
# Flags that change what a device holds, and that no formula of the estimate takes.
BEYOND = (
    "--hf-overrides", "--quantization", "-q", "--cpu-offload-gb", "--enable-lora", "--num-gpu-blocks-override",
    "--decode-context-parallel-size", "-dcp", "--prefill-context-parallel-size", "-pcp", "--enable-eplb",
    "--disable-hybrid-kv-cache-manager", "--mamba-cache-dtype", "--mamba-ssm-cache-dtype", "--swap-space",
    "--kv-transfer-config", "--additional-config", "--no-enable-chunked-prefill", "--calculate-kv-scales",
    "--mm-encoder-tp-mode", "--limit-mm-per-prompt", "--model-loader-extra-config", "--kv-cache-dtype-skip-layers",
)  # fmt: skip
SPACE = "VLLM_CPU_KVCACHE_SPACE"
# Suffixes that vLLM's human-readable integers take: lower case decimal, upper case binary.
SUFFIX = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Launch(Record):
    """`dtype`: as `Model.given`. `draft`: the folder of a separate draft checkpoint, "" for none."""

    layout: Layout
    serving: Serving
    dtype: str = ""
    draft: str = ""
    notes: tuple[str, ...] = ()


def read_launch(argv: Sequence[str], env: Mapping[str, str], platform: str) -> Launch:
    """The last value of a flag counts, as in the engine."""
    found: dict[str, int | bool] = {}
    utilization, kv_dtype, dtype, draft = 0.9, "auto", "", ""
    notes: list[str] = []
    words = [part for word in argv for part in _split(word)]
    for place, flag in enumerate(words):
        value = words[place + 1] if place + 1 < len(words) else ""
        if flag in SWITCHES:
            name, state = SWITCHES[flag]
            found[name] = state
        elif flag in NUMBERS:
            number = read_number(value)
            if number is None:
                notes.append(f"the launch's {flag} {value} is not in the plan: no number that it reads")
            else:
                found[NUMBERS[flag]] = number
        elif flag == "--gpu-memory-utilization":
            utilization = _share(value, utilization, notes)
        elif flag == "--kv-cache-dtype":
            kv_dtype = value
        elif flag == "--dtype" and value in DTYPES:
            dtype = DTYPES[value]
        elif flag in ("--speculative-config", "--spec-config"):
            told = _speculative(value, notes)
            found["spec"], draft = told.tokens, told.draft
        elif flag in BEYOND:
            notes.append(f"the launch's {flag} is not in the plan")
    space = env.get(SPACE, "")
    if platform == "cpu" and space.isdigit() and int(space):
        # The variable wins even over the flag; a number of GiB (vllm/platforms/cpu.py).
        found["kv_bytes"] = int(space) << 30
    layout = Layout(tp=found.get("tp", 1), pp=found.get("pp", 1), dp=found.get("dp", 1), ep=bool(found.get("ep")))
    serving = Serving(
        max_model_len=found.get("max_model_len"), max_num_seqs=found.get("max_num_seqs"),
        max_num_batched_tokens=found.get("max_num_batched_tokens"), utilization=utilization,
        kv_bytes=found.get("kv_bytes"), kv_dtype=kv_dtype, block_size=found.get("block_size"),
        prefix_caching=bool(found.get("prefix", True)), eager=bool(found.get("eager")),
        spec_tokens=found.get("spec", 0), own_draft=not draft,
    )  # fmt: skip
    return Launch(layout=layout, serving=serving, dtype=dtype, draft=draft, notes=tuple(notes))


def read_number(text: str) -> int | None:
    """`131072`, `128k` (decimal) or `128K` (binary) as vLLM reads it; None for anything else, and for none at all."""
    scale = SUFFIX.get(text[-1:], 1)
    digits = text[:-1] if scale > 1 else text
    if len(digits) > 18:
        return None
    if digits.isdecimal() and digits.isascii():
        return int(digits) * scale or None
    whole, _, part = digits.partition(".")
    if scale > 1 and (whole + part).isdecimal() and (whole + part).isascii():
        return int(float(digits) * scale) or None
    return None


def _split(word: str) -> list[str]:
    """`--flag=value` as two words, underscores of a flag as dashes."""
    if not word.startswith("-"):
        return [word]
    flag, equals, value = word.partition("=")
    return [flag.replace("_", "-"), value] if equals else [flag.replace("_", "-")]


def _share(text: str, default: float, notes: list[str]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        notes.append(f"the launch's --gpu-memory-utilization {text} is not in the plan: {default:g} is taken")
        return default
    return value


class _Speculation(Record):
    tokens: int = 0
    draft: str = ""


def _speculative(text: str, notes: list[str]) -> _Speculation:
    """The tokens drafted, and the folder of a draft that is a checkpoint of its own."""
    try:
        told = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = None
    tokens = told.get("num_speculative_tokens") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1:
        notes.append("the launch's --speculative-config is not in the plan: it states no num_speculative_tokens")
        return _Speculation()
    if str(told.get("method", "")).startswith(("ngram", "suffix")):
        return _Speculation()
    # With MTP a named model is the target's own checkpoint.
    model = None if str(told.get("method", "")).endswith("mtp") else told.get("model")
    return _Speculation(tokens=tokens, draft=model if isinstance(model, str) else "")
