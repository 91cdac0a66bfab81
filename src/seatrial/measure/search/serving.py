"""A service of SGLang or xLLM that seatrial starts: under the gates' keeper, until its own pages say that it serves.

In: a framework, its program, a checkpoint and a target (for the address, the limits and the variables). Out: `Running`
inside a context that stops what it started. Refuses (EngineError) a server that ends or does not become ready in time,
with the first fatal line of its log. vLLM is started by `measure.load.service.started`, through its platform.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from seatrial.core.errors import EngineError, UsageError
from seatrial.engine.border import describe_exit
from seatrial.gates.plan import api_key, installed_version, served_name
from seatrial.gates.ports import belongs_to, demand_free, free_port, listens
from seatrial.gates.server import Server
from seatrial.gates.veil import Veil
from seatrial.measure.load.service import Running
from seatrial.measure.search.framework import Framework, Launching, launch
from seatrial.targets import Target

POLL_S = 0.25
READY_S, STOP_S = 3600.0, 30.0  # where the target does not say
LARGEST_LOG = 16 << 20  # read from its end for the reason of a failed start


@contextlib.contextmanager
def launched(
    framework: Framework,
    program: Path,
    checkpoint: Path,
    target: Target,
    *,
    scratch: Path,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Running]:
    """Start it with the checkpoint's weights; on every way out it and all it started are ended."""
    if not checkpoint.is_dir():
        raise UsageError(f"the checkpoint {checkpoint} is not a folder", mend="Name a checkpoint's folder.")
    if not program.is_file():
        raise UsageError(f"{program} is no program", mend=f"Name {framework.name}'s program with --program.")
    host, model = target.serve.host, served_name(checkpoint)
    demand_free(host, target.serve.port)
    port = target.serve.port or free_port(host)
    to = Launching(
        program=str(program.absolute()), checkpoint=str(checkpoint.absolute()), model=model, host=host, port=port
    )
    command = launch(framework, to, args, {**target.launch.env, **(env or {})})
    cwd = scratch / "cwd"
    cwd.mkdir(parents=True, exist_ok=True)
    log = scratch / "server.log"
    log.unlink(missing_ok=True)
    server = Server(
        command.argv,
        env={**os.environ, **command.env},
        cwd=cwd,
        log=log,
        folder=scratch,
        grace_s=float(target.limits.stop_s.value or STOP_S),
    )
    with server:
        # Only SGLang has a key of its own, and takes it by its flag.
        key = api_key(command) if any(w.startswith("--api-key") for w in command.argv) else ""
        version = installed_version(program, framework.name)
        running = Running(
            f"http://{host}:{port}",
            model,
            server,
            command,
            version,
            key=key,
            engine=framework.name,
            pages=framework.counters,
        )
        say(f"waiting for {framework.name}")
        _wait(framework, running, server, port, float(target.limits.ready_s.value or READY_S))
        running.version = version or _version(framework, running)
        yield running


def _wait(framework: Framework, running: Running, server: Server, port: int, limit_s: float) -> None:
    """Until the page that says ready answers 200 and the model is listed."""
    deadline = time.monotonic() + limit_s
    seen = "its port is closed"
    while True:
        if not running.alive():
            code = server.exit_code
            how = describe_exit(code) if code is not None else "unseen"
            raise EngineError(f"{framework.name} ended {how} before it was ready{_why(framework, running, server.log)}",
                              mend=f"Its log: {server.log}.")  # fmt: skip
        if listens(running.where.host, port):
            if belongs_to(port, set(server.pids())) is False:
                raise EngineError(f"another process took port {port} first", mend="Set serve.port of the target.")
            seen = _not_ready(framework, running)
            if not seen:
                return
        if time.monotonic() > deadline:
            raise EngineError(
                f"{framework.name} was not ready after {limit_s:.0f} s: {seen}{_why(framework, running, server.log)}",
                mend=f"Its log: {server.log}; limits.ready_s of the target is how long is waited.",
            )
        server.wait(POLL_S)


def _not_ready(framework: Framework, running: Running) -> str:
    """Empty once it serves; else what is missing."""
    reply = running.get(framework.ready)
    if reply.trouble():
        return f"{framework.ready}: {running.hide(reply.trouble())}"
    listed = running.get(framework.models)
    document = listed.json() if not listed.trouble() else None
    data = document.get("data") if isinstance(document, dict) else None
    names = [m.get("id") for m in data if isinstance(m, dict)] if isinstance(data, list) else []
    if running.model not in names:
        return f"{framework.models} does not name {running.model}: {running.hide(listed.trouble()) or names[:8]}"
    return ""


def _why(framework: Framework, running: Running, log: Path) -> str:
    """The log's own reason; a server prints its arguments, and a key is one of them."""
    command = running.command
    veil = Veil(command.argv if command else (), {**os.environ, **(command.env if command else {})})
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LARGEST_LOG))
            found = framework.first_fatal(stream.read().decode(errors="replace"), veil.text)
    except OSError:
        return ""
    return f": {found}" if found else ""


def _version(framework: Framework, running: Running) -> str:
    """What it says of itself; empty where it says nothing."""
    for page in framework.about:
        reply = running.get(page)
        document = reply.json() if not reply.trouble() else None
        version = document.get("version") if isinstance(document, dict) else None
        if isinstance(version, str) and version:
            return version[:80]
    return ""
