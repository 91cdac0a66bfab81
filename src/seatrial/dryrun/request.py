"""The request to the probe: the checkpoint's tensors as columns (short for 100,000 of them) and the parallel layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from seatrial.core.record import Record
from seatrial.dryrun.tensor import HeaderTensor, kind_of
from seatrial.platforms.stubs import Stubs


class TensorColumns(Record):
    """One entry per tensor in `names`, `dtype`, `shape`, `kind`; the last three index `dtypes`, `shapes`, `kinds`."""

    names: list[str]
    dtype: list[int]
    shape: list[int]
    kind: list[int]
    dtypes: list[str]
    shapes: list[tuple[int, ...]]
    kinds: list[str]


class DryRequest(Record):
    """`ranks` are loaded in full, `sample_ranks` built and given one tensor of each kind; ranks count pp x tp.

    `stubs` stand in for the device's packages; `plugin_root` is a folder with the plugin's sources ("": installed).
    `target`: the folder of the model that this one drafts for ("": it is no draft; its own: its MTP layers);
    `draft_method` is vLLM's word for the kind of draft ("": it finds out).
    """

    folder: str
    tensors: TensorColumns
    tp: int
    pp: int
    ep: bool
    ranks: list[int]
    sample_ranks: list[int]
    workers: int
    dtype: str = ""
    quantization: str = ""
    max_model_len: int = 0
    trust_remote_code: bool = False
    engine_args: dict[str, Any] = msgspec.field(default_factory=dict)
    stubs: Stubs | None = None
    plugin_root: str = ""
    target: str = ""
    draft_method: str = ""


def columns(tensors: Sequence[HeaderTensor]) -> TensorColumns:
    """The tensors, in their order, with repeated dtypes, shapes and kinds stored once."""
    dtypes: dict[str, int] = {}
    shapes: dict[tuple[int, ...], int] = {}
    kinds: dict[str, int] = {}
    return TensorColumns(
        names=[t.name for t in tensors],
        dtype=[dtypes.setdefault(t.dtype, len(dtypes)) for t in tensors],
        shape=[shapes.setdefault(t.shape, len(shapes)) for t in tensors],
        kind=[kinds.setdefault(kind_of(t.name), len(kinds)) for t in tensors],
        dtypes=list(dtypes),
        shapes=list(shapes),
        kinds=list(kinds),
    )
