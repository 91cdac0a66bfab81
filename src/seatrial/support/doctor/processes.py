"""Engine processes that run already: named, with how to end them, and never ended from here.

vLLM names its processes `VLLM::EngineCore`, `VLLM::Worker_TP0`, `VLLM::APIServer` (older ones `VLLMWorker_TP`).
"""

from __future__ import annotations

import re

from seatrial.core.finding import Finding, Severity
from seatrial.support.doctor.host import HostFacts, Process
from seatrial.support.doctor.records import Check, checked, finding

INNER = re.compile(r"^(?:VLLM::|VLLMWorker|VLLMEngineCor)")
SERVER = re.compile(r"(?:^|/)vllm(?:\.exe)? serve\b|-m vllm\.entrypoints\.|\bvllm\.entrypoints\.openai\.api_server\b")
MOST = 8


def processes_running_check(host: HostFacts) -> Check:
    """H050 an engine's process whose parent is gone; H051 an engine that runs beside."""
    found: list[Finding] = []
    engines = [p for p in host.processes if INNER.search(p.command) or SERVER.search(p.command)]
    # A server that is a container's first process is 1 itself: its engine is nobody's left-over.
    alive = {p.pid for p in engines}
    stale = [p for p in engines if p.orphan and p.parent not in alive and INNER.search(p.command)]
    for process in stale[:MOST]:
        message = f"left over from an engine that is gone, running for {_age(process)}: {process.command[:120]}"
        mend = f"If it is yours and nothing uses it: kill {process.pid}. seatrial ends no process it did not start."
        found.append(finding("H050", Severity.WARNING, f"process {process.pid} ({process.user})", message, mend))
    for process in [p for p in engines if p not in stale][:MOST]:
        message = f"an engine runs here, for {_age(process)}: {process.command[:120]}"
        mend = "Nothing to do if that is meant; it takes memory and ports."
        found.append(finding("H051", Severity.INFO, f"process {process.pid} ({process.user})", message, mend))
    seen = f"{len(engines)} engine processes, {len(stale)} of them left over"
    return checked("engine processes", seen, found)


def _age(process: Process) -> str:
    hours = process.age_s / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{process.age_s / 60:.0f} min"
