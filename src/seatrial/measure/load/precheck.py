"""The gate around a measurement: is the machine fit for a figure that somebody will quote?

Looks before the service starts, while it idles, and after the load. Nothing is waived: a look that is missing or that
could not see makes the run `debug`, and no percentage is made of it. Thresholds are the target's (`[precheck]`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable

import psutil

from seatrial.core.record import Record
from seatrial.platforms.device_tool import DeviceReading
from seatrial.support.doctor.devices import WELL, ToolAnswer, platform_devices, run_tool
from seatrial.targets.target import Precheck, Target

# Two looks at CPU time closer than this say nothing.
LEAST_S = 0.2


class Snapshot(Record):
    """One look. `busy_s` is CPU time of the whole machine since boot, `ours_s` that of our processes so far.

    `swap_bytes` counts what was paged in and out since boot. `device_trouble`: why there is no reading; empty on a
    platform without a device tool.
    """

    at_s: float
    wall: float
    busy_s: float
    ours_s: float
    cores: int
    load_1: float
    swap_bytes: int
    reading: DeviceReading | None
    device_trouble: str
    has_tool: bool


class Gate(Record):
    """`passed` only without any reason. `foreign_cpu_*`: percent of all cores that others used, idle and under load.

    `load`: the looks right before and after the requests, so that the gate can be judged again from what it saw.
    """

    passed: bool
    reasons: tuple[str, ...]
    before: Snapshot | None
    after: Snapshot | None
    idle: tuple[Snapshot, ...]
    foreign_cpu_idle: float | None = None
    foreign_cpu_load: float | None = None
    load: tuple[Snapshot, Snapshot] | None = None


def snapshot(platform: str, ours: Iterable[int] = (), tool: Callable[[str], ToolAnswer] = run_tool) -> Snapshot:
    """Look now; `ours` are the pids whose CPU time is not foreign (this process is always ours)."""
    has_tool = bool(platform_devices(platform).COMMANDS)
    answer = tool(platform) if has_tool else ToolAnswer()
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Time stolen by the hypervisor is nobody's work here, but it is lost to the measurement: it counts as foreign.
    busy = sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    swap = psutil.swap_memory()
    return Snapshot(
        at_s=time.monotonic(),
        wall=time.time(),
        busy_s=busy,
        ours_s=_ours([psutil.Process().pid, *ours]),
        cores=psutil.cpu_count() or 1,
        load_1=psutil.getloadavg()[0],
        swap_bytes=swap.sin + swap.sout,
        reading=answer.reading,
        device_trouble=answer.reason,
        has_tool=has_tool,
    )


def idle_samples(
    target: Target, ours: Iterable[int], tool: Callable[[str], ToolAnswer] = run_tool
) -> tuple[Snapshot, ...]:
    """The looks while the service idles, the target's number of them at its interval (and one to begin with)."""
    rules = target.precheck
    if rules is None:
        return ()
    pids = list(ours)
    found = [snapshot(target.platform, pids, tool)]
    for _ in range(int(rules.idle_samples.value or 0)):
        time.sleep(max(LEAST_S, float(rules.idle_interval_s.value or 0)))
        found.append(snapshot(target.platform, pids, tool))
    return tuple(found)


