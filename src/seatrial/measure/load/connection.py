"""One HTTP/1.1 connection that stamps the time of every piece of an answer as it arrives.

Own code, because here the client is the instrument: bench/bench_generator.py measures what httpx and aiohttp add to
each request on the same machine. In: bytes of a request. Out: calls on an `Answering`. Answers are hostile: header and
event sizes are bounded, and whatever is not HTTP ends as `cut` with the reason.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, cast

LARGEST_HEAD = 64 << 10
LARGEST_BODY = 64 << 20


class Answering(Protocol):
    """Who waits for an answer. `at` is `time.monotonic()` when the bytes were read."""

    def head(self, status: int, is_stream: bool) -> None: ...
    def body(self, data: bytes, at: float) -> None: ...
    def ended(self, at: float) -> None: ...
    def lost(self, reason: str, at: float, *, is_stale: bool) -> None: ...


class Connection(asyncio.Protocol):
    """A connection; `idle` says that a request may be sent. `on_idle` is told when an answer is complete."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: Answering | None = None
        self.used = 0
        self.answered_any = False
        self.keeps = True
        self._buffer = b""
        self._state = "head"
        self._left = 0
        self._body_bytes = 0

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, waiting: Answering) -> None:
        """Send; the answer goes to `waiting`."""
        self.waiting = waiting
        self.used += 1
        self.answered_any = False
        self._state, self._buffer, self._body_bytes = "head", b"", 0
        if self.transport is not None:
            self.transport.write(request)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        at = time.monotonic()
        if self.waiting is None:
            # Bytes nobody asked for: the connection cannot be trusted any more.
            self.close()
            return
        self.answered_any = True
        self._buffer = self._buffer + data if self._buffer else data
        while self.waiting is not None and self._step(at):
            pass

    def connection_lost(self, exc: Exception | None) -> None:
        at = time.monotonic()
        waiting, self.waiting = self.waiting, None
        if waiting is None:
            return
        if self._state == "until-close":
            waiting.ended(at)
        else:
            is_stale = self.used > 1 and not self.answered_any
            waiting.lost(f"the connection was closed ({exc or 'by the server'})", at, is_stale=is_stale)

    def _step(self, at: float) -> bool:
        """Take one piece off the buffer; false when more bytes are needed."""
        if self._state == "head":
            return self._head(at)
        if self._state in ("sized", "chunk"):
            piece = self._buffer[: self._left]
            if not piece:
                return False
            self._buffer = self._buffer[len(piece) :]
            self._left -= len(piece)
            self._give(piece, at)
            if self._left == 0:
                if self._state == "sized":
                    self._end(at)
                else:
                    self._state = "chunk-end"
            return True
        if self._state == "until-close":
            piece, self._buffer = self._buffer, b""
            if piece:
                self._give(piece, at)
            return False
        return self._chunk_line(at)

    def _chunk_line(self, at: float) -> bool:
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            if len(self._buffer) > 1024:
                self._fail("a chunk without a length", at)
            return False
        self._buffer = rest
        if self._state == "chunk-end":
            self._state = "chunk-size"
            return True
        if self._state == "trailer":
            if not line:
                self._end(at)
            return True
        try:
            self._left = int(line.partition(b";")[0], 16)
        except ValueError:
            self._fail(f"a chunk's length reads {line[:20]!r}", at)
            return False
        if self._left < 0:
            self._fail("a chunk's length is negative", at)
            return False
        self._state = "chunk" if self._left else "trailer"
        return True

    def _head(self, at: float) -> bool:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            if len(self._buffer) > LARGEST_HEAD:
                self._fail("the answer's header does not end", at)
            return False
        first, *lines = head.split(b"\r\n")
        words = first.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not _is_number(words[1]):
            self._fail(f"the answer begins {first[:40]!r}, which is not HTTP", at)
            return False
        self._buffer = rest
        status = int(words[1])
        if 100 <= status < 200:
            return True
        fields = {}
        for line in lines:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip().lower()
        self.keeps = fields.get(b"connection") != b"close" and words[0] != b"HTTP/1.0"
        self._state = "until-close"
        if fields.get(b"transfer-encoding", b"") == b"chunked":
            self._state = "chunk-size"
        elif b"content-length" in fields:
            length = fields[b"content-length"]
            if not _is_number(length):
                self._fail(f"content-length reads {length[:20]!r}", at)
                return False
            self._state, self._left = "sized", int(length)
        if self.waiting is not None:
            self.waiting.head(status, fields.get(b"content-type", b"").startswith(b"text/event-stream"))
        if self._state == "sized" and self._left == 0:
            self._end(at)
        return True

    def _give(self, piece: bytes, at: float) -> None:
        self._body_bytes += len(piece)
        if self._body_bytes > LARGEST_BODY:
            self._fail(f"the answer is longer than {LARGEST_BODY >> 20} MiB", at)
        elif self.waiting is not None:
            self.waiting.body(piece, at)

    def _end(self, at: float) -> None:
        waiting, self.waiting = self.waiting, None
        if not self.keeps:
            self.close()
        if waiting is not None:
            waiting.ended(at)

    def _fail(self, reason: str, at: float) -> None:
        waiting, self.waiting = self.waiting, None
        self.close()
        if waiting is not None:
            waiting.lost(reason, at, is_stale=False)


def _is_number(text: bytes) -> bool:
    """Digits, and no more of them than a status or a length can have: Python converts no number of thousands."""
    return text.isdigit() and len(text) < 16
