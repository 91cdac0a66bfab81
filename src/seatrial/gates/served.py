"""Servers that outlive the command that started them: start, look, stop, and find what a crash left behind.

Each has a folder under the user's state folder: `server.json` (the record), `server.log`, `keeper.jsonl` (how it went),
`lock`. A server is known by its keeper's pid and start time and by the token in its environment, never by a name of a
process. Refuses (UsageError): an unknown server, a second one of the same name while the first lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import platformdirs
import psutil

from seatrial.core.atomic import write_atomic
from seatrial.core.command import Command
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.record import Record, from_json, to_json
from seatrial.core.secrets import without_secrets
from seatrial.engine.border import describe_exit
from seatrial.gates.exchange import exchange
from seatrial.gates.log_watch import LogWatch
from seatrial.gates.plan import api_key
from seatrial.gates.readiness import Readiness, wait_ready
from seatrial.gates.room import demand_room
from seatrial.gates.server import Server, sweep, with_token
from seatrial.platforms import LaunchPlan
from seatrial.targets import Limits

SCHEMA_VERSION = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ServedRecord(Record):
    """What is known of a server that was started to stay. Times are seconds since the epoch."""

    schema_version: int
    name: str
    model: str
    checkpoint: str
    target: str
    host: str
    port: int
    command: Command
    token: str
    keeper_pid: int
    keeper_born: float
    server_pid: int
    started_at: float
    stop_s: float


class ServedState(Record):
    """`orphaned`: the keeper is gone but processes with the token live on (`pids`); `stop` ends them.

    `exit_text` says how the main process ended, if that was seen.
    """

    record: ServedRecord
    state: Literal["serving", "starting", "not-answering", "ended", "orphaned"]
    pids: tuple[int, ...]
    log: str
    exit_text: str = ""


def servers_folder() -> Path:
    """Where the records are; `SEATRIAL_STATE` overrides the user's state folder."""
    return Path(os.environ.get("SEATRIAL_STATE") or platformdirs.user_state_dir("seatrial")) / "servers"


def start(
    plan: LaunchPlan,
    *,
    name: str,
    model: str,
    checkpoint: Path,
    target: str,
    host: str,
    port: int,
    limits: Limits,
    say: Callable[[str], None],
) -> tuple[ServedState, Readiness]:
    """Start, wait until the model is listed, and let it live on. Not ready: it is stopped, its log stays."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a server's name", mend="Use letters, digits, dots, dashes; --name sets it."
        )
    folder = servers_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        old = _read(folder)
        if old is not None and look(old).state != "ended":
            raise UsageError(
                f"a server {name!r} is already there", mend=f"`seatrial serve stop {name}`, or use --name."
            )
        for leftover in ("server.json", "server.log", "keeper.jsonl"):
            (folder / leftover).unlink(missing_ok=True)
        cwd = Path(plan.command.cwd) if plan.command.cwd else folder / "cwd"
        cwd.mkdir(exist_ok=True)
        grace = float(limits.stop_s.value or 0)
        server = Server(
            plan.command.argv,
            env={**os.environ, **plan.command.env},
            cwd=cwd,
            log=folder / "server.log",
            folder=folder,
            grace_s=grace,
        )
        with server:
            record = ServedRecord(
                schema_version=SCHEMA_VERSION,
                name=name,
                model=model,
                checkpoint=str(checkpoint.absolute()),
                target=target,
                host=host,
                port=port,
                command=without_secrets(plan.command),
                token=server.token,
                keeper_pid=server.keeper_pid,
                keeper_born=psutil.Process(server.keeper_pid).create_time(),
                server_pid=server.pid,
                started_at=time.time(),
                stop_s=grace,
            )
            write_atomic(folder / "server.json", to_json(record, indent=2))
            watch = LogWatch(folder / "server.log", server.started_at)
            readiness = wait_ready(
                server, watch, host=host, port=port, model=model, limits=limits, say=say, key=api_key(plan.command)
            )
            if readiness.ending is None:
                server.detach()
        if readiness.ending is not None:
            demand_room(folder)
        return look(record), readiness


def find(name: str) -> ServedRecord:
    """The record of a server; raises UsageError with the known names."""
    record = _read(servers_folder() / name) if NAME.fullmatch(name) else None
    if record is None:
        known = ", ".join(r.name for r in every()) or "none"
        raise UsageError(f"there is no server {name!r}", mend=f"Known: {known}.")
    return record


def every() -> list[ServedRecord]:
    """All records, by name."""
    root = servers_folder()
    found = [_read(folder) for folder in sorted(root.iterdir()) if folder.is_dir()] if root.is_dir() else []
    return [r for r in found if r is not None]


def look(record: ServedRecord) -> ServedState:
    """The server's state now; asks its /health."""
    folder = servers_folder() / record.name
    log = str(folder / "server.log")
    keeper = _keeper(record)
    if keeper is None:
        left = tuple(p.pid for p in with_token(record.token))
        return ServedState(
            record=record, state="orphaned" if left else "ended", pids=left, log=log, exit_text=_exit_text(folder)
        )
    with contextlib.suppress(psutil.Error):
        pids = tuple(p.pid for p in keeper.children(recursive=True))
        healthy = exchange(record.host, record.port, "GET", "/health", timeout_s=5)
        state: Literal["serving", "starting", "not-answering"] = "serving"
        if healthy.status not in (200, 404):
            state = "starting" if healthy.how == "refused" else "not-answering"
        return ServedState(record=record, state=state, pids=pids, log=log)
    return ServedState(record=record, state="ended", pids=(), log=log, exit_text=_exit_text(folder))


def stop(record: ServedRecord) -> ServedState:
    """End the server and whatever it left; its record goes, its log stays."""
    folder = servers_folder() / record.name
    keeper = _keeper(record)
    if keeper is not None:
        with contextlib.suppress(psutil.Error):
            keeper.terminate()
        with contextlib.suppress(psutil.Error):
            keeper.wait(record.stop_s + 40)
    sweep(record.token)
    after = look(record)
    if after.state == "ended":
        (folder / "server.json").unlink(missing_ok=True)
        shutil.rmtree(folder / "cwd", ignore_errors=True)
    return after


def _keeper(record: ServedRecord) -> psutil.Process | None:
    """The keeper, if the process of that pid is still the one we started."""
    try:
        process = psutil.Process(record.keeper_pid)
        same = abs(process.create_time() - record.keeper_born) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _exit_text(folder: Path) -> str:
    """From the keeper's events; empty if it saw no end."""
    with contextlib.suppress(OSError, ValueError):
        for line in reversed((folder / "keeper.jsonl").read_text().splitlines()):
            event = json.loads(line)
            if event.get("event") == "exited":
                return describe_exit(int(event["code"]))
    return ""


def _read(folder: Path) -> ServedRecord | None:
    try:
        return from_json(ServedRecord, (folder / "server.json").read_bytes(), where=str(folder / "server.json"))
    except FileNotFoundError:
        return None
    except FileFormatError as exc:
        mend = "Delete that file once you have ended the server by hand."
        raise FileFormatError(exc.message, mend=mend) from exc


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One start at a time for a name; the lock goes with the process, however it ends."""
    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"the server {folder.name!r} is being started right now", mend="Use --name.") from None
        yield
