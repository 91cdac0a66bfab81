"""Ports: find a free one, prove that one is free, say who has it, and whether a port belongs to our server."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import deque

import psutil

from seatrial.core.errors import EngineError

MOST_HELD = 64  # ports; the oldest is let go, whose server has been started long ago
HELD: deque[socket.socket] = deque()


def free_port(host: str) -> int:
    """A port nobody has, the kernel's choice; it gives it to nobody who lets it choose, as long as it is held here.

    An engine takes a minute before it binds its port. Until then a bound socket keeps the number from every listener
    and every connection that asks for any port; a server that asks for this very number gets it, since both say
    SO_REUSEADDR and only one listens. Who names the number himself can still take it: check again before use.
    """
    HELD.append(_bound(host, 0))
    if len(HELD) > MOST_HELD:
        HELD.popleft().close()
    number: int = HELD[-1].getsockname()[1]
    return number


def demand_free(host: str, port: int) -> None:
    """Raise EngineError, naming the holder if it can be seen, when `port` on `host` cannot be bound."""
    try:
        _bound(host, port).close()
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise EngineError(
                f"port {port} on {host} is already taken{_holder(port)}",
                mend="Stop that process, or set serve.port of the target (0 means any free port).",
            ) from exc
        raise EngineError(
            f"port {port} on {host} cannot be used: {exc.strerror}",
            mend="Set serve.host and serve.port of the target.",
        ) from exc


def listens(host: str, port: int, timeout_s: float = 0.2) -> bool:
    """Does anybody accept connections there?"""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=timeout_s):
        return True
    return False


def belongs_to(port: int, pids: set[int]) -> bool | None:
    """Is the listener on `port` one of `pids`? None if the operating system does not tell."""
    holders = _listeners(port)
    if not holders:
        return None
    return bool(holders & pids)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # As servers do: a port that only waits out old connections (TIME_WAIT) is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def _listeners(port: int) -> set[int]:
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return set()
    listeners = [c for c in connections if c.status == psutil.CONN_LISTEN and c.laddr]
    return {c.pid for c in listeners if c.pid is not None and tuple(c.laddr)[1:2] == (port,)}


def _holder(port: int) -> str:
    for pid in sorted(_listeners(port)):
        with contextlib.suppress(psutil.Error):
            return f" by process {pid} ({psutil.Process(pid).name()})"
    return ""
