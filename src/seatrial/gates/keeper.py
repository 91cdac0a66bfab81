"""The keeper: a small process between seatrial and a server, which outlives neither without cleaning up.

Started by `server.py` as `python -I -S keeper.py CONTROL_FD REPORT_FD`, in a session of its own; stdlib only. The first
line on CONTROL is the order: `{"argv", "env", "cwd", "log", "events", "grace_s"}`. The server gets its own session and
process group, its output goes to `log` unread. The keeper is a subreaper: whatever the server's processes leave behind,
even in other sessions, becomes its child, so "no child left" proves that nothing is left.

On CONTROL: `stop SECONDS` (ask the server, then its descendants, then kill), `stay` (the end of CONTROL means nothing
from now on; SIGTERM to the keeper stops the server). The end of CONTROL without `stay` is a stop: seatrial has died.
On REPORT and in the file `events`, one JSON object per line, `t` is CLOCK_MONOTONIC: `started` (pid), `failed` (error),
`exited` (code, negative for a signal), `gone` (asked, killed: processes that had to be), `stuck` (pids no signal ends).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import sys
import time
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SWEEP_S = 2.0  # what the server's descendants get to end by themselves once the server is gone
GIVE_UP_S = 30.0  # after this many seconds of SIGKILL a process is in the kernel's hands (state D)


class Keeper:
    def __init__(self, control: int, report: int) -> None:
        self.control: int | None = control
        self.report = report
        self.pending = b""
        self.stay = False
        self.phase = "run"  # run, ask, sweep, kill
        self.deadline = 0.0
        self.grace_s = 10.0
        self.asked = False
        self.killed: set[int] = set()
        self.pid = 0
        self.code: int | None = None
        self.events: int | None = None
        self.wake, self.poke = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self.poke, False)
        signal.set_wakeup_fd(self.poke, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)

    def tell(self, event: str, **more: Any) -> None:
        line = (json.dumps({"event": event, "t": time.monotonic(), **more}) + "\n").encode()
        for place in (self.report, self.events):
            # seatrial may have died, or the disk be full: the server must be stopped all the same
            if place is not None:
                with contextlib.suppress(OSError):
                    os.write(place, line)

    def read_order(self) -> Any:
        while b"\n" not in self.pending:
            data = os.read(self.control or 0, 65536)
            if not data:
                return None
            self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        return json.loads(line)

    def start(self, order: dict[str, Any], libc: ctypes.CDLL) -> bool:
        self.grace_s = float(order["grace_s"])
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            self.events = os.open(order["events"], flags, 0o644)
            log = os.open(order["log"], flags, 0o644)
        except OSError as exc:
            self.tell("failed", error=f"{exc.filename}: {exc.strerror}")
            return False
        receive, send = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                for number in (signal.SIGPIPE, signal.SIGXFSZ):
                    signal.signal(number, signal.SIG_DFL)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(log, 1)
                os.dup2(log, 2)
                if order["cwd"]:
                    os.chdir(order["cwd"])
                os.execvpe(order["argv"][0], order["argv"], order["env"])  # noqa: S606 - a list, never a shell
            except OSError as exc:
                os.write(send, f"{exc.filename or order['argv'][0]}: {exc.strerror}".encode())
            finally:
                os._exit(127)
        os.close(send)
        os.close(log)
        trouble = os.read(receive, 4096)
        os.close(receive)
        if trouble:
            os.waitpid(self.pid, 0)
            self.tell("failed", error=trouble.decode(errors="replace"))
            return False
        self.tell("started", pid=self.pid)
        return True

    def stop(self, grace_s: float) -> None:
        """Ask the server to end; a shorter grace than one already running shortens it."""
        until = time.monotonic() + grace_s
        if self.phase == "run":
            self.asked = self.code is None
            self.phase, self.deadline = "ask", until
            if self.code is None:
                _send(self.pid, signal.SIGTERM)
        else:
            self.deadline = min(self.deadline, until)

    def hear(self, control: int) -> None:
        try:
            data = os.read(control, 4096)
        except OSError:
            data = b""
        if not data:
            os.close(control)
            self.control = None
            if not self.stay:
                self.stop(self.grace_s)
            return
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word == "stay":
                self.stay = True
            elif word == "stop":
                self.stop(float(rest or self.grace_s))

    def reap(self) -> bool:
        """Collect the dead; False once there is no child at all."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.code = os.waitstatus_to_exitcode(status)
                self.tell("exited", code=self.code)

    def advance(self) -> None:
        """Go on with stopping, now that the dead are collected."""
        now = time.monotonic()
        if self.code is not None and self.phase in ("run", "ask"):
            self.phase = "sweep"
            self.deadline = min(now + SWEEP_S, self.deadline) if self.asked else now + SWEEP_S
            for pid in descendants():
                _send(pid, signal.SIGTERM)
        if self.phase in ("ask", "sweep") and now >= self.deadline:
            self.phase, self.deadline = "kill", now + GIVE_UP_S
        if self.phase == "kill":
            for pid in descendants():
                self.killed.add(pid)
                _send(pid, signal.SIGKILL)

    def run(self) -> None:
        while self.reap():
            self.advance()
            if self.phase == "kill" and time.monotonic() >= self.deadline:
                self.tell("stuck", pids=descendants())
                return
            wait = None
            if self.phase == "kill":
                wait = 0.05
            elif self.phase != "run":
                wait = max(0.0, self.deadline - time.monotonic())
            places = [self.wake] if self.control is None else [self.wake, self.control]
            ready, _, _ = select.select(places, [], [], wait)
            if self.wake in ready:
                numbers = os.read(self.wake, 4096)
                if set(numbers) & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
                    self.stop(self.grace_s)
            if self.control is not None and self.control in ready:
                self.hear(self.control)
        self.tell("gone", asked=self.asked, killed=len(self.killed))


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError as exc:
        if exc.errno != errno.ESRCH:
            sys.stderr.write(f"signal {number} to {pid}: {exc.strerror}\n")


def descendants() -> list[int]:
    """Pids of all processes below this one that still live, read from /proc."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib is slow to import
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stream:
                # The command's name may hold anything, spaces and brackets too: fields start after the last bracket.
                state, parent = stream.read().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state not in (b"Z", b"X"):
            parents[int(name)] = int(parent)
    found: list[int] = []
    level = {os.getpid()}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level}
        found.extend(level)
    return found


def main() -> None:
    keeper = Keeper(int(sys.argv[1]), int(sys.argv[2]))
    for handle in sys.argv[1:]:
        os.set_inheritable(int(handle), False)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        keeper.tell("failed", error="PR_SET_CHILD_SUBREAPER: " + os.strerror(ctypes.get_errno()))
        return
    order = keeper.read_order()
    if order is not None and keeper.start(order, libc):
        keeper.run()


if __name__ == "__main__":
    main()
