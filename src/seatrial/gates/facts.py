"""The records of a gate: what it asked for, what happened when, what was answered, how it ended."""

from __future__ import annotations

from typing import Literal

from seatrial.core.command import Command
from seatrial.core.record import Record
from seatrial.gates.first_error import LogError
from seatrial.gates.loaded import LoadedPackage
from seatrial.gates.source_memory import MemoryRead
from seatrial.platforms import Deviation

# `ready` is the only good one. `false-ready`: /v1/models named the model, then a request or the engine failed.
Ending = Literal[
    "ready", "died", "never-ready", "stuck", "wrong-model", "false-ready", "request-refused", "bad-output", "leftovers"
]


MilestoneName = Literal[
    "started", "port-open", "healthy", "model-listed", "text", "image", "video", "audio", "second", "alive", "ended"
]


class Milestone(Record):
    """Something became true `at_s` seconds after the server's start."""

    name: MilestoneName
    at_s: float
    note: str = ""


class Phase(Record):
    """What the log said the engine was doing from `at_s` on; `line` is the line that said so."""

    name: str
    at_s: float
    line: str


class RequestFacts(Record):
    """One request of the gate. Bodies are attachments of these names; `text` is the start of what was answered."""

    name: str
    method: str
    path: str
    sent_at_s: float
    duration_s: float
    how: str
    status: int | None
    trouble: str
    request_attachment: str = ""
    response_attachment: str = ""
    text: str = ""
    completion_tokens: int | None = None
    finish_reason: str = ""


class Resolved(Record):
    """What the log says of the model class: the architecture, who overwrote an upstream one, a generic fall-back; and
    the format that the weights were loaded by ("" if it does not say).
    """

    architecture: str = ""
    overwritten_by: str = ""
    transformers_backend: bool = False
    failed_plugins: tuple[str, ...] = ()
    load_format: str = ""


class GateFacts(Record):
    """Everything about one start of the server. Seconds; `exit_code` negative for a signal, None while nobody saw it.

    `ready_s`: from the server's start to its model being listed; None if that never happened. `processes_left` are
    pids no signal ended (empty is the proof that none is left). `seatrial_cpu_s`: our own CPU time while waiting for
    readiness, over `waited_s`. `worker_deaths` are the engine's own
    words about its workers. `layers`: the model was cut to so many, so that this can never be signed off.
    """

    stage: Literal["dummy", "real"]
    ending: Ending
    reason: str
    served_model: str
    checkpoint: str
    tp: int
    max_model_len: int | None
    layers: int | None
    host: str
    port: int
    python: str
    command: Command
    cwd: str
    server_pid: int
    engine_pids: tuple[int, ...]
    ready_s: float | None
    waited_s: float
    seatrial_cpu_s: float
    milestones: tuple[Milestone, ...]
    requests: tuple[RequestFacts, ...]
    phases: tuple[Phase, ...] = ()
    exit_code: int | None = None
    exit_text: str = ""
    worker_deaths: tuple[str, ...] = ()
    stopped_by: Literal["asked", "killed", "itself", "keeper-lost"] = "asked"
    stop_s: float = 0.0
    processes_left: tuple[int, ...] = ()
    port_free_after: bool | None = None
    first_error: LogError | None = None
    log_attachment: str = ""
    log_bytes: int = 0
    resolved: Resolved = Resolved()
    sources: tuple[LoadedPackage, ...] = ()
    worker_sources: MemoryRead = MemoryRead(refused="not looked at")
    deviations: tuple[Deviation, ...] = ()
    notes: tuple[str, ...] = ()
