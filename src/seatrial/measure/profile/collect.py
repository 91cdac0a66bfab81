"""Collect a torch profile from a running vLLM through its profiler endpoints, or say why the capture does not count.

In: the service's address, the folder its `torch_profiler_dir` names, what to ask. Out: a `Capture`. Preconditions are
checked first; warm-up requests lie outside the window; the window holds the workload and nothing else. A capture is
`inconclusive`, with every reason, if a request failed, no new trace came, a trace is torn, or no step is in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from seatrial.core.command import Command
from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.core.verdict import Outcome, inconclusive, passed
from seatrial.gates.exchange import Exchange, exchange

STARTS, STOPS = "/start_profile", "/stop_profile"
# Writing a trace takes the engine seconds to minutes; it is waited for in the folder, not guessed.
POLL_S = 0.25
SETTLED_S = 1.0
PROFILER_FLAGS = "--profiler-config.profiler=torch --profiler-config.torch_profiler_dir=/ABSOLUTE/FOLDER"


class Workload(Record):
    """What is asked within the window, one after the other, greedily and without stopping early."""

    prompt: str = "The ship left the harbour at dawn and"
    requests: int = 2
    max_tokens: int = 16
    warmup: int = 1
    request_s: float = 120.0
    trace_s: float = 300.0


class Capture(Record):
    """`profiler_attached` is true whenever the profiler was started: such a run is no measure of performance."""

    profiler_attached: bool
    service: str
    model: str
    outcome: Outcome
    workload: Workload
    window_s: float
    traces: tuple[str, ...]
    answered: int
    reasons: tuple[str, ...]
    commands: tuple[Command, ...]
    schema_version: int = 1


def address(service: str) -> tuple[str, int]:
    """Host and port of `http://HOST:PORT`; raises UsageError for anything else."""
    parts = urlsplit(service if "//" in service else f"http://{service}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or not parts.hostname or port is None:
        raise UsageError(f"{service!r} is not http://HOST:PORT", mend="For example: --service http://127.0.0.1:8000")
    return parts.hostname, port


def collect(service: str, folder: Path, work: Workload, say: Callable[[str], None] = lambda _: None) -> Capture:
    """One capture. Raises UsageError for an address or folder that cannot be right; everything else is a reason."""
    host, port = address(service)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", mend="Name the server's torch_profiler_dir, as seen from here.")

    def ask(method: str, path: str, body: Any = None, timeout_s: float = 30.0) -> Exchange:
        return exchange(host, port, method, path, body, timeout_s=timeout_s)

    reasons: list[str] = []
    model = _model(ask, reasons)
    if not reasons:
        _has_profiler(ask, reasons)
    if reasons:
        return _capture(service, model, work, reasons)
    body = {"model": model, "prompt": work.prompt, "max_tokens": work.max_tokens, "temperature": 0, "ignore_eos": True}
    for i in range(work.warmup):
        trouble = ask("POST", "/v1/completions", body, work.request_s).trouble()
        if trouble:
            return _capture(service, model, work, [f"warm-up request {i + 1}: {trouble}"])
    before = _traces(folder)
    say("starting the profiler")
    trouble = ask("POST", STARTS, None, work.request_s).trouble()
    if trouble:
        return _capture(service, model, work, [f"POST {STARTS}: {trouble}; start the server with {PROFILER_FLAGS}"])
    began = time.monotonic()
    answered = 0
    try:
        for i in range(work.requests):
            trouble = ask("POST", "/v1/completions", body, work.request_s).trouble()
            if trouble:
                reasons.append(f"request {i + 1} of {work.requests}: {trouble}")
            else:
                answered += 1
    finally:
        # Whatever happened, a server must not be left with its profiler running.
        window = time.monotonic() - began
        say("stopping the profiler; the engine writes its traces")
        trouble = ask("POST", STOPS, None, work.trace_s).trouble()
    if trouble:
        reasons.append(f"POST {STOPS}: {trouble}")
    found = _wait(folder, before, work.trace_s if not trouble else 5.0)
    if not found:
        reasons.append(f"no new trace appeared in {folder}: is it the server's torch_profiler_dir?")
    return _capture(service, model, work, reasons, attached=True, window=window, traces=found, answered=answered)


def _capture(
    service: str,
    model: str,
    work: Workload,
    reasons: list[str],
    *,
    attached: bool = False,
    window: float = 0.0,
    traces: tuple[str, ...] = (),
    answered: int = 0,
) -> Capture:
    base = service.rstrip("/")
    return Capture(
        profiler_attached=attached,
        service=service,
        model=model,
        outcome=inconclusive("; ".join(reasons)) if reasons else passed(),
        workload=work,
        window_s=window,
        traces=traces,
        answered=answered,
        reasons=tuple(reasons),
        commands=(
            Command(purpose="start the profiler", argv=("curl", "-fsS", "-X", "POST", base + STARTS)),
            Command(purpose="stop it", argv=("curl", "-fsS", "-X", "POST", base + STOPS)),
        ),
    )


def judged(capture: Capture, reasons: list[str]) -> Capture:
    """The capture with further reasons against it, found by reading its traces."""
    from seatrial.core.record import replace

    if not reasons:
        return capture
    every = (*capture.reasons, *reasons)
    return replace(capture, reasons=every, outcome=inconclusive("; ".join(every)))


def _model(ask: Callable[..., Exchange], reasons: list[str]) -> str:
    reply = ask("GET", "/v1/models")
    if reply.trouble():
        reasons.append(f"GET /v1/models: {reply.trouble()}")
        return ""
    data = reply.json()
    rows = data.get("data") if isinstance(data, dict) else None
    first = rows[0] if isinstance(rows, list) and rows else None
    name = first.get("id") if isinstance(first, dict) else None
    if not isinstance(name, str):
        reasons.append("GET /v1/models lists no model")
        return ""
    return name


def _has_profiler(ask: Callable[..., Exchange], reasons: list[str]) -> None:
    """vLLM has the endpoints only if it was started with a profiler; as its API description says."""
    data = ask("GET", "/openapi.json").json()
    paths = data.get("paths") if isinstance(data, dict) else None
    if isinstance(paths, dict) and STARTS not in paths:
        reasons.append(f"the server was started without a profiler (no {STARTS}). Restart it with {PROFILER_FLAGS}")


def _traces(folder: Path) -> dict[Path, tuple[int, int]]:
    """Traces of the folder with size and time."""
    out = {}
    for file in folder.rglob("*.json*"):
        if file.is_file() and not file.is_symlink() and ".seatrial." not in file.name:
            state = file.stat()
            out[file] = (state.st_size, state.st_mtime_ns)
    return out


def _wait(folder: Path, before: dict[Path, tuple[int, int]], timeout_s: float) -> tuple[str, ...]:
    """New or changed traces, once at least one is there and none has grown for a moment."""
    deadline = time.monotonic() + timeout_s
    seen: dict[Path, tuple[int, int]] = {}
    since = time.monotonic()
    while time.monotonic() < deadline:
        now = {p: s for p, s in _traces(folder).items() if before.get(p) != s and s[0] > 0}
        if now != seen:
            seen, since = now, time.monotonic()
        elif seen and time.monotonic() - since >= SETTLED_S:
            break
        time.sleep(POLL_S)
    return tuple(sorted(map(str, seen)))
