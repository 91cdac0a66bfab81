"""The account as records: what became of every checkpoint tensor and of every parameter, grouped by kind.

A kind is a name with its numbers replaced by `*`: 61 layers' `q_proj` are one line. Whatever is not in order is also
listed one by one (`troubles`), with every name.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from seatrial.core.record import Record
from seatrial.dryrun.raw import OpCall, RawConfig, RawEngine, RawFailure, RawPlatform, RawStubs, SourcePlace

TensorState = Literal["loaded", "fused", "dropped", "partly read", "failed", "unexplained", "not reached"]
ParameterState = Literal["filled", "partly filled", "tied", "initialised by design", "missing"]


class TensorLine(Record):
    """Tensors of one kind with one fate. `into` are kinds of parameters; `shards` the parts of the name that the
    parameter's name lacks (`q_proj`, `experts.*.gate_proj`); `rule` the engine's line for dropped ones."""

    kind: str
    state: TensorState
    count: int
    elements: int
    bytes: int
    placed_bytes: int
    dtypes: tuple[str, ...]
    example: str
    into: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()
    reason: str = ""
    rule: SourcePlace | None = None


class ParameterLine(Record):
    """Parameters of one kind in one state, over all loaded ranks (`count` counts a name once)."""

    kind: str
    state: ParameterState
    count: int
    elements: int
    dtype: str
    shapes: tuple[tuple[int, ...], ...]
    example: str
    filled_by: tuple[str, ...] = ()
    reason: str = ""


class ParameterTrouble(Record):
    """A parameter that is missing or partly filled.

    `likely` are the checkpoint names that would fill it; `short` are tensors that fill less of it than their like do.
    """

    name: str
    state: Literal["missing", "partly filled"]
    ranks: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: str
    filled_elements: int
    elements: int
    likely: tuple[str, ...]
    short: tuple[str, ...] = ()


class TensorTrouble(Record):
    """A tensor that did not end as loaded, fused or dropped with a reason."""

    name: str
    state: TensorState
    dtype: str
    shape: tuple[int, ...]
    reason: str = ""
    placed_elements: int = 0
    elements: int = 0


class Overlap(Record):
    """Two or more tensors that wrote to the same elements of a parameter.

    `by_design`: tensors of different kinds, in every parameter of this kind alike, so the engine means it.
    """

    parameter: str
    tensors: tuple[str, ...]
    by_design: bool = False


class Cast(Record):
    """Tensors of a kind whose dtype is not that of the parameter they went into, `count` `of` all in the kind.

    `alone`: the only one of its kind, cast to the model's own dtype, which nearly all others have that go into such.
    """

    kind: str
    tensor_dtype: str
    parameter_dtype: str
    parameter_kind: str
    count: int
    names: tuple[str, ...]
    of: int
    alone: bool = False


class Regrouped(Record):
    """Tensors of a kind that the loader views in a shape which is no merging or splitting of neighbouring dimensions.

    `shape` and `viewed` are those of `names[0]`.
    """

    kind: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
    viewed: tuple[int, ...]


class Failure(Record):
    """An exception of the engine, with the tensor by name and its shape; `ranks` it happened on."""

    ranks: tuple[int, ...]
    tensor: str
    tensor_shape: tuple[int, ...]
    raw: RawFailure


class RankClass(Record):
    """Ranks that were loaded or are represented by those that were, and why that is enough."""

    ranks: tuple[int, ...]
    loaded: tuple[int, ...]
    why: str


class RankWeights(Record):
    """Bytes of one rank's parameters as the engine built them, before it repacks any; None: a dtype of unknown size."""

    rank: int
    parameters: int
    bytes: int | None


class CacheLine(Record):
    """Layers alike in their KV cache, on the first rank of each pipeline stage.

    `page_bytes` is the engine's size of one block of `block_size` tokens in one layer on one rank, in bytes; `spec` is
    the engine's class of the cache's shape, empty where the layer keeps none; `error` why it could not say.
    """

    kind: str
    layer: str
    backend: str
    spec: str
    block_size: int
    page_bytes: int
    count: int
    error: str = ""


