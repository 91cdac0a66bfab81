"""The scheduler's limits where the user gives none: tokens per step and requests at once, as the engine settles them.

In: a model, a layout, how it is served, the platform's rules, the device's memory. Out: `Settled`, with rules that hold
for this case. From vLLM 0.32's `get_batch_defaults` and `_set_default_max_num_seqs_and_batched_tokens_args`
(engine/arg_utils.py) and platforms/cpu.py; compared with the engine's answers for the zoo (tests/estimate).
"""

from __future__ import annotations

from seatrial.core.quantity import Quantity
from seatrial.core.record import Record
from seatrial.estimate.encoders import keeps_no_cache
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.kv_latent import as_cached
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.model import Model, altered

GIB = 1024**3
# Of an engine on any device: at least so much memory (GiB), tokens per step and requests of `vllm serve`.
BY_MEMORY = ((160, 16384, 1024), (70, 8192, 1024), (0, 2048, 256))
# What a step takes at least where nothing is chunked (SchedulerConfig.DEFAULT_MAX_NUM_BATCHED_TOKENS).
LEAST = 2048
# Families whose class says `is_attention_free`; a hybrid that happens to have no attention layer is none of them.
ATTENTION_FREE = ("mamba", "mamba2", "falcon_mamba")


class Settled(Record):
    """`rules` with the defaults of this case; `serving` with what the engine overrides."""

    serving: Serving
    rules: EngineRules
    notes: tuple[str, ...] = ()


def settle(
    model: Model, layout: Layout, serving: Serving, rules: EngineRules, device: Quantity | None, length: int
) -> Settled:
    """What the engine makes of flags left out; `length` is the longest request."""
    tokens, seqs = rules.batched_tokens, rules.max_seqs
    notes: list[str] = []
    if rules.platform == "cpu":
        ranks = layout.tp * layout.pp
        tokens, seqs = tokens * ranks, seqs * ranks
    elif rules.platform == "cuda" and device is not None and device.value is not None:
        tokens, seqs = next((t, s) for least, t, s in BY_MEMORY if device.value >= least * GIB)
    whole = _passes_whole(model)
    if whole:
        tokens = max(tokens, length)
    given = serving.max_num_batched_tokens
    tokens = min(tokens, (serving.max_num_seqs or seqs) * length)
    seqs = min(seqs, given or tokens)
    if whole and given is None and tokens == length:
        notes.append(f"--max-num-batched-tokens was left out: {length}, since {whole}")
    if serving.prefix_caching and (off := _no_prefix(model)):
        serving = altered(serving, prefix_caching=False)
        notes.append(off)
    if latent_without_tiles(model, rules):
        # The reference kernels take no prefix from the cache and no piece of a prompt, whatever was given.
        step = max(length, LEAST)
        if given not in (None, step):
            notes.append(f"--max-num-batched-tokens {given}: the engine takes {step} for MLA on this processor")
        serving = altered(serving, prefix_caching=False, max_num_batched_tokens=step)
    return Settled(
        serving=serving, rules=altered(rules, batched_tokens=tokens, max_seqs=seqs), notes=tuple(notes)
    )  # fmt: skip


def _passes_whole(model: Model) -> str:
    """Why a prompt is not cut into steps; "" where it is."""
    if keeps_no_cache(model):
        return "a request passes in one step"
    return "an encoder-decoder's prompt passes in one step" if model.config.get("is_encoder_decoder") is True else ""


def _no_prefix(model: Model) -> str:
    """Why the engine keeps no prefixes unless it is told to (`is_prefix_caching_supported`); "" where it does."""
    if model.kind() in ATTENTION_FREE:
        return "prefix caching is off by default for a model without attention"
    if keeps_no_cache(model) or model.config.get("is_encoder_decoder") is True:
        return "prefix caching is off for encoders and encoder-decoders"
    return ""


def latent_without_tiles(model: Model, rules: EngineRules) -> bool:
    """MLA on a processor without AMX tiles (platforms/cpu.py)."""
    if rules.platform != "cpu" or rules.mla_block != 16:
        return False
    if model.kind() == "deepseek_v4":
        return True
    return any(as_cached(model, m).kind == "MLA" for m in model.card.attention.mixers)
