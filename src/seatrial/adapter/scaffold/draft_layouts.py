"""The layouts of draft (MTP) layers that are known: how their tensors are called, and how they compute.

Three are in use. In each, a draft layer is a decoder layer over a projection of two things: the next token's embedding
and the model's hidden state, each normed. What names cannot say (which of the two comes first) is what vLLM's own class
of that layout does, and stands among what is assumed.
"""

from __future__ import annotations

import re

from seatrial.core.record import Record

LAYER = "model.layers.*."
BLOCK = f"{LAYER}mtp_block."


class DraftLayout(Record):
    """`own`: its layers have numbers of their own, from 0; else they are numbered on from the model's last.

    `layer` matches a tensor's pattern inside a numbered draft layer (group 1: the rest), "" for the model's own rule.
    `around` has the ends of the checkpoint's names with the names in the written file; those of `needed` must be there.
    `hidden_first`: the hidden state stands before the embedding in the projection; `normed`: the next draft step gets
    the hidden state behind the last norm; `masked`: the embedding at position 0 counts as zero.
    """

    name: str
    own: bool
    layer: str
    around: dict[str, str]
    needed: tuple[str, ...]
    hidden_first: bool
    normed: bool
    masked: bool
    assumed: tuple[str, ...]


DEEPSEEK = DraftLayout(
    name="DeepSeek-V3 and GLM-4.5",
    own=False,
    layer="",
    around={
        ".enorm.weight": f"{LAYER}enorm.weight",
        ".hnorm.weight": f"{LAYER}hnorm.weight",
        ".eh_proj.weight": f"{LAYER}eh_proj.weight",
        ".shared_head.norm.weight": f"{LAYER}shared_head.norm.weight",
        ".shared_head.head.weight": f"{LAYER}shared_head.head.weight",
        ".*.embed_tokens.weight": "model.embed_tokens.weight",
    },
    needed=(".enorm.weight", ".hnorm.weight", ".eh_proj.weight", ".shared_head.norm.weight"),
    hidden_first=False,
    normed=False,
    masked=True,
    assumed=(
        "eh_proj takes the embedding first and the hidden state second, as its name has them",
        "the embedding at position 0 counts as zero: nothing was there before it",
        "shared_head.norm stands before the head, and the next draft step gets the hidden state without it",
    ),
)
MIMO = DraftLayout(
    name="MiMo",
    own=True,
    layer=r"(?:[^.]+\.)*?mtp_layers\.\*\.(.+)",
    around={
        "mtp_layers.*.token_layernorm.weight": f"{LAYER}enorm.weight",
        "mtp_layers.*.hidden_layernorm.weight": f"{LAYER}hnorm.weight",
        "mtp_layers.*.input_proj.weight": f"{LAYER}eh_proj.weight",
        "mtp_layers.*.final_layernorm.weight": f"{LAYER}shared_head.norm.weight",
    },
    needed=(".token_layernorm.weight", ".hidden_layernorm.weight", ".input_proj.weight", ".final_layernorm.weight"),
    hidden_first=True,
    normed=True,
    masked=True,
    assumed=(
        "input_proj takes the hidden state first and the embedding second, as vLLM's MiMoMTP does; no name says it",
        "the embedding at position 0 counts as zero: nothing was there before it",
        "final_layernorm stands at the end of the layer, and the next draft step gets the hidden state with it",
    ),
)
QWEN = DraftLayout(
    name="Qwen3-Next and Qwen3.5",
    own=True,
    layer=r"(?:[^.]+\.)*?mtp\.layers\.\*\.(.+)",
    around={
        "mtp.pre_fc_norm_embedding.weight": f"{LAYER}enorm.weight",
        "mtp.pre_fc_norm_hidden.weight": f"{LAYER}hnorm.weight",
        "mtp.fc.weight": f"{LAYER}eh_proj.weight",
        "mtp.norm.weight": f"{LAYER}shared_head.norm.weight",
    },
    needed=("mtp.pre_fc_norm_embedding.weight", "mtp.pre_fc_norm_hidden.weight", "mtp.fc.weight", "mtp.norm.weight"),
    hidden_first=False,
    normed=True,
    masked=False,
    assumed=(
        "fc takes the embedding first and the hidden state second, as vLLM's Qwen3NextMTP does; no name says it",
        "the embedding at position 0 is used as it is, as there",
        "mtp.norm stands at the end, and the next draft step gets the hidden state with it",
        "the norms of the draft are those of the model",
    ),
)


def layout_of(patterns: list[str]) -> DraftLayout:
    """The layout that these draft tensors are named in; DeepSeek-V3's where none has numbers of its own."""
    for layout in (MIMO, QWEN):
        if any(re.fullmatch(layout.layer, pattern) for pattern in patterns):
            return layout
    return DEEPSEEK
