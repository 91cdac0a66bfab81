"""One request under way: takes the pieces of its answer, ends as a `RequestRecord`."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from seatrial.core.secrets import REDACTED
from seatrial.measure.load.dataset import Planned
from seatrial.measure.load.records import How, RequestRecord

LARGEST_EVENT, LONGEST_ERROR = 1 << 20, 64 << 10


class _Delta(msgspec.Struct):
    content: Any = None
    role: Any = None
    reasoning: Any = None
    reasoning_content: Any = None
    tool_calls: Any = None


class _Choice(msgspec.Struct):
    text: Any = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Event(msgspec.Struct):
    """What is read of an OpenAI-compatible answer or of one event of its stream."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


DECODER = msgspec.json.Decoder(_Event)


def _carries_tokens(choice: _Choice) -> bool:
    """Does the piece stand for tokens? A token may have no text of its own (half a character, a special token);
    what has neither text nor a place in the middle of the answer is the server's opening or closing word.
    """
    part = choice.delta or choice.message
    if part is not None:
        return bool(part.content or part.reasoning or part.reasoning_content or part.tool_calls) or (
            part.content == "" and part.role is None and choice.finish_reason is None
        )
    return bool(choice.text) or (choice.text == "" and choice.finish_reason is None)


class Exchange:
    """See the module's text. `origin` is the run's zero on `time.monotonic()`; `done` is set at the end.

    `secret` is the service's key: a server that repeats it in an error is not quoted with it.
    """

    def __init__(
        self, index: int, planned: Planned, *, warmup: bool, intended: float, origin: float, secret: str = ""
    ) -> None:
        self.secret = secret
        self.index, self.planned, self.warmup = index, planned, warmup
        self.intended, self.origin = intended, origin
        self.sent: float | None = None
        self.resent = False
        self.status: int | None = None
        self.record: RequestRecord | None = None
        self.is_stale = False
        self.done = asyncio.Event()
        self._is_stream = False
        self._pending = b""
        self._chunks: list[float] = []
        self._usage: _Usage | None = None
        self._finish = ""
        self._error = ""
        self._complete = False
        self._said_anything = False

    def head(self, status: int, is_stream: bool) -> None:
        self.status, self._is_stream = status, is_stream

    def body(self, data: bytes, at: float) -> None:
        self._pending = self._pending + data if self._pending else data
        if not self._is_stream or self.status != 200:
            return
        while True:
            # Servers end an event with an empty line, in either convention.
            event, found, rest = self._pending.partition(b"\n\n")
            if not found:
                event, found, rest = self._pending.partition(b"\r\n\r\n")
                if not found:
                    break
            self._pending = rest
            self._event(event, at)
        if len(self._pending) > LARGEST_EVENT:
            self._error, self._pending = "an event of the stream does not end", b""

    def _event(self, event: bytes, at: float) -> None:
        for line in event.splitlines():
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                self._complete = True
            else:
                self._document(data, at)

    def _document(self, data: bytes, at: float | None) -> None:
        try:
            event = DECODER.decode(data)
        except (msgspec.DecodeError, RecursionError) as exc:
            self._error = self._error or f"an answer that is not OpenAI's: {exc}"[:200]
            return
        if event.error is not None:
            self._error = self._error or self._told(str(event.error))
        self._usage = event.usage or self._usage
        for choice in event.choices:
            self._finish = choice.finish_reason or self._finish
            if _carries_tokens(choice):
                self._said_anything = True
                if at is not None:
                    self._chunks.append(at - self.origin)
                break

    def _told(self, text: str) -> str:
        """A server's words on one line, without the key, cut to a bearable length."""
        text = text.replace(self.secret, REDACTED) if self.secret else text
        return " ".join(text.split())[:300]

    def ended(self, at: float) -> None:
        if self.status != 200:
            text = self._told(self._pending[:LONGEST_ERROR].decode(errors="replace"))
            self.finish("http-error", at, f"HTTP {self.status}: {text}")
            return
        if not self._is_stream:
            self._document(self._pending, None)
            self._complete = True
        counted = self._usage.completion_tokens if self._usage is not None else None
        if self._error:
            self.finish("stream-error", at, self._error)
        elif not self._complete:
            self.finish("cut", at, "the stream ended without [DONE]")
        elif not self._said_anything and not counted:
            self.finish("empty", at, "HTTP 200 without a single token")
        else:
            self.finish("ok", at)

    def lost(self, reason: str, at: float, *, is_stale: bool) -> None:
        if self._complete and not self._error:
            self.finish("ok", at)
        elif is_stale and not self.resent:
            self.is_stale = True
            self.done.set()
        else:
            self.finish("cut", at, reason)

    def again(self) -> None:
        """Make ready to be sent once more; the time it was first sent stays."""
        self.is_stale, self.resent = False, True
        self.done.clear()

    def finish(self, how: How, at: float, error: str = "") -> None:
        """End it; a second end counts for nothing."""
        if self.record is not None:
            return
        usage = self._usage or _Usage()
        self.record = RequestRecord(
            index=self.index,
            warmup=self.warmup,
            intended_s=self.intended - self.origin,
            sent_s=self.sent - self.origin if self.sent is not None else None,
            first_s=self._chunks[0] if self._chunks else None,
            end_s=at - self.origin,
            chunks_s=tuple(self._chunks),
            prompt_tokens=usage.prompt_tokens if usage.prompt_tokens is not None else self.planned.prompt_tokens,
            output_tokens=usage.completion_tokens,
            asked_tokens=self.planned.output_tokens,
            how=how,
            status=self.status,
            finish_reason=self._finish,
            error=error,
            resent=self.resent,
            sent_tokens=self.planned.prompt_tokens,
        )
        self._pending = b""
        self.done.set()