def judge_gate(
    target: Target,
    before: Snapshot | None,
    idle: tuple[Snapshot, ...],
    load: tuple[Snapshot, Snapshot] | None,
    after: Snapshot | None,
    visible: tuple[int, ...] | None = None,
) -> Gate:
    """`before`: ahead of the service's start; `load`: right before and after the requests; `after`: at the end.

    `visible`: the devices used (None: all). Looks without a service of ours leave `before` and `idle` out: a debug run.
    """
    rules = target.precheck
    reasons: list[str] = []
    if rules is None:
        reasons.append(f"the target {target.name} has no [precheck] thresholds")
    if before is None:
        reasons.append("nobody looked before the service started")
    if len(idle) < 2:
        reasons.append("nobody looked while the service idled")
    if load is None or after is None:
        reasons.append("nobody looked around the load")
    quiet = loud = None
    if rules is not None:
        if before is not None:
            reasons += _free(before, rules, visible)
        quiet = foreign(idle[0], idle[-1]) if len(idle) > 1 else None
        loud = foreign(*load) if load is not None else None
        most = float(rules.foreign_cpu_percent.value or 0)
        looks = (("while the service idled", quiet, len(idle) > 1), ("under load", loud, load is not None))
        for name, value, looked in looks:
            if not looked:
                continue
            if value is None:
                reasons.append(f"the two looks {name} were too close to see what others used")
            elif value > most:
                reasons.append(f"other processes used {value:.0f} % of the cores {name}, above {most:g} %")
        reasons += _idle_devices(idle, rules, visible)
        if load is not None:
            paged = (load[1].swap_bytes - load[0].swap_bytes) / 2**20
            if paged > float(rules.swap_swing_mib.value or 0):
                reasons.append(f"{paged:.0f} MiB were swapped under load")
    if before is not None and after is not None:
        reasons += _same_devices(before, after)
    return Gate(
        passed=not reasons,
        reasons=tuple(reasons),
        before=before,
        after=after,
        idle=idle,
        foreign_cpu_idle=quiet,
        foreign_cpu_load=loud,
        load=load,
    )


def foreign(first: Snapshot, last: Snapshot) -> float | None:
    """Percent of all cores that processes other than ours used between two looks; None if they are too close."""
    span = last.at_s - first.at_s
    if span < LEAST_S:
        return None
    used = (last.busy_s - first.busy_s) - max(0.0, last.ours_s - first.ours_s)
    return max(0.0, min(100.0, used / (span * last.cores) * 100))


def _ours(pids: list[int]) -> float:
    """CPU seconds of the processes and all their descendants."""
    seen: dict[int, float] = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(pid)
            for process in [root, *root.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    times = process.cpu_times()
                    seen[process.pid] = times.user + times.system
    return sum(seen.values())


def _free(look: Snapshot, rules: Precheck, visible: tuple[int, ...] | None) -> list[str]:
    if not look.has_tool:
        return []
    if look.reading is None:
        return [f"the devices could not be seen before the start: {look.device_trouble}"]
    reasons = []
    if not look.reading.devices:
        reasons.append(f"{look.reading.tool} listed no device before the start")
    for device in look.reading.devices:
        if visible is not None and device.index not in visible:
            continue
        if device.health not in WELL:
            reasons.append(f"{device.label}: health is {device.health!r}")
        if device.used_mib is None or not device.total_mib:
            reasons.append(f"{device.label}: its memory could not be seen before the start")
        elif (share := device.used_mib / device.total_mib * 100) > float(rules.device_memory_percent.value or 0):
            reasons.append(f"{device.label}: {share:.0f} % of its memory was in use before the start")
        for holder in look.reading.holders:
            if holder.index == device.index:
                known = psutil.pid_exists(holder.container_pid or holder.pid)
                what = f"process {holder.pid} ({holder.name})"
                ghost = "" if known else ", which is not among this machine's processes: contaminated"
                reasons.append(f"{device.label}: held by {what} before the start{ghost}")
    return reasons


def _idle_devices(idle: tuple[Snapshot, ...], rules: Precheck, visible: tuple[int, ...] | None) -> list[str]:
    reasons: dict[str, None] = {}
    for look in idle[1:]:
        if not look.has_tool:
            continue
        if look.reading is None:
            reasons[f"the devices could not be seen in idle: {look.device_trouble}"] = None
            continue
        for device in look.reading.devices:
            if visible is not None and device.index not in visible:
                continue
            if device.busy_percent is None:
                reasons[f"{device.label}: {look.reading.tool} does not say how busy it is"] = None
            elif device.busy_percent > float(rules.device_busy_percent.value or 0):
                reasons[f"{device.label}: {device.busy_percent} % busy while the service idled"] = None
    return list(reasons)


def _same_devices(before: Snapshot, after: Snapshot) -> list[str]:
    if before.reading is None or after.reading is None:
        return [] if not after.has_tool or after.reading is not None else ["the devices could not be seen afterwards"]
    names = [(d.label, d.name) for d in before.reading.devices]
    if names != [(d.label, d.name) for d in after.reading.devices]:
        return ["the devices are not the same before and after"]
    return [f"{d.label}: health is {d.health!r} afterwards" for d in after.reading.devices if d.health not in WELL]
