"""FLOPs and bytes of an audio encoder in a prefill: Whisper's, with the keys and values of cross-attention made once.

In: a model of type whisper, a layout, clips. Out: `Part`s that stand before the decoder's in a prefill. A clip is
padded to 30 seconds, and its encoder looks both ways. Compared with torch's FlopCounterMode over transformers' class by
`bench/plan_flops.py`.
"""

from __future__ import annotations

from seatrial.estimate.compute import Number, Part
from seatrial.estimate.layout import Layout
from seatrial.estimate.matrices_whisper import encoder_tokens, field, whisper_matrices
from seatrial.estimate.model import Model, NotModelled
from seatrial.estimate.schemes import PLAIN
from seatrial.estimate.storage import bytes_on_rank, cut


def clip_parts(model: Model, layout: Layout) -> tuple[Part, ...]:
    """What one request of an encoder-decoder brings before its prompt: one clip; nothing for any other model."""
    return encoder_parts(model, layout, 1) if model.config.get("is_encoder_decoder") is True else ()


def encoder_parts(model: Model, layout: Layout, clips: Number) -> tuple[Part, ...]:
    """Raises NotModelled for another family than Whisper, Lacking for a field."""
    if model.kind() != "whisper":
        raise NotModelled(f"the audio encoder of model_type {model.kind()!r}")
    tokens, size = encoder_tokens(model), model.dtype_bytes()
    sums = {"audio encoder": [0.0, 0.0, 0.0], "cross-attention keys": [0.0, 0.0, 0.0]}
    for matrix in whisper_matrices(model):
        if matrix.tokens != "image":
            continue
        part = cut(matrix, layout, PLAIN)
        rows, times = sum(part.rows), max(1, len(matrix.layers))
        # The second convolution halves the frames.
        passed = tokens * (2 if matrix.module == "encoder.conv1" else 1)
        row = sums["cross-attention keys" if matrix.layers else "audio encoder"]
        row[0] += 2.0 * rows * part.cols * clips * passed * times
        row[1] += float(bytes_on_rank(matrix, layout, PLAIN, size) * times)
        row[2] += (rows + part.cols) * size * clips * passed * times
    core = 4.0 * model.hidden() / layout.tp * field(model, "encoder_layers") * clips * tokens * tokens
    made = [
        Part(part=name, flops=r[0], weight_bytes=r[1], cache_bytes=0, moved_bytes=r[2], wire_bytes=0, precision="bf16")
        for name, r in sums.items()
    ]
    made.append(
        Part(part="audio attention core", flops=core, weight_bytes=0, cache_bytes=0, moved_bytes=0, wire_bytes=0,
             precision="bf16")
    )  # fmt: skip
    return tuple(made)
