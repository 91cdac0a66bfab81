"""Which part of the model a tensor belongs to, by its name's pattern; and which tensors serve another (scales)."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from seatrial.checkpoint.names import Group
from seatrial.core.record import Record

Part = Literal[
    "embedding", "head", "attention", "linear-attention", "mlp", "experts", "shared-experts", "router", "norm",
    "vision", "audio", "projector", "mtp", "other",
]  # fmt: skip

# First match wins; patterns have `*` for numbers. Towers come first: inside them there are attention and MLPs too.
RULES: tuple[tuple[Part, re.Pattern[str]], ...] = (
    ("mtp", re.compile(
        r"(^|\.)(mtp|mtp_layers|nextn|model_mtp|mtp_block)(\.|$)|\.mtp_emb_|(^|\.)enorm\.|eh_proj|layers\.\d+\.")),
    ("projector", re.compile(
        r"(^|\.)(multi_modal_projector|mm_projector|projector|merger|deepstack_merger_list|embed_vision|embed_audio"
        r"|vision_projection|mlp1|aligner|patch_merger|connector|resampler|visual_projection|perceiver)(\.|$)")),
    ("audio", re.compile(r"(^|\.)(audio_tower|audio_encoder|audio_model|sound_encoder|speech_encoder|whisper)(\.|$)")),
    ("vision", re.compile(
        r"(^|\.)(visual|vision_tower|vision_model|vision_encoder|vit|sam_model|image_encoder|vpm|qwen2_model"
        r"|image_newline|view_seperator|view_separator|vision_embed_tokens)(\.|$)")),
    ("shared-experts", re.compile(r"\.(shared_experts?|shared_mlp|share_expert)(\.|_gate|$)")),
    ("router", re.compile(
        r"(mlp|moe|block_sparse_moe|feed_forward|ffn|mixer)\.(gate|router)(\.|$)|\.router\.|\.router$"
        r"|e_score_correction_bias|tid2eid|\.moe\.gate")),
    ("experts", re.compile(r"\.experts?(\.|$)|\.moe\.|fc[12]_latent_proj|\.(switch|expert)_mlp\.")),
    ("norm", re.compile(r"norm(\.\w+)?$|(^|\.)ln_\w+\.|norm\d?\.(weight|bias)$|layer_?norm")),
    ("head", re.compile(r"(^|\.)(lm_head|embed_out|output)\.|^head\.")),
    ("embedding", re.compile(r"embed_tokens|tok_embeddings|(^|\.)wte\.|word_embeddings|(^|\.)embed(dings?)?\.")),
    ("linear-attention", re.compile(
        r"\.(linear_attn|mamba|ssm|gated_delta|kda)\.|mixer\.(in_proj|out_proj|conv1d|A_log|D|dt_bias|norm|x_proj)"
        r"|\.A_log$")),
    ("attention", re.compile(r"attn|attention|\.(q|k|v|o|qkv)_proj\.|\.indexer\.")),
    ("mlp", re.compile(r"\.(mlp|feed_forward|ffn|dense_mlp)\.|(gate|up|down|gate_up)_proj|\.fc[12]\.|mixer\.\w+_proj")),
)  # fmt: skip

# A tensor that only serves a weight: scales, zero points, orders, observed maxima.
SERVES = re.compile(
    r"(^|[._])(weight_scale(_inv|_2)?|input_scale(_inv)?|weights_scaling_factor(_2)?|activation_scaling_factor|scales?"
    r"|qzeros|g_idx|zero_point|weight_zero_point|weight_shape|weight_g_idx|k_scale|v_scale|kv_scale|q_scale|prob_scale"
    r"|weight_offset|deq_scale|quant_bias|input_offset|absmax|quant_map|quant_state\.\w+|nested_absmax|nested_quant_map"
    r"|weight_global_scale|input_global_scale|scale_inv)$"
)


def component(pattern: str) -> Part:
    """The part of the model that tensors of this pattern belong to."""
    for part, rule in RULES:
        if rule.search(pattern):
            return part
    return "other"


def serves(pattern: str) -> bool:
    """Whether tensors of this pattern are no parameters but serve one (scales and the like)."""
    return SERVES.search(pattern) is not None


class Share(Record):
    """What one component takes. `elements` as stored (packed 4-bit weights count their containers)."""

    component: str
    tensors: int
    elements: int
    nbytes: int


def shares(groups: list[tuple[Part, Group]]) -> tuple[Share, ...]:
    """Totals per component, largest first."""
    rows: dict[str, list[int]] = {}
    for part, group in groups:
        row = rows.setdefault(part, [0, 0, 0])
        row[0] += group.count
        row[1] += group.elements
        row[2] += group.nbytes
    found = [Share(component=p, tensors=r[0], elements=r[1], nbytes=r[2]) for p, r in rows.items()]
    return tuple(sorted(found, key=lambda s: (-s.nbytes, s.component)))


class Leaf(Record):
    """One line of the weights tree: a pattern with what all its tensors have (dtype and shape where they agree)."""

    pattern: str
    component: str
    tensors: int
    elements: int
    nbytes: int
    dtypes: dict[str, int] = msgspec.field(default_factory=dict)
    shape: tuple[int, ...] | None = None


def leaves(groups: list[tuple[Part, Group]]) -> tuple[Leaf, ...]:
    """The tree's lines, by pattern."""
    rows = [
        Leaf(
            pattern=g.pattern,
            component=part,
            tensors=g.count,
            elements=g.elements,
            nbytes=g.nbytes,
            dtypes=g.dtypes(),
            shape=g.shape() if len({s for _, s in g.kinds}) == 1 else None,
        )
        for part, g in groups
    ]
    return tuple(sorted(rows, key=lambda row: row.pattern))
