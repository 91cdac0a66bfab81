"""What a layer without a KV cache keeps per request: the shapes of its convolution and recurrent state."""

from __future__ import annotations

from seatrial.checkpoint.config import View
from seatrial.core.record import Record


class State(Record):
    """Shapes per request and layer, in elements. `conv` is (kernel - 1, channels); `recurrent` (heads, …).

    The formulas are those of vLLM's MambaStateShapeCalculator at tensor-parallel size 1. None: a field is missing.
    """

    conv: tuple[int, ...] | None = None
    recurrent: tuple[int, ...] | None = None
    heads: int | None = None
    head_dim: int | None = None
    state_size: int | None = None
    groups: int | None = None
    key_heads: int | None = None
    key_dim: int | None = None
    kernel: int | None = None
    expand: int | None = None
    chunk: int | None = None
    dtype: str | None = None


def read_state(text: View, kind: str) -> State:
    """The state of a layer of `kind`."""
    if kind == "gated-deltanet":
        return _delta_net(text)
    if kind == "mamba2":
        return _mamba2(text)
    if kind == "mamba":
        return _mamba(text)
    if kind == "kda" and (part := text.section("linear_attn_config")):
        heads, dim = part.whole("state.heads", "num_heads"), part.whole("state.head_dim", "head_dim")
        kernel = part.whole("state.kernel", "short_conv_kernel_size")
        return State(
            heads=heads,
            head_dim=dim,
            kernel=kernel,
            conv=(kernel - 1, 3 * heads * dim) if kernel and heads and dim else None,
            recurrent=(heads, dim, dim) if heads and dim else None,
        )
    return State()


def _delta_net(text: View) -> State:
    key_heads = text.whole("state.key_heads", "linear_num_key_heads", most=1_000_000)
    heads = text.whole("state.heads", "linear_num_value_heads", most=1_000_000)
    key_dim = text.whole("state.key_dim", "linear_key_head_dim", most=1_000_000)
    dim = text.whole("state.head_dim", "linear_value_head_dim", most=1_000_000)
    kernel = text.whole("state.kernel", "linear_conv_kernel_dim", least=1)
    dtype = text.text("state.dtype", "mamba_ssm_dtype")
    known = key_heads and heads and key_dim and dim
    return State(
        conv=(kernel - 1, 2 * key_heads * key_dim + heads * dim) if known and kernel else None,  # type: ignore[operator]
        recurrent=(heads, dim, key_dim) if known else None,  # type: ignore[arg-type]
        heads=heads,
        head_dim=dim,
        key_heads=key_heads,
        key_dim=key_dim,
        kernel=kernel,
        dtype=dtype,
    )


def _mamba2(text: View) -> State:
    heads = text.whole("state.heads", "mamba_num_heads", "mamba_n_heads", "n_mamba_heads", "num_heads", most=1_000_000)
    dim = text.whole("state.head_dim", "mamba_head_dim", "mamba_d_head", "mamba_headdim", "head_dim", most=1_000_000)
    size = text.whole("state.state_size", "ssm_state_size", "mamba_d_state", "state_size", most=1_000_000)
    groups_names = ("n_groups", "mamba_n_groups", "mamba_ngroups", "mamba_num_groups")
    groups = text.whole("state.groups", *groups_names, most=1_000_000)
    kernel = text.whole("state.kernel", "conv_kernel", "mamba_d_conv", least=1)
    known = heads and dim and size and groups
    return State(
        conv=(kernel - 1, heads * dim + 2 * groups * size) if known and kernel else None,  # type: ignore[operator]
        recurrent=(heads, dim, size) if known else None,  # type: ignore[arg-type]
        heads=heads,
        head_dim=dim,
        state_size=size,
        groups=groups,
        kernel=kernel,
        expand=text.whole("state.expand", "expand", "mamba_expand"),
        chunk=text.whole("state.chunk", "chunk_size", "mamba_chunk_size"),
        dtype=text.text("state.dtype", "mamba_ssm_cache_dtype", "mamba_ssm_dtype"),
    )


def _mamba(text: View) -> State:
    hidden = text.whole("architecture.hidden_size", "hidden_size", "d_model")
    expand = text.whole("state.expand", "mamba_expand", "expand")
    inner = text.whole("state.inner", "intermediate_size") if "state_size" in text.data else None
    inner = inner or (expand * hidden if expand and hidden else None)
    size = text.whole("state.state_size", "mamba_d_state", "state_size", most=1_000_000)
    kernel = text.whole("state.kernel", "mamba_d_conv", "conv_kernel", least=1)
    return State(
        conv=(kernel - 1, inner) if kernel and inner else None,
        recurrent=(inner, size) if inner and size else None,
        state_size=size,
        kernel=kernel,
        expand=expand,
    )
