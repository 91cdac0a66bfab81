"""What a profile says, as records: the JSON of `seatrial profile read --json` and the input of views and diffs.

All times are integer nanoseconds. A `share` is of what its docstring names, by interval union, and so never above 1.
A field that could not be known is None, and a finding or the neighbouring `why` says why.
"""

from __future__ import annotations

from seatrial.core.finding import Finding
from seatrial.core.record import Record
from seatrial.measure.profile.vendor.tables import VendorTables


class ShapeCalls(Record):
    """How many calls had these input shapes, as the profiler writes them; blank: not recorded."""

    shapes: str
    calls: int


class NameRow(Record):
    """One kernel or operator. `covered_ns` is the union of its calls, `share` that of the device's busy time.

    `shapes` are the most frequent input shapes, empty where none were recorded; `shape_kinds` is how many there are.
    """

    name: str
    family: str
    calls: int
    total_ns: int
    self_ns: int
    mean_ns: float
    longest_ns: int
    covered_ns: int
    share: float
    shapes: tuple[ShapeCalls, ...] = ()
    shape_kinds: int = 0


class FamilyRow(Record):
    """`share` is the part of busy time that the family's union covers; families on two streams may overlap."""

    family: str
    calls: int
    total_ns: int
    covered_ns: int
    share: float


class Times(Record):
    """Exact covered times of one device. span = busy + idle; exposed communication is not covered by compute."""

    span_ns: int
    busy_ns: int
    idle_ns: int
    compute_ns: int
    communication_ns: int
    overlap_ns: int
    exposed_communication_ns: int
    copy_ns: int


class CommunicationRow(Record):
    """One collective. `exposed_ns` is the part of its union that no compute kernel covered."""

    name: str
    calls: int
    total_ns: int
    covered_ns: int
    exposed_ns: int


class FuseRow(Record):
    """An opportunity: a chain of adjacent kernels on one stream that a fused operator replaces.

    `held_ns` is the time from the first kernel's start to the last one's end, minus nothing: the most that could be
    saved is less, since the fused operator takes time too.
    """

    pattern: str
    fused: str
    found: int
    held_ns: int
    kernels_ns: int
    gaps_ns: int
    example: tuple[str, ...]


class StreamRow(Record):
    """Launches of one stream. A gap is a positive distance between one event's end and the next one's start."""

    stream: str
    launches: int
    busy_ns: int
    gaps: int
    gap_ns: int
    gap_median_ns: int
    gap_longest_ns: int
    launches_per_ms: float


class Dispatch(Record):
    """How well the host feeds the device. `queued_*`: from the end of the launch call to the start of its kernel.

    `host_bound_share` is the part of idle time during which no launched kernel was waiting; None without launches.
    """

    streams: tuple[StreamRow, ...]
    linked_launches: int
    queued_median_ns: int | None
    queued_longest_ns: int | None
    host_bound_share: float | None
    graph_launches: int
    eager_launches: int
    sync_calls: int
    sync_ns: int
    why: str = ""


class MemoryRow(Record):
    """One kind of copy or cache kernel."""

    name: str
    calls: int
    total_ns: int


class Memory(Record):
    """Copies, KV-cache kernels and the allocator's peak, where the trace has them."""

    copies: tuple[MemoryRow, ...]
    kv_cache_ns: int
    kv_cache_calls: int
    peak_allocated_bytes: int | None
    peak_reserved_bytes: int | None
    allocator_events: int
    why: str = ""


class Measure(Record):
    """One figure beside its threshold."""

    name: str
    value: float
    threshold: float
    exceeded: bool


class Bottleneck(Record):
    """The class, and the figures that decided it, in the thresholds' order; `unclassified` if none is exceeded."""

    kind: str
    measures: tuple[Measure, ...]


