"""What the profiler's own tables say, as records. Times are integer nanoseconds; None is what a table does not say."""

from __future__ import annotations

from seatrial.core.record import Record


class OperatorTotal(Record):
    """One row of `op_statistic`: an operator type on one kind of core of one device."""

    device: int
    type: str
    family: str
    core: str
    calls: int
    total_ns: int


class CollectiveTotal(Record):
    """One row of `communication_statistic`."""

    device: int
    type: str
    calls: int
    total_ns: int


class StepTrace(Record):
    """One row of `step_trace_time.csv`. `exposed_ns` is communication that compute did not cover, `free_ns` neither."""

    device: int
    step: str
    computing_ns: int
    exposed_ns: int
    overlapped_ns: int | None
    free_ns: int
    stage_ns: int | None
    bubble_ns: int | None
    preparing_ns: int | None


class CollectiveTime(Record):
    """All calls of one collective in `communication.json`: elapsed = transit + wait + idle; synchronisation is in wait.

    Waiting is for the slowest rank, transit is the wire's.
    """

    type: str
    calls: int
    elapsed_ns: int
    transit_ns: int
    wait_ns: int
    synchronization_ns: int
    idle_ns: int


class Link(Record):
    """One transport in `communication.json`; SDMA holds what HCCS, PCIE and SIO carried, so they do not add up.

    `bandwidth_gb_s` is bytes over transit time in 10^9 bytes a second; None where no time was spent.
    """

    transport: str
    bytes: int
    transit_ns: int
    bandwidth_gb_s: float | None


class HostOperator(Record):
    """All calls of one operator in `operator_details.csv`; self times exclude the operators that it called."""

    name: str
    calls: int
    host_self_ns: int
    device_self_ns: int


class VendorTables(Record):
    """One rank's tables, and the files they are from."""

    sources: tuple[str, ...] = ()
    operators: tuple[OperatorTotal, ...] = ()
    collectives: tuple[CollectiveTotal, ...] = ()
    steps: tuple[StepTrace, ...] = ()
    collective_times: tuple[CollectiveTime, ...] = ()
    links: tuple[Link, ...] = ()
    host_operators: tuple[HostOperator, ...] = ()
