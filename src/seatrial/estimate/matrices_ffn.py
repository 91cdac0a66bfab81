"""The weights of the feed-forward parts: dense, experts, shared experts, router."""

from __future__ import annotations

from seatrial.estimate.families import biased, family
from seatrial.estimate.matrices import Matrix, linear, vector
from seatrial.estimate.model import Model, need

# How the experts' module is called, for quantisation rules.
EXPERTS = {"minimax_m2": "block_sparse_moe.experts", "mixtral": "block_sparse_moe.experts", "gemma4_text": "experts",
           "llama4_text": "feed_forward.experts", "nemotron_h": "mixer.experts"}  # fmt: skip


def ffn_matrices(model: Model) -> list[Matrix]:
    """All feed-forward weights of the language model."""
    ffn = model.card.feed_forward
    made: list[Matrix] = []
    sizes: dict[int, list[int]] = {}
    sparse: list[int] = []
    for i, kind in enumerate(ffn.pattern):
        if "dense" in kind:
            sizes.setdefault(need(ffn.sizes[i], "intermediate_size"), []).append(i)
        if "moe" in kind:
            sparse.append(i)
    for size, layers in sizes.items():
        made += _dense(model, size, tuple(layers))
    if sparse:
        made += _experts(model, tuple(sparse))
    return made


def _mlp_name(model: Model) -> str:
    return {"llama4_text": "feed_forward", "nemotron_h": "mixer"}.get(model.kind(), "mlp")


def _dense(model: Model, size: int, layers: tuple[int, ...]) -> list[Matrix]:
    hidden, name = model.hidden(), _mlp_name(model)
    form = family(model)
    bias = biased(model, form.mlp)
    rows: tuple[int, ...] = (size, size) if model.card.feed_forward.gated else (size,)
    up = "gate_up_proj" if len(rows) == 2 else "up_proj"
    return [
        linear("mlp", f"{name}.{up}", rows, hidden, layers, "none" if form.whole_mlp else "rows", bias=bias),
        linear("mlp", f"{name}.down_proj", hidden, size, layers, "none" if form.whole_mlp else "cols", bias=bias),
    ]


def _experts(model: Model, layers: tuple[int, ...]) -> list[Matrix]:
    moe = model.card.feed_forward.moe
    kind, hidden = model.kind(), model.hidden()
    count = need(moe.experts if moe else None, "num_experts")
    size = need(moe.intermediate_size if moe else None, "moe_intermediate_size")
    width = (moe.latent_size if moe else None) or hidden
    gated = model.card.feed_forward.gated
    rows: tuple[int, ...] = (size, size) if gated else (size,)
    name = EXPERTS.get(kind, "mlp.experts")
    base = name.rsplit(".", 1)[0]
    form = family(model)
    bias = form.router_bias
    made = [
        Matrix(
            part="experts", module=f"{name}.w13", rows=rows, cols=width, layers=layers, split="rows", experts=count,
            quantizable=True, bias=bias, tokens="experts",
        ),
        Matrix(
            part="experts", module=f"{name}.w2", rows=(width,), cols=size, layers=layers, split="cols", experts=count,
            quantizable=True, bias=bias, tokens="experts",
        ),
        Matrix(
            part="router", module=f"{base}.gate", rows=(count,), cols=hidden, layers=layers, bias=bias,
            dtype="F32" if form.float_router else "",
        ),
    ]  # fmt: skip
    if _has_correction(model):
        made.append(vector("router", f"{base}.gate.e_score_correction_bias", count, layers, dtype="F32"))
    if kind == "gemma4_text":
        made += [
            vector("router", "router.scale", hidden, layers),
            vector("router", "router.per_expert_scale", count, layers),
        ]
    if width != hidden:
        made += [
            linear("experts", f"{base}.fc1_latent_proj", width, hidden, layers, "none"),
            linear("experts", f"{base}.fc2_latent_proj", hidden, width, layers, "none"),
        ]
    return made + _shared(model, layers, base)


def _has_correction(model: Model) -> bool:
    moe = model.card.feed_forward.moe
    if moe is not None and moe.topk_method == "noaux_tc":
        return True
    return family(model).correction or bool(model.flag("use_routing_bias"))


def _shared(model: Model, layers: tuple[int, ...], base: str) -> list[Matrix]:
    moe = model.card.feed_forward.moe
    if moe is None:
        return []
    kind, hidden = model.kind(), model.hidden()
    size = moe.shared_intermediate_size or (moe.shared_experts or 0) * (moe.intermediate_size or 0)
    if kind in ("llama4_text", "llama4"):
        size = need(moe.intermediate_size, "intermediate_size")  # its class always has one shared expert
    if not size:
        return []
    rows: tuple[int, ...] = (size, size) if model.card.feed_forward.gated else (size,)
    single = kind.startswith(("qwen", "llama4"))
    name = f"{base}.shared_expert" if single else f"{base}.shared_experts"
    up = "gate_up_proj" if len(rows) == 2 else "up_proj"
    made = [
        linear("shared-experts", f"{name}.{up}", rows, hidden, layers, "rows"),
        linear("shared-experts", f"{name}.down_proj", hidden, size, layers, "cols"),
    ]
    if kind.startswith("qwen"):
        made.append(
            Matrix(part="shared-experts", module=f"{base}.shared_expert_gate", rows=(1,), cols=hidden, layers=layers)
        )
    return made
