"""Images, video and audio: towers, projector, special tokens, processor files, and what a request would need.

In: the config's sections, the folder and the tensor groups. Out: `Multimodal`, or None for a pure language model.
"""

from __future__ import annotations

import msgspec

from seatrial.checkpoint.codes import note, shown
from seatrial.checkpoint.components import Part
from seatrial.checkpoint.config import Sections, View
from seatrial.checkpoint.files import Folder
from seatrial.checkpoint.model_codes import MM_TOKEN_RANGE, NO_PROCESSOR, TOWER_MISSING
from seatrial.checkpoint.names import Group
from seatrial.core.record import Record

PROCESSORS = (
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json",
    "image_processor_config.json", "audio_preprocessor_config.json",
)  # fmt: skip
MEDIA_WORDS = ("image", "video", "vision", "audio", "boi", "eoi", "boa", "eoa", "media", "im_", "speech", "sound")


class Tower(Record):
    """An encoder. Sizes in elements or pixels; `pixels_per_token` is the side of the square that becomes one token.

    It is None where no field says how many patches become one: then the processor cuts, resizes or queries.
    """

    kind: str
    section: str
    model_type: str | None
    hidden_size: int | None
    layers: int | None
    heads: int | None
    intermediate_size: int | None
    patch_size: int | None
    temporal_patch_size: int | None
    merge: int | None
    image_size: int | None
    output_size: int | None
    pixels_per_token: int | None
    positions: int | None
    inner_outputs: int


class Multimodal(Record):
    """`tokens` are the special token ids by field; `needs` says in words what a request must bring.

    `tensors` counts tensors of the towers and the projector (None where no names are known).
    """

    modalities: tuple[str, ...]
    towers: tuple[Tower, ...]
    projector: str | None
    tokens: dict[str, int]
    tokens_per_image: int | None
    processor_files: tuple[str, ...]
    needs: tuple[str, ...]
    tensors: dict[str, int] | None = msgspec.field(default=None)


def read_multimodal(
    parts: Sections, folder: Folder, groups: list[tuple[Part, Group]], known: str, vocabulary: int | None
) -> Multimodal | None:
    """Translate and compare with names and files; findings go to the ledger."""
    top = parts.top
    towers = []
    if parts.vision is not None:
        towers.append(_tower(parts.vision, "vision", top))
    if parts.audio is not None:
        towers.append(_tower(parts.audio, "audio", top))
    tokens: dict[str, int] = {}
    for view in parts.chain:
        tokens = {**_tokens(view), **tokens}
    counts = {p: sum(g.count for q, g in groups if q == p) for p in ("vision", "audio", "projector")}
    tensors = counts if known != "none" else None
    if not towers and not any(counts.values()):
        return None
    processors = tuple(n for n in PROCESSORS if folder.has(n))
    modalities = _modalities(parts, tokens, processors)
    per_image = top.whole(
        "multimodal.tokens_per_image",
        "vision_soft_tokens_per_image",
        "mm_tokens_per_image",
        "image_seq_length",
        "num_image_tokens",
        least=1,
    )
    top.flag("multimodal.unified", "use_unified_vision_chunk")
    top.text("multimodal.video_placeholder", "video_placeholder")
    for key in (
        "candidate_resolutions",
        "tile_tag",
        "global_view_pos",
        "image_grid_pinpoints",
        "vision_feature_layer",
        "vision_feature_select_strategy",
        "projector_hidden_act",
        "multimodal_projector_bias",
    ):
        if key in top.data:
            top.ledger.used.add(key)
    _check(top, towers, counts, tensors, processors, known, tokens, vocabulary)
    return Multimodal(
        modalities=modalities,
        towers=tuple(towers),
        projector=_projector(parts),
        tokens=tokens,
        tokens_per_image=per_image,
        processor_files=processors,
        needs=_needs(towers, modalities, per_image),
        tensors=tensors,
    )


