"""The probe's raw answer as records: per rank, the moves from checkpoint tensors to storages of the built model."""

from __future__ import annotations

import base64
from array import array
from typing import Any, Literal

import msgspec

from seatrial.core.record import Record

MOVE_WIDTH = 5
IMAGE = " of an image"  # ends the name of an operation that wrote an image of a tensor


class SourcePlace(Record):
    """A line of the engine's source; `file` begins with its package."""

    file: str
    line: int
    function: str
    source: str

    def one_line(self) -> str:
        return f"{self.file}:{self.line} in {self.function}: {self.source}"


class RawFailure(Record):
    """An exception of the engine. `tensor` indexes the request (-1: none); `parameter` is a name or empty.

    `stub`: the attribute that seatrial's stubs lack and that this exception is about; empty if it is not. `absent`: the
    module that this environment lacks beside the stubs and that it is about.
    """

    stage: str
    type: str
    message: str
    at: SourcePlace | None
    frames: list[SourcePlace]
    tensor: int = -1
    parameter: str = ""
    parameter_shape: list[int] = msgspec.field(default_factory=list)
    stub: str = ""
    absent: str = ""


class RawParameter(Record):
    """A parameter or buffer. `storages` are the watch's storages it lies in (none: never written).

    Tensors of equal `storage_id`, offset and shape are one (tied). `design` says why it may lack a checkpoint tensor.
    """

    name: str
    shape: list[int]
    strides: list[int]
    offset: int
    dtype: str
    parameter: bool
    persistent: bool
    storage_id: int
    storages: list[int]
    born: str
    device: str
    owner: int
    quant: int
    design: str = ""


class RawDrop(Record):
    """Why the loader passes over tensors of this kind: the line that decided, and what it compared with.

    `sibling`: tensors that differ from this one in their last number alone were placed on the rank.
    """

    kind: int
    tensor: int
    rule: SourcePlace | None
    detail: str = ""
    sibling: bool = False


class RawRegion(msgspec.Struct, frozen=True, array_like=True):
    """Elements of a storage: offset, sizes, strides, all in elements."""

    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


class RawImage(msgspec.Struct, frozen=True, array_like=True):
    """A copy of a tensor's elements in another order or dtype, of which `regions` went on.

    Images that are made in one way have one `pool`, on every rank the same. Only those of tensors that the rank does
    not read whole are told.
    """

    tensor: int
    pool: int
    regions: tuple[int, ...]


class RawLayer(Record):
    """A layer with a KV cache, as the engine describes it; `spec` is empty where it needs none, `error` says why."""

    name: str
    layer: str
    backend: str
    spec: str
    error: str
    block_size: int = 0
    page_bytes: int = 0


class OpCall(Record):
    """An operator that the model's forward calls, as read from its source.

    `certain`: on every way through it. `missing`: a library of its namespace is there and does not have it; `unknown`:
    nothing here can say, and `why` tells. `at` is the call, `asker` the module's class whose forward it lies in.
    """

    state: Literal["present", "missing", "unknown"]
    why: str
    certain: bool
    at: SourcePlace | None
    asker: str


class RawStubs(Record):
    """What the stubs did: modules stood in for, attributes that were read and are not listed, operations called."""

    stubbed: list[str] = msgspec.field(default_factory=list)
    lacks: list[str] = msgspec.field(default_factory=list)
    calls: dict[str, int] = msgspec.field(default_factory=dict)
    notes: list[str] = msgspec.field(default_factory=list)
    plugin_version: str = ""
    proven: bool = True


class RawRank(Record):
    """One rank. `crashed` is the exit code of its process if that ended without an answer."""

    rank: int
    how: Literal["full", "sample"]
    errors: list[RawFailure] = msgspec.field(default_factory=list)
    built: bool = False
    crashed: int | None = None
    build_s: float = 0.0
    load_s: float = 0.0
    drops_s: float = 0.0
    peak_kib: int = 0
    parameters: list[RawParameter] = msgspec.field(default_factory=list)
    classes: list[str] = msgspec.field(default_factory=list)
    claimed: list[str] = msgspec.field(default_factory=list)
    claims: bool = True
    fed: Any = "all"
    alike: list[list[int]] = msgspec.field(default_factory=list)
    unfit: list[int] = msgspec.field(default_factory=list)
    not_reached: list[int] = msgspec.field(default_factory=list)
    value_reads: list[int] = msgspec.field(default_factory=list)
    drops: list[RawDrop] = msgspec.field(default_factory=list)
    regions: list[RawRegion] = msgspec.field(default_factory=list)
    operations: list[str] = msgspec.field(default_factory=list)
    moves: str = ""
    images: list[RawImage] = msgspec.field(default_factory=list)
    regrouped: list[tuple[int, list[int], list[int]]] = msgspec.field(default_factory=list)
    layers: list[RawLayer] = msgspec.field(default_factory=list)
    ops: dict[str, int] = msgspec.field(default_factory=dict)
    placeholders: dict[str, str] = msgspec.field(default_factory=dict)
    notes: list[str] = msgspec.field(default_factory=list)
    missing_ops: dict[str, SourcePlace] = msgspec.field(default_factory=dict)
    calls: dict[str, OpCall] = msgspec.field(default_factory=dict)
    calls_s: float = 0.0
    stubs: RawStubs | None = None

    def move_rows(self) -> array[int]:
        """Flat rows of MOVE_WIDTH: tensor, storage, destination region, source region (-1), operation."""
        rows = array("i")
        rows.frombytes(base64.b64decode(self.moves))
        return rows


class RawEngine(Record):
    vllm: str
    torch: str
    transformers: str
    adapter: str
    adapter_proven: bool


class RawPlatform(Record):
    device_type: str
    class_: str = msgspec.field(name="class")


class RawConfig(Record):
    architecture: str
    dtype: str
    quantization: str
    quantization_class: str


class RawDry(Record):
    engine: RawEngine
    platform: RawPlatform
    import_s: float
    ranks: list[RawRank]
    total_s: float
    config: RawConfig | None = None
    config_s: float = 0.0
    config_error: RawFailure | None = None
    stubs: RawStubs | None = None
