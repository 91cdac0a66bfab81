"""One HTTP exchange with the server, bounded in time and size, and given up as soon as the server dies.

In: host, port, method, path, body. Out: an `Exchange`; refused connections, half answers and time-outs are values.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from seatrial.core.record import Record

LARGEST = 16 * 1024 * 1024


class Exchange(Record):
    """`how`: answered (a whole response), refused, cut (it ended early), timed-out, gave-up (the server died).

    `duration_s` runs from the connection's opening; `first_byte_s` is the time to the status line.
    """

    method: str
    path: str
    how: Literal["answered", "refused", "cut", "timed-out", "gave-up", "too-large"]
    duration_s: float
    status: int | None = None
    first_byte_s: float | None = None
    body: bytes = b""
    error: str = ""

    def json(self) -> Any:
        """The body as plain data, None if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def trouble(self) -> str:
        """Empty for an answer of 200, else what happened in a few words."""
        if self.how == "answered":
            return "" if self.status == 200 else f"HTTP {self.status}: {_short(self.body)}"
        if self.how == "timed-out":
            return f"no complete answer within {self.duration_s:.0f} s"
        words = {"refused": "connection refused", "cut": "the connection was cut", "gave-up": "the server died"}
        return words.get(self.how, self.how) + (f" ({self.error})" if self.error else "")


class _Call(threading.Thread):
    """The exchange itself; the thread dies with its socket, which `end` shuts."""

    def __init__(
        self,
        host: str,
        port: int,
        method: str,
        path: str,
        body: bytes | None,
        timeout_s: float,
        key: str,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(daemon=True, name=f"{method} {path}")
        self.connection = (
            http.client.HTTPSConnection(host, port, timeout=timeout_s, context=tls)
            if tls is not None
            else http.client.HTTPConnection(host, port, timeout=timeout_s)
        )
        self.request = (method, path, body)
        self.key = key
        self.began = time.monotonic()
        self.status: int | None = None
        self.first_byte_s: float | None = None
        self.chunks: list[bytes] = []
        self.size = 0
        self.how: Literal["answered", "refused", "cut", "timed-out", "too-large"] = "refused"
        self.error = ""
        self.took_s = 0.0

    def run(self) -> None:
        try:
            self._talk()
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as exc:
            # AttributeError: http.client's own, when `end` shuts the connection in the middle of a read.
            if isinstance(exc, TimeoutError):
                self.how = "timed-out"
            elif self.how != "refused" or not isinstance(exc, OSError):
                self.how = "cut"
            self.error = " ".join(f"{type(exc).__name__}: {exc}".split())
        finally:
            self.took_s = time.monotonic() - self.began
            self.connection.close()

    def _talk(self) -> None:
        method, path, body = self.request
        self.connection.connect()
        self.how = "cut"
        headers = {"Connection": "close", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.connection.request(method, path, body=body, headers=headers)
        response = self.connection.getresponse()
        self.first_byte_s = time.monotonic() - self.began
        self.status = response.status
        while chunk := response.read1(65536):
            self.size += len(chunk)
            if self.size > LARGEST:
                self.how = "too-large"
                return
            self.chunks.append(chunk)
        if response.length:
            self.error = f"{response.length} bytes of the answer are missing"
            return
        self.how = "answered"

    def end(self) -> None:
        sock = self.connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def exchange(
    host: str,
    port: int,
    method: str,
    path: str,
    body: Any = None,
    *,
    timeout_s: float,
    key: str = "",
    tls: ssl.SSLContext | None = None,
    alive: Callable[[], bool] = lambda: True,
    step_s: float = 0.1,
) -> Exchange:
    """Do it. `key` is the server's API key, if it has one; `tls` what an https server is trusted by.

    `alive` is asked every `step_s` seconds; once it says no, a last half second is left for the answer.
    """
    data = json.dumps(body).encode() if body is not None else None
    call = _Call(host, port, method, path, data, timeout_s, key, tls)
    deadline = call.began + timeout_s
    call.start()
    how: Literal["timed-out", "gave-up"] | None = None
    try:
        while call.is_alive() and how is None:
            call.join(min(step_s, max(0.0, deadline - time.monotonic())))
            if call.is_alive() and time.monotonic() >= deadline:
                how = "timed-out"
            elif call.is_alive() and not alive():
                call.join(0.5)
                how = "gave-up" if call.is_alive() else None
    finally:
        call.end()
    if how is not None:
        # What came so far is evidence; the thread may still add to the list, so take a copy.
        return Exchange(
            method=method,
            path=path,
            how=how,
            duration_s=time.monotonic() - call.began,
            status=call.status,
            first_byte_s=call.first_byte_s,
            body=b"".join(list(call.chunks)),
            error=call.error,
        )
    gave_up = call.how in ("cut", "refused") and not alive()
    return Exchange(
        method=method,
        path=path,
        how="gave-up" if gave_up else call.how,
        duration_s=call.took_s,
        status=call.status,
        first_byte_s=call.first_byte_s,
        body=b"".join(call.chunks),
        error=call.error,
    )


def _short(body: bytes) -> str:
    """An error answer's message on one line; OpenAI-compatible servers wrap it in `error.message`."""
    text = body[:4000].decode(errors="replace")
    with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
        document = json.loads(body)
        inner = document.get("error") or document
        text = str(inner.get("message") or inner.get("detail") or text)
    return " ".join(text.split())[:300]