def _tower(view: View, kind: str, top: View) -> Tower:
    fact = f"multimodal.{kind}"
    patch = _largest(view.whole_or_list(f"{fact}.patch_size", "patch_size", "vt_patch_size", most=1_000_000)) or None
    merge = view.whole(f"{fact}.merge", "spatial_merge_size", "pooling_kernel_size", least=1, most=1_000_000)
    kernel = view.wholes(f"{fact}.merge", "merge_kernel_size", most=1_000_000)
    merge = merge or (kernel[0] if kernel and kernel[0] > 0 else None)
    if merge is None and kind == "vision":  # Mistral 3 has it beside the tower
        merge = top.whole(f"{fact}.merge", "spatial_merge_size", least=1, most=1_000_000)
    size = view.whole_or_list(f"{fact}.image_size", "image_size")
    return Tower(
        kind=kind,
        section=view.path.rstrip("."),
        model_type=view.text(f"{fact}.model_type", "model_type"),
        hidden_size=view.whole(f"{fact}.hidden_size", "hidden_size", "vt_hidden_size", "embed_dim", "d_model"),
        layers=view.whole(f"{fact}.layers", "num_hidden_layers", "vt_num_hidden_layers", "depth", "encoder_layers",
                          "num_layers", most=10_000),
        heads=view.whole(f"{fact}.heads", "num_attention_heads", "vt_num_attention_heads", "num_heads",
                         "encoder_attention_heads", most=1_000_000),
        intermediate_size=view.whole(f"{fact}.intermediate_size", "intermediate_size", "vt_intermediate_size",
                                     "encoder_ffn_dim"),
        patch_size=patch,
        temporal_patch_size=view.whole(f"{fact}.temporal_patch_size", "temporal_patch_size"),
        merge=merge,
        image_size=_largest(size),
        output_size=view.whole(f"{fact}.output_size", "out_hidden_size", "text_hidden_size", "output_dim"),
        pixels_per_token=patch * merge if patch and merge and kind == "vision" else None,
        positions=view.whole(f"{fact}.positions", "num_position_embeddings", "position_embedding_size"),
        inner_outputs=len(view.wholes(f"{fact}.inner_outputs", "deepstack_visual_indexes") or ()),
    )  # fmt: skip


def _largest(value: int | tuple[int, ...] | None) -> int | None:
    return max(value, default=None) if isinstance(value, tuple) else value


def _tokens(top: View) -> dict[str, int]:
    found: dict[str, int] = {}
    for key in top.data:
        if key.endswith(("_token_id", "_token_index")) and any(word in key for word in MEDIA_WORDS):
            number = top.whole(f"multimodal.tokens.{shown(key)}", key)
            if number is not None:
                found[shown(key)] = number
    return found


def _modalities(parts: Sections, tokens: dict[str, int], processors: tuple[str, ...]) -> tuple[str, ...]:
    vision = parts.vision is not None
    video = vision and (
        any("video" in k for k in tokens)
        or "video_placeholder" in parts.top.data
        or any("video" in p for p in processors)
    )
    chosen = {"image": vision, "video": video, "audio": parts.audio is not None}
    return tuple(name for name, there in chosen.items() if there)


def _projector(parts: Sections) -> str | None:
    if parts.projector is not None:
        return parts.projector.text("multimodal.projector", "projector_type", "model_type")
    if parts.vision is not None:
        return parts.vision.text("multimodal.projector", "mm_projector_type", "projector_type")
    return None


def _needs(towers: list[Tower], modalities: tuple[str, ...], per_image: int | None) -> tuple[str, ...]:
    lines: list[str] = []
    for tower in towers:
        if tower.kind == "vision" and per_image:
            lines.append(f"an image, or each tile of one, takes {per_image} tokens")
        elif tower.kind == "vision" and tower.pixels_per_token:
            side = tower.pixels_per_token
            lines.append(f"an image takes about (width/{side}) x (height/{side}) tokens; sides are rounded to {side}")
        elif tower.kind == "vision":
            lines.append("how many tokens an image takes is for the processor to say; it is not read from config.json")
        if tower.kind == "vision" and "video" in modalities and tower.temporal_patch_size:
            lines.append(f"a video takes that for every {tower.temporal_patch_size} frames")
        if tower.kind == "audio":
            lines.append("audio needs the processor's sampling rate (preprocessor_config.json)")
    return tuple(lines)


def _check(
    top: View,
    towers: list[Tower],
    counts: dict[str, int],
    tensors: dict[str, int] | None,
    processors: tuple[str, ...],
    known: str,
    tokens: dict[str, int],
    vocabulary: int | None,
) -> None:
    found = top.ledger.findings
    for tower in towers:
        if tensors is not None and not counts[tower.kind]:
            text = f"describes a {tower.kind} tower; no tensor of it is there"
            found.append(note(TOWER_MISSING, f"config.json: {tower.section}", text))
    if known == "headers" and towers and not processors:
        found.append(note(NO_PROCESSOR, "preprocessor_config.json", "no processor file is in the folder"))
    for field, token in tokens.items():
        if vocabulary and token >= vocabulary:
            text = f"is {token}, beyond the vocabulary of {vocabulary}"
            found.append(note(MM_TOKEN_RANGE, f"config.json: {field}", text))