class Mend(Record):
    """A rename of checkpoint tensors. `tried` says what a second dry run with all prefix renames gave; "" if not tried.

    `code` is a `WeightsMapper` of all prefix renames together, on the first of them.
    """

    kind: Literal["prefix", "name"]
    old: str
    new: str
    tensors: int
    tried: str = ""
    code: str = ""


class Sums(Record):
    """`bytes_in` = `bytes_placed` + `bytes_elsewhere` + `bytes_dropped` + `bytes_unexplained`.

    Placed counts an element once, however many ranks hold a copy; `elsewhere` are the parts of placed tensors that
    belong to ranks not asked for (0 when all ranks are). Parameters count once per name.
    """

    tensors: int
    bytes_in: int
    bytes_placed: int
    bytes_elsewhere: int
    bytes_dropped: int
    bytes_unexplained: int
    parameters: int
    exact: bool = True


SlimFaultKind = Literal["unreadable", "shards", "partial", "experts", "scheme", "tensor", "dtype", "lookup", "cache"]


class SlimFault(Record):
    """Something wrong in a ModelSlim description; `place` is the layer, tensor or file."""

    kind: SlimFaultKind
    place: str
    message: str


class SlimCheck(Record):
    """The static check of a ModelSlim description; `types` counts layers by type.

    Not `known_model_type`: the plugin lists no fused layers for it, so vLLM's model class decides which there are. Not
    `schemes_read`: the plugin's source was not found, so whether a scheme exists was not judged.
    """

    model_type: str
    types: dict[str, int] = msgspec.field(default_factory=dict)
    known_model_type: bool = False
    schemes_read: bool = False
    faults: tuple[SlimFault, ...] = ()


class Timing(Record):
    """Seconds, as the probe measured them in the engine's process; `peak_kib` is the largest rank's resident memory."""

    import_s: float
    configure_s: float
    build_s: float
    load_s: float
    drops_s: float
    probe_s: float
    account_s: float
    peak_kib: int
    calls_s: float = 0.0


class DryAccount(Record):
    """Everything the dry run knows; `facts` of the step's result."""

    schema_version: int
    tp: int
    pp: int
    ep: bool
    names_only: bool
    sums: Sums
    tensors: tuple[TensorLine, ...] = ()
    parameters: tuple[ParameterLine, ...] = ()
    parameter_troubles: tuple[ParameterTrouble, ...] = ()
    tensor_troubles: tuple[TensorTrouble, ...] = ()
    duplicates: tuple[str, ...] = ()
    unshaped: tuple[str, ...] = ()
    unknown_dtypes: tuple[str, ...] = ()
    overlaps: tuple[Overlap, ...] = ()
    casts: tuple[Cast, ...] = ()
    regrouped: tuple[Regrouped, ...] = ()
    failures: tuple[Failure, ...] = ()
    mends: tuple[Mend, ...] = ()
    crashed_ranks: dict[int, int] = msgspec.field(default_factory=dict)
    rank_classes: tuple[RankClass, ...] = ()
    rank_shapes: int = 0
    all_ranks: bool = True
    cache: tuple[CacheLine, ...] = ()
    weights: tuple[RankWeights, ...] = ()
    ops: dict[str, int] = msgspec.field(default_factory=dict)
    placeholders: dict[str, str] = msgspec.field(default_factory=dict)
    missing_ops: dict[str, SourcePlace] = msgspec.field(default_factory=dict)
    calls: dict[str, OpCall] = msgspec.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    engine: RawEngine | None = None
    platform: RawPlatform | None = None
    config: RawConfig | None = None
    stubs: RawStubs | None = None
    modelslim: SlimCheck | None = None
    timing: Timing | None = None
