"""Which tensor-parallel sizes fit: every size from 1 to 64 against every dimension that is split, with the numbers.

In: the translated config. Out: one `TpCheck` per size. The rules are vLLM's (0.32): heads and intermediate sizes must
divide; KV heads divide or are replicated; the vocabulary is padded to 64 first; block-fp8 wants whole blocks per rank,
grouped quantisation whole groups on the input side; Mamba groups divide or there is one; whole experts (expert
parallelism) need not divide, but there is one for each rank. A size refused here may still run in a plugin that pads; a
size accepted here was not run.
"""

from __future__ import annotations

from seatrial.checkpoint.architecture import Architecture
from seatrial.checkpoint.attention import Attention, Mixer
from seatrial.checkpoint.moe import FeedForward
from seatrial.checkpoint.quant import Quantization
from seatrial.core.record import Record

SIZES = range(1, 65)
VOCABULARY_PADDING = 64  # vLLM: DEFAULT_VOCAB_PADDING_SIZE


class TpCheck(Record):
    """One size. `kv`: "split", "replicated" (each rank holds a copy of a head) or "none" (latent or no KV heads).

    `problems` say with numbers why the size does not fit; `expert_parallel` those with experts split by number instead
    of by width; None where there are no experts.
    """

    size: int
    fits: bool
    kv: str
    problems: tuple[str, ...]
    expert_parallel: tuple[str, ...] | None = None


class _Demand(Record):
    """A dimension that is split: `value` must divide by the size, and each part be a multiple of `step`."""

    what: str
    value: int
    step: int = 1
    experts: bool = False

    def problem(self, size: int) -> str:
        if self.value % size:
            return f"{self.what}: {self.value} is not divisible by {size}"
        if (self.value // size) % self.step:
            return f"{self.what}: {self.value}/{size} = {self.value // size} is no multiple of {self.step}"
        return ""


def check_sizes(
    frame: Architecture, attention: Attention, ffn: FeedForward, quantization: Quantization | None
) -> tuple[TpCheck, ...]:
    """All sizes; empty where the config does not even state the heads."""
    if not attention.mixers:
        return ()
    demands = _demands(frame, attention, ffn, quantization)
    return tuple(_check(size, demands, attention, ffn) for size in SIZES)


def _check(size: int, demands: list[_Demand], attention: Attention, ffn: FeedForward) -> TpCheck:
    words: dict[str, None] = {}
    without_experts: dict[str, None] = {}
    for demand in demands:
        if problem := demand.problem(size):
            words[problem] = None
            if not demand.experts:
                without_experts[problem] = None
    kv = "none"
    for mixer in attention.mixers:
        if mixer.kind in ("GQA", "MQA", "MHA") and mixer.kv_heads:
            kv = "split" if mixer.kv_heads % size == 0 and kv in ("none", "split") else "replicated"
            if mixer.kv_heads % size and size % mixer.kv_heads:
                text = f"KV heads: {mixer.kv_heads} neither divide by {size} nor into it"
                words[text] = without_experts[text] = None
        if mixer.kind == "mamba2" and mixer.state and (groups := mixer.state.groups) and groups != 1 and groups % size:
            text = f"Mamba groups: {groups} is not divisible by {size}"
            words[text] = without_experts[text] = None
    # Whole experts are dealt out as evenly as they go (determine_expert_map); a rank without any is nowhere foreseen.
    if ffn.moe is not None and ffn.moe.experts < size:
        without_experts[f"experts: {ffn.moe.experts} are fewer than {size} ranks"] = None
    return TpCheck(
        size=size,
        fits=not words,
        kv=kv,
        problems=tuple(words),
        expert_parallel=tuple(without_experts) if ffn.moe is not None else None,
    )


def _demands(
    frame: Architecture, attention: Attention, ffn: FeedForward, quantization: Quantization | None
) -> list[_Demand]:
    found: list[_Demand] = []
    if frame.vocab_size:
        padded = -(-frame.vocab_size // VOCABULARY_PADDING) * VOCABULARY_PADDING
        found.append(_Demand(what="vocabulary padded to 64", value=padded))
    for mixer in attention.mixers:
        found += _mixer_demands(mixer, _step(quantization, "self_attn.o_proj"))
    dense = sorted({size for size in ffn.sizes if size})
    for size in dense:
        found.append(_Demand(what="intermediate size", value=size, step=_step(quantization, "mlp.down_proj")))
    if ffn.moe is not None:
        step = _step(quantization, "mlp.experts.0.down_proj")
        if ffn.moe.intermediate_size:
            found.append(
                _Demand(what="expert intermediate size", value=ffn.moe.intermediate_size, step=step, experts=True)
            )
        width = ffn.moe.shared_intermediate_size
        if width is None and ffn.moe.shared_experts and ffn.moe.intermediate_size:
            width = ffn.moe.shared_experts * ffn.moe.intermediate_size
        if width:
            # Split by width whether or not the experts are dealt out whole.
            names = ("mlp.shared_expert.down_proj", "mlp.shared_experts.down_proj")
            shared = min(_step(quantization, name) for name in names)
            found.append(_Demand(what="shared expert's intermediate size", value=width, step=shared))
    return found


def _mixer_demands(mixer: Mixer, step: int) -> list[_Demand]:
    found: list[_Demand] = []
    if mixer.kind in ("GQA", "MQA", "MHA", "MLA") and mixer.heads:
        found.append(_Demand(what="attention heads", value=mixer.heads))
        width = mixer.value_head_dim or mixer.head_dim
        if step > 1 and width:
            found.append(_Demand(what="attention output width", value=mixer.heads * width, step=step))
    state = mixer.state
    if state is not None and mixer.kind in ("gated-deltanet", "mamba2", "kda"):
        if state.heads:
            found.append(_Demand(what=f"{mixer.kind} heads", value=state.heads))
        if state.key_heads:
            found.append(_Demand(what=f"{mixer.kind} key heads", value=state.key_heads))
    return found


def _step(quantization: Quantization | None, module: str) -> int:
    """What each rank's share must be a multiple of: the fp8 block's or the group's size, 1 where not quantised."""
    if quantization is None or quantization.excludes(f"model.layers.0.{module}"):
        return 1
    if quantization.scheme == "mxfp4":
        return 1  # vLLM pads the experts' width to whole blocks per rank
    if any("re:" in rule or "*" in rule for rule in quantization.excluded) and _mentioned(quantization, module):
        return 1
    if quantization.block_size:
        return max(quantization.block_size)
    return quantization.group_size or 1


def _mentioned(quantization: Quantization, module: str) -> bool:
    """Whether an exclusion rule of globs or regular expressions names the module's own part of the layer."""
    part = module.split(".", maxsplit=1)[0] if "expert" not in module else "expert"
    return any(part in rule for rule in quantization.excluded)


def fitting(checks: tuple[TpCheck, ...]) -> tuple[int, ...]:
    """The sizes that fit."""
    return tuple(check.size for check in checks if check.fits)


def powers(checks: tuple[TpCheck, ...]) -> tuple[TpCheck, ...]:
    """Those people ask about first: 1, 2, 4, … 64."""
    return tuple(check for check in checks if check.size & (check.size - 1) == 0)