class DeviceReport(Record):
    """One device of one rank; `device` -1 is the host itself, where the operators run on the CPU."""

    device: int
    events: int
    times: Times
    kernels: tuple[NameRow, ...]
    kernel_names: int
    families: tuple[FamilyRow, ...]
    communication: tuple[CommunicationRow, ...]
    fuse: tuple[FuseRow, ...]
    dispatch: Dispatch
    memory: Memory
    bottleneck: Bottleneck


class Step(Record):
    """One engine step. Tokens and requests are None where the marker does not say them."""

    index: int
    phase: str
    start_ns: int
    end_ns: int
    context_requests: int | None = None
    context_tokens: int | None = None
    generation_requests: int | None = None
    generation_tokens: int | None = None
    busy_ns: int = 0


class PhaseRow(Record):
    """All steps of one phase; times are of the steps' windows, `busy_ns` of the device within them."""

    phase: str
    steps: int
    total_ns: int
    median_ns: int
    p90_ns: int
    longest_ns: int
    busy_ns: int
    families: tuple[FamilyRow, ...] = ()


class Doing(Record):
    """What something did during the bubbles, by time covered; the nameless rest is `(nothing recorded)`."""

    name: str
    ns: int
    share: float


class BubbleRow(Record):
    """The gaps between one step's last and the next one's first event of a stream, paired one to one.

    `overlapping` pairs have no gap (the next began before the end); they count as 0 in the statistics.
    """

    stream: str
    boundary: str
    pairs: int
    overlapping: int
    unpaired: int
    total_ns: int
    least_ns: int
    median_ns: int
    mean_ns: float
    p90_ns: int
    longest_ns: int
    host: tuple[Doing, ...] = ()
    other_streams: tuple[Doing, ...] = ()


class LayerRow(Record):
    """The n-th layer over all steps, cut at the kernel that begins a layer."""

    layer: int
    steps: int
    mean_ns: float


class Pipeline(Record):
    """Steps, phases, bubbles and layers; `how` says what the segmentation rests on, `why` what is missing."""

    how: str
    steps: int
    empty_steps: int
    phases: tuple[PhaseRow, ...]
    bubbles: tuple[BubbleRow, ...]
    layers: tuple[LayerRow, ...] = ()
    first_steps: tuple[Step, ...] = ()
    why: str = ""


class CodeRow(Record):
    """A line of Python and the time of the kernels launched (or operators called) from it, its callees' lines excluded.

    `share` is of the time of all; `mostly` the kernel or operator that holds most of the line's time. `line` is that of
    the function's definition, as the profiler records frames; None where no frame was recorded.
    """

    file: str
    line: int | None
    function: str
    calls: int
    total_ns: int
    share: float
    mostly: str


class RankReport(Record):
    """Everything about one rank. `vendor`: the totals that the profiler itself wrote, at most `top` rows a table."""

    rank: int
    sources: tuple[str, ...]
    layout: str
    events: int
    start_ns: int
    end_ns: int
    epoch_ns: int
    offset_ns: int
    devices: tuple[DeviceReport, ...]
    operators: tuple[NameRow, ...]
    pipeline: Pipeline
    counts: dict[str, int]
    code: tuple[CodeRow, ...] = ()
    vendor: VendorTables | None = None


class RankSkew(Record):
    """One rank at the collectives: how late it came after the first, and its own times next to the others'."""

    rank: int
    collectives: int
    last_to_arrive: int
    late_mean_ns: float
    late_longest_ns: int
    compute_ns: int
    communication_ns: int
    idle_ns: int


class Ranks(Record):
    """All ranks side by side. `slow_rank` is None if none is; `because`: compute, host, copies or communication."""

    rows: tuple[RankSkew, ...]
    matched: int
    slow_rank: int | None
    because: str
    why: str = ""


class ProfileReport(Record):
    """The document of a profile. `profiler_attached` bars it, and its run, from every performance comparison."""

    schema_version: int = 1
    profiler_attached: bool = True
    ranks: tuple[RankReport, ...] = ()
    across: Ranks | None = None
    findings: tuple[Finding, ...] = ()
