"""Convolution and recurrent states (Mamba, gated DeltaNet, KDA): bytes per request, and pages made large enough.

In: a model, a mixer with a state, the ranks. Out: bytes on one rank. Refuses (NotModelled) heads or channels
that do not divide.
"""

from __future__ import annotations

from math import lcm, prod

from seatrial.checkpoint.attention import Mixer
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.kv_sizes import head_bytes, kv_heads_on_rank, latent_bytes
from seatrial.estimate.layout import Serving
from seatrial.estimate.model import DTYPE_BYTES, Lacking, Model, NotModelled, need

HEADS = ("GQA", "MQA", "MHA")


def state_bytes(model: Model, mixer: Mixer, tp: int, serving: Serving, rules: EngineRules) -> int:
    """Bytes of one request's convolution and recurrent state on a rank (vLLM's MambaStateShapeCalculator)."""
    total = 0
    for shape, size in state_shapes(model, mixer, tp, serving, rules):
        total += prod(shape) * size
    return total


def state_shapes(
    model: Model, mixer: Mixer, tp: int, serving: Serving, rules: EngineRules
) -> list[tuple[tuple[int, ...], int]]:
    """(shape, bytes per element) of each state tensor on a rank."""
    state = mixer.state
    if state is None or mixer.kind not in ("gated-deltanet", "mamba2", "mamba", "kda"):
        raise NotModelled(f"the state of a layer of kind {mixer.kind!r}")
    if state.conv is None or state.recurrent is None:
        raise Lacking(f"{mixer.kind} sizes", "config.json does not state them all")
    conv = state.conv
    channels = conv[1]
    if mixer.kind == "mamba2" and state.groups and state.groups % tp and state.state_size:
        # Groups that do not divide are copied so that every head has its own on its rank.
        channels += 2 * (tp - state.groups) * state.state_size
    heads = state.recurrent[0]
    if channels % tp or heads % tp:
        raise NotModelled(f"a state of {heads} heads and {channels} channels over {tp} ranks")
    activation = model.dtype_bytes()
    recurrent = rules.ssm_dtype or _ssm_dtype(model, mixer)
    return [
        ((conv[0] + serving.spec_tokens, channels // tp), activation),
        ((heads // tp, *state.recurrent[1:]), DTYPE_BYTES[recurrent]),
    ]


def _ssm_dtype(model: Model, mixer: Mixer) -> str:
    """The recurrent state's dtype: the config's, else the class default (float32 for Nemotron-H and KDA), else the
    model's.
    """
    from seatrial.checkpoint.dtypes import TORCH_NAMES

    stated = mixer.state.dtype if mixer.state else None
    if stated:
        return TORCH_NAMES.get(stated, "F32")
    if mixer.kind == "kda" or model.kind() == "nemotron_h":
        return "F32"
    return model.dtype()


def align(
    model: Model, kinds: list[Mixer], dtype: str, tp: int, block: int, state: int, mla: bool, rules: EngineRules
) -> tuple[int, int]:
    """vLLM's `_align_hybrid_block_size`: attention pages grow until a state fits into one; states are padded to it."""
    attention = next(m for m in kinds if m.kind in (*HEADS, "MLA"))
    if attention.kind == "MLA":
        token = latent_bytes(model, dtype, attention, rules)
        kernel = rules.mla_kernel_block
    else:
        dim = need(attention.head_dim, "head_dim")
        heads = kv_heads_on_rank(need(attention.kv_heads, "num_key_value_heads"), tp)
        token = head_bytes(model, dtype, heads, dim, attention.value_head_dim or dim)
        kernel = rules.kernel_block
    step = max(kernel, block)
    if mla:
        step = max(step, 128)
    wanted = step * -(-state // (step * token))
    wanted = lcm(kernel) * -(-wanted // kernel)
    block = max(block, wanted)
    return block, block * token
