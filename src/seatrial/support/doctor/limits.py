"""Shared memory, open files and processes, against what vLLM takes for this many workers.

Figures from vLLM 0.32: several workers talk through rings of 10 chunks in shared memory, one of 16 MiB chunks for all
(VLLM_MQ_MAX_CHUNK_BYTES_MB) and one of 24 MiB chunks per worker (shm_broadcast.py, multiproc_executor.py); the server
raises its open-file limit to 65535 and only warns when the hard limit forbids it (utils/system_utils.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from seatrial.core.finding import Severity
from seatrial.support.doctor.host import HostFacts
from seatrial.support.doctor.records import Check, checked, could_not_look, finding

MIB = 1024 * 1024
SHM = "/dev/shm"  # noqa: S108 - a name for messages
CHUNKS, WORKER_CHUNK_MIB, DEFAULT_CHUNK_MIB = 10, 24, 16
OPEN_FILES = 65535
CHUNK_ENV = "VLLM_MQ_MAX_CHUNK_BYTES_MB"


def shared_memory_check(workers: int, host: HostFacts, env: Mapping[str, str], engines: int = 1) -> Check:
    """H030: the rings of `engines` times `workers` worker processes do not fit into what is free of /dev/shm."""
    if host.shm_total is None or host.shm_free is None:
        return could_not_look("shared memory", f"{SHM} cannot be looked at")
    seen = f"{SHM} {host.shm_free / MIB:.0f} MiB free of {host.shm_total / MIB:.0f}"
    if workers < 2:
        return checked("shared memory", f"{seen}; one worker lays out no rings there")
    text = env.get(CHUNK_ENV)
    if text is not None and not (text.isascii() and text.isdigit()):
        message = f"{CHUNK_ENV}={text!r} is no whole number of MiB, and vLLM ends at it"
        bad = finding("H030", Severity.ERROR, CHUNK_ENV, message, f"Unset it for {DEFAULT_CHUNK_MIB}.")
        return could_not_look("shared memory", message, [bad])
    chunk = int(text) if text is not None else DEFAULT_CHUNK_MIB
    need = engines * CHUNKS * (chunk + WORKER_CHUNK_MIB * workers) * MIB
    workers *= engines
    found = []
    if host.shm_free < need:
        message = f"{host.shm_free / MIB:.0f} MiB free, the rings of {workers} workers are {need / MIB:.0f} MiB"
        mend = "Start the container with --shm-size=2g or more, or --ipc=host; remove left-over files there."
        # The memory is taken page by page: it may start, and die of SIGBUS when a ring fills.
        found.append(finding("H030", Severity.ERROR, SHM, message, mend))
    return checked("shared memory", f"{seen}, {need / MIB:.0f} wanted by {workers} workers", found)


def open_files_check(host: HostFacts) -> Check:
    """H031: the hard limit keeps vLLM from the number of open files it asks for."""
    soft, hard = (x if x is not None else "unlimited" for x in (host.open_files_soft, host.open_files_hard))
    found = []
    if host.open_files_hard is not None and host.open_files_hard < OPEN_FILES:
        message = f"the hard limit of open files is {hard}; vLLM asks for {OPEN_FILES}, is refused and stays at {soft}"
        mend = f"Raise it: ulimit -Hn {OPEN_FILES}, or --ulimit nofile={OPEN_FILES} for a container."
        found.append(finding("H031", Severity.WARNING, "ulimit -n", message, mend))
    return checked("open files", f"soft limit {soft}, hard limit {hard}", found)


def processes_check(workers: int, host: HostFacts, engines: int = 1) -> Check:
    """H032: fewer processes and threads are left than one pool of a thread per core in each process needs."""
    rooms = []
    if host.processes_limit is not None:
        if host.threads is None:
            return could_not_look("processes", "this user's threads cannot be counted")
        rooms.append((host.processes_limit - host.threads, f"ulimit -u {host.processes_limit}"))
    if host.cgroup_pids_max is not None:
        if host.cgroup_pids is None:
            return could_not_look("processes", "the cgroup does not say how many processes it holds")
        rooms.append((host.cgroup_pids_max - host.cgroup_pids, f"cgroup pids.max {host.cgroup_pids_max}"))
    # API server, and of each engine its core and its workers; OpenMP and torch start one thread per core in each.
    need = (1 + engines * (1 + workers)) * host.cores
    if not rooms:
        return checked("processes", "no limit")
    left, whose = min(rooms)
    found = []
    if left < need:
        message = f"{left} processes and threads are left ({whose}), about {need} are wanted ({host.cores} cores)"
        mend = "Raise that limit (--pids-limit for a container), or set OMP_NUM_THREADS lower."
        found.append(finding("H032", Severity.WARNING, whose, message, mend))
    return checked("processes", f"{left} left ({whose}), about {need} wanted", found)
