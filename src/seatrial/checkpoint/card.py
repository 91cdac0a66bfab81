"""What is known of a checkpoint: the card (one JSON document) and, beside it, the list of all tensors."""

from __future__ import annotations

import msgspec

from seatrial.checkpoint.architecture import Architecture
from seatrial.checkpoint.attention import Attention
from seatrial.checkpoint.components import Leaf, Share
from seatrial.checkpoint.dtypes import SHORT
from seatrial.checkpoint.moe import FeedForward
from seatrial.checkpoint.mtp import Mtp
from seatrial.checkpoint.multimodal import Multimodal
from seatrial.checkpoint.parallel import TpCheck
from seatrial.checkpoint.params import Parameters
from seatrial.checkpoint.quant import Quantization
from seatrial.checkpoint.tokenizer import Tokenizer
from seatrial.checkpoint.weights import Shard, Tensor
from seatrial.core.finding import Finding
from seatrial.core.quantity import Quantity
from seatrial.core.record import Record


class DtypeShare(Record):
    """Tensors of one dtype (safetensors' spelling)."""

    dtype: str
    tensors: int
    elements: int
    nbytes: int


class Weights(Record):
    """The weight files in sum. `known`: "headers", "names" (an index without shards) or "none".

    `tree` has one line per name pattern (numbers as `*`). `note` says why something is not known.
    """

    known: str
    note: str
    index: str
    index_total_size: int | None
    shards: tuple[Shard, ...]
    tensors: int
    nbytes: int | None
    dtypes: tuple[DtypeShare, ...]
    components: tuple[Share, ...]
    tree: tuple[Leaf, ...]
    other_formats: tuple[str, ...]


class Card(Record):
    """Everything but the tensor list. `sources` maps a fact to the file and field (or the rule) it came from.

    `unexplained` are fields of config.json that seatrial neither uses nor knows to be without weight here.
    """

    folder: str
    architecture: Architecture
    attention: Attention
    feed_forward: FeedForward
    quantization: Quantization | None
    mtp: Mtp
    multimodal: Multimodal | None
    tokenizer: Tokenizer
    context: Quantity
    parameters: Parameters
    tensor_parallel: tuple[TpCheck, ...]
    weights: Weights
    sources: dict[str, str]
    unexplained: tuple[str, ...]
    findings: tuple[Finding, ...]
    schema_version: int = 1

    def line(self) -> str:
        """`Qwen3ForCausalLM, 2 layers, GQA 4/2, bf16, 1.2 M parameters, context 40960`."""
        total = self.parameters.total
        moe = self.feed_forward.moe
        parts = [
            ", ".join(self.architecture.architectures) or "unknown architecture",
            f"{self.architecture.layers} layers" if self.architecture.layers is not None else "",
            self.attention.short() if self.attention.mixers else "",
            f"{moe.experts} experts" + (f" top-{moe.experts_per_token}" if moe.experts_per_token else "")
            if moe
            else "",
            self.quantization.scheme if self.quantization else self._dtype(),
            f"{human_count(total.value)} parameters" if total.value is not None else "parameters unknown",
            f"context {self.context.value}" if self.context.value is not None else "context unknown",
        ]
        return ", ".join(filter(None, parts))

    def _dtype(self) -> str:
        dtype = self.weights.dtypes[0].dtype if self.weights.dtypes else self.architecture.dtype or ""
        return SHORT.get(dtype, dtype.lower())


class Checkpoint(Record):
    """The card and all tensors, in shard and header order."""

    card: Card
    tensors: tuple[Tensor, ...] = msgspec.field(default_factory=tuple)


def human_count(value: float) -> str:
    """`1.2 M`, `7.62 B`."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            shown = value / limit
            return f"{shown:.3g} {unit}" if shown < 100 else f"{shown:.0f} {unit}"
    return str(value)


def human_bytes(value: float) -> str:
    """Binary units: `15.3 GiB`."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if value >= 1024**power:
            return f"{value / 1024**power:.4g} {unit}"
    return f"{value:.0f} B"
