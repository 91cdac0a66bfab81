"""Facts of this machine that decide whether a server can start: read once, judged elsewhere.

Out: `HostFacts`. What the operating system refuses to tell is None (or a reason), never 0 or an empty table.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
from pathlib import Path
from typing import NamedTuple

import psutil

from seatrial.core.record import Record
from seatrial.core.secrets import redact_arguments

LAST_PORT = 65535
SHM = Path("/dev/shm")  # noqa: S108 - looked at, not written to


class Listener(Record):
    """A listening TCP socket; `pid` is None where the system does not say whose it is."""

    address: str
    port: int
    pid: int | None
    name: str


class Process(Record):
    """A process by its command line (at most 400 characters, no secrets). `orphan`: its parent is gone, or is 1."""

    pid: int
    parent: int
    user: str
    command: str
    orphan: bool
    age_s: float


class HostFacts(Record):
    """Sizes in bytes. Limits: None for "unlimited"; `threads` counts what the user runs against `processes_limit`."""

    listeners: tuple[Listener, ...] | None
    reserved_ports: tuple[tuple[int, int], ...] | None
    ephemeral_ports: tuple[int, int] | None
    shm_total: int | None
    shm_free: int | None
    open_files_soft: int | None
    open_files_hard: int | None
    processes_limit: int | None
    cgroup_pids_max: int | None
    cgroup_pids: int | None
    threads: int | None
    cores: int
    processes: tuple[Process, ...]


def look() -> HostFacts:
    """Read everything; no engine, no network."""
    shm = None
    with contextlib.suppress(OSError):
        shm = shutil.disk_usage(SHM)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    pids = cgroup_pids(Path("/sys/fs/cgroup"), _text(Path("/proc/self/cgroup")) or "")
    return HostFacts(
        listeners=_listeners(),
        reserved_ports=port_ranges(_text(Path("/proc/sys/net/ipv4/ip_local_reserved_ports"))),
        ephemeral_ports=_pair(_text(Path("/proc/sys/net/ipv4/ip_local_port_range"))),
        shm_total=shm.total if shm else None,
        shm_free=shm.free if shm else None,
        open_files_soft=_limit(soft),
        open_files_hard=_limit(hard),
        processes_limit=_limit(most),
        cgroup_pids_max=pids.most,
        cgroup_pids=pids.now,
        threads=_threads(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        processes=_processes(),
    )


class Pids(NamedTuple):
    """The most processes a cgroup may hold, and how many it holds; None: no limit, or not said."""

    most: int | None
    now: int | None


def cgroup_pids(root: Path, own: str) -> Pids:
    """The tightest limit from this process's own cgroup (`own`: the text of /proc/self/cgroup) up to the root."""
    folders = [root, root / "pids"]
    for line in own.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "pids" not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        base = root / "pids" if controllers else root
        folders += [base.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    found = [Pids(_integer(_text(f / "pids.max")), _integer(_text(f / "pids.current"))) for f in folders]
    limits = [p for p in found if p.most is not None]
    return min(limits, key=lambda p: (p.most or 0) - (p.now or 0), default=Pids(None, None))


def port_ranges(text: str | None) -> tuple[tuple[int, int], ...] | None:
    """`60000-60015,8080` as ranges; None for None or for a text that is no list of ports, lower bound first."""
    if text is None:
        return None
    ranges = []
    for part in filter(None, text.strip().split(",")):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first + last).isascii() or not first.isdigit() or not last.isdigit() or len(first + last) > 10:
            return None
        if not 0 < int(first) <= int(last) <= LAST_PORT:
            return None
        ranges.append((int(first), int(last)))
    return tuple(ranges)


def _listeners() -> tuple[Listener, ...] | None:
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return None
    found = []
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or not connection.laddr:
            continue
        address, port = connection.laddr.ip, connection.laddr.port
        name = ""
        if connection.pid is not None:
            with contextlib.suppress(psutil.Error):
                name = psutil.Process(connection.pid).name()
        found.append(Listener(address=str(address), port=int(port), pid=connection.pid, name=name))
    return tuple(found)


def _processes() -> tuple[Process, ...]:
    import time

    mine = {os.getpid()} | {p.pid for p in psutil.Process().parents()}
    found = []
    for process in psutil.process_iter(["pid", "ppid", "username", "cmdline", "create_time"]):
        facts = process.info
        if process.pid in mine or not facts["cmdline"]:
            continue
        parent = facts["ppid"] or 0
        found.append(
            Process(
                pid=process.pid,
                parent=parent,
                user=facts["username"] or "",
                command=" ".join(redact_arguments(tuple(facts["cmdline"])))[:400],
                orphan=parent <= 1,
                age_s=max(0.0, time.time() - (facts["create_time"] or time.time())),
            )
        )
    return tuple(found)


def _threads() -> int | None:
    """Threads of this user: what RLIMIT_NPROC counts."""
    me, count = os.getuid(), 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        if uids is not None and uids.real == me:
            count += process.info["num_threads"] or 1
    return count or None


def _limit(value: int) -> int | None:
    return None if value in (resource.RLIM_INFINITY, -1) else value


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")[:65536]
    except (OSError, UnicodeDecodeError):
        return None


def _pair(text: str | None) -> tuple[int, int] | None:
    parts = (text or "").split()
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(p.isdigit() for p in parts) else None


def _integer(text: str | None) -> int | None:
    value = (text or "").strip()
    return int(value) if value.isdigit() else None
