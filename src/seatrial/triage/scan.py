"""Chunks to events: the distinct lines of a log worth judging, each at its first place, with its traceback.

In: a `LogFile`. Out: `Scan` (events, context, counts). Memory is bounded by the number of distinct lines, which is
capped (what the cap leaves out is counted in `overflow`), and by what is kept of each once they have taken much. A
small input is looked at line by line, a large one through the gates. Past 250 lines, as what is kept of a line and the
bounds on it are one state.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

import msgspec

from seatrial.triage import gates
from seatrial.triage.lines import Line, Object, opened
from seatrial.triage.prefixes import MAX_OBJECT, Prefixes
from seatrial.triage.read import LogFile
from seatrial.triage.record import Event, Frame
from seatrial.triage.tracebacks import CARETS, FRAME, body, raised, running, shift

SMALL = 2 << 20
WINDOW = 96 << 10
# The head of a large log is read line by line all the same: the command and the engine's arguments stand there.
HEAD = 256 << 10
SHIFT_WINDOW = 4096
DUMP = 64 << 10  # of a dying interpreter's stack
MAX_EVENTS = 20_000
# Failures find room where requests, of which each is a line of its own, have taken all.
RESERVED = 4_000
MAX_LINE_BYTES = 8192
# Bytes of texts and frames that a log leaves in memory whole; behind that an event keeps the head and the innermost.
KEPT = 16 << 20
SHORT = 1000
FEW_FRAMES = 4
MAX_KEY = 200  # a longer line is known again by its digest
DIGITS = re.compile(rb"0x[0-9a-fA-F]+|\d+")
READY = re.compile(
    r"Application startup complete|The server is fired up and ready|Uvicorn running on|Starting vLLM (?:API )?server on"
)
CONTEXT = re.compile(
    r"^\s{0,8}(?:\$|#|>>>|\+ )|vllm serve|api_server|launch_server|non-default args|server_args=|LLM\(|"
    r"Initializing a V\d LLM engine|^\s{0,8}(?:export|docker|pip|python3?|VLLM_|ASCEND_|HCCL_)|--[a-z][a-z-]{2,40}|"
    r"\bPOST /(?:sleep|wake_up)\b|seconds to (?:fall asleep|wake up)"
)
# What was typed, not what was answered: it tells the context and never reports a failure.
PROMPT = re.compile(
    r"\s{0,8}(?:\$|#|>>>|\+{1,3}|(?:\([\w.-]{1,40}\) ?)?\[?[\w.-]{1,40}@[\w.-]{1,60}[^$#]{0,60}[$#]) {1,4}[\w./\"'~]"
)
REQUEST = re.compile(rb'"POST /')
# Lines whose order and number matter, so that a repetition counts: an engine may sleep twice.
STATE = re.compile(r"\bPOST /(?:sleep|wake_up)\b|seconds to (?:fall asleep|wake up)")
OF_STATE = -2
EXIT_CODE = re.compile(rb"[Ee]xit[ _]?(?:[Cc]ode|status)[ :=]{0,8}-?\d{1,4}")
MAX_CONTEXT = 64 << 10


class Scan(msgspec.Struct, kw_only=True):
    """What one file gave."""

    events: list[Event]
    context: list[str]
    lines: int = 0
    size: int = 0
    sha256: str = ""
    dropped: str = ""
    ready: bool = False
    requests: int = 0
    overflow: int = 0
    plain: list[tuple[int, str]] = []
    last_time: str = ""


class Scanner:
    """Reads one file. Not reusable."""

    def __init__(self, file: LogFile, *, order: int = 0, every_line: bool | None = None, before: bytes = b"") -> None:
        self.file = file
        self.order = order
        self.every_line = every_line
        self.result = Scan(events=[], context=[])
        self._known: dict[bytes, int] = {}  # masked line to its event; -1 for one of no interest; OF_STATE
        self._context_size = 0
        self._kept = 0
        self._frames: dict[tuple[Frame, ...], tuple[Frame, ...]] = {}
        self._prefixes = Prefixes()
        self._before = before  # the end of the previous chunk

    def run(self, *, hashed: bool = False) -> Scan:
        """Read to the end."""
        result = self.result
        last = b""
        for chunk in self.file.chunks(hashed=hashed):
            every = self.every_line
            if every is None:
                every = result.size + len(chunk) <= SMALL
            self._prefixes.learn(chunk)
            self._chunk(chunk, every)
            result.lines += chunk.count(b"\n")
            result.size += len(chunk)
            result.requests += len(REQUEST.findall(chunk)) if b'"POST /' in chunk else 0
            self._before = (self._before + chunk)[-WINDOW:] if len(chunk) < WINDOW else chunk[-WINDOW:]
            last = chunk
        if last and not last.endswith(b"\n"):
            result.lines += 1
        self._cut_tail()
        result.sha256 = self.file.sha256 if hashed else ""
        result.dropped = self.file.dropped
        return result

    def _cut_tail(self) -> None:
        """A log that ends inside a traceback: its last frame is all there is of the exception."""
        lines = [self._prefixes.parse(raw) for raw in re.split(rb"[\r\n]+", self._before) if raw.strip()][-400:]
        while lines and CARETS.match(lines[-1].text):
            lines.pop()
        if len(lines) < 2 or lines[-1].text[:4].strip() or raised(lines[-1].text):
            return
        last = lines[-1]
        above = next((x for x in reversed(lines[:-1]) if x.stream() == last.stream()), None)
        if above is None or not FRAME.match(above.text):
            return
        found = body(lines, Line(*last[:4], ""))
        code = last.text.strip()
        self.result.events.append(
            Event(
                text=f"AssertionError: {code}" if code.startswith("assert ") else f"(cut off) {code}",
                file=self.file.name,
                line=self.result.lines,
                order=(self.order << 40) + self.result.size,
                process=last.process,
                time=last.time or self.result.last_time,
                level=last.level,
                exception="AssertionError" if code.startswith("assert ") else "CutOff",
                frames=found.frames,
                processes=[last.process] if last.process else [],
                ready=self.result.ready,
                requests=self.result.requests,
            )
        )

    def _chunk(self, chunk: bytes, every: bool) -> None:
        found = _all_lines(chunk) if every else sorted({**dict(gates.loud(chunk)), **dict(gates.hits(chunk))}.items())
        if not every and self.result.size == 0 and self.file.start == 0:
            head = max(chunk.rfind(b"\n", 0, HEAD), chunk.rfind(b"\r", 0, HEAD)) + 1
            found = _all_lines(chunk[:head]) + [span for span in found if span[0] >= head]
        line_number = self.result.lines + 1
        counted_to = 0
        previous = b""
        for start, end in found:
            limit = MAX_OBJECT if chunk.startswith(b'{"', start) else MAX_LINE_BYTES
            raw = chunk[start : min(end, start + limit)]
            if len(raw.strip()) < 4:
                continue
            key = DIGITS.sub(b"#", raw)
            if len(key) < 200 and b": " not in key[-60:] and b"Err" in key:
                key += b"\n" + DIGITS.sub(b"#", previous if every else _line_before(chunk, start))
            if b"xit" in raw and (code := EXIT_CODE.search(raw)):
                key += code[0]  # one worker was told to stop, another was killed
            previous = raw
            key = digest(key)
            known = self._known.get(key)
            if known is not None:
                self._seen(known, raw)
                continue
            line_number += chunk.count(b"\n", counted_to, start)
            counted_to = start
            self._known[key] = self._new(chunk, raw, start, line_number)
            if len(self._known) > 4 * MAX_EVENTS:
                self._known = {k: v for k, v in self._known.items() if v != -1}

    def _context(self, text: str) -> None:
        if self._context_size < MAX_CONTEXT:
            self.result.context.append(text[:2000])
            self._context_size += min(len(text), 2000)

    def _seen(self, known: int, raw: bytes) -> None:
        if known >= 0:
            self._again(known, raw)
        elif known == OF_STATE:
            self._context(self._prefixes.parse(raw).text)

    def _again(self, index: int, raw: bytes) -> None:
        event = self.result.events[index]
        event.count += 1
        if event.count < 64:
            process = self._prefixes.parse(raw).process
            if process and process not in event.processes:
                event.processes.append(process)

    def _new(self, chunk: bytes, raw: bytes, start: int, line_number: int) -> int:
        if raw.startswith(b'{"') and (found := opened(raw.decode("utf-8", "replace"))) and len(found.lines) > 1:
            return self._unfold(found, chunk, start, line_number)
        return self._line(chunk, self._prefixes.parse(raw), start, line_number)

    def _unfold(self, told: Object, outer: bytes, place: int, line_number: int) -> int:
        """A JSON object with a whole traceback in it, as if the log held its lines one by one; the last event of it."""
        result = self.result
        if told.time:
            result.last_time = told.time
        plain, first, last = len(result.plain), len(result.events), -1
        requests = len(REQUEST.findall(outer, 0, place)) if result.ready else 0
        before, self._before = self._before, b""  # nothing outside belongs to these lines
        chunk = "\n".join(told.lines).encode("utf-8", "replace")
        for start, end in _all_lines(chunk):
            raw = chunk[start : min(end, start + MAX_LINE_BYTES)]
            key = DIGITS.sub(b"#", raw)
            if b": " not in key and b"Err" in key:
                key += b"\n" + DIGITS.sub(b"#", _line_before(chunk, start))
            key = digest(key)
            known = self._known.get(key)
            if known is not None:
                self._seen(known, raw)
                last = max(last, known)
                continue
            self._known[key] = index = self._line(chunk, self._prefixes.parse(raw), start, line_number)
            if index >= 0:
                last = index
                result.events[index].order += place
                result.events[index].requests += requests
        self._before = before
        for event in result.events[first:]:
            event.level = event.level or told.level
        if told.level:
            del result.plain[plain:]
        return last

    def _line(self, chunk: bytes, line: Line, start: int, line_number: int) -> int:
        result = self.result
        if not line.level and len(result.plain) < 400 and len(line.text) < 2000:
            result.plain.append((line_number, line.text))
        if line.time:
            result.last_time = line.time
        text = line.text
        if not text:
            return -1
        if READY.search(text):
            result.ready = True
            return -1
        if CONTEXT.search(text) and not text.startswith("  File"):
            self._context(text)
            if STATE.search(text):
                return OF_STATE
        if not line.level and PROMPT.match(text):
            return -1
        columns = 0
        if text[0] == " ":
            columns = shift(text, chunk[max(0, start - SHIFT_WINDOW) : start].decode("utf-8", "replace"))
            if columns:
                text = text[columns:]
                line = line._replace(text=text)
        if text[0] in " \t" and (FRAME.match(text) or _is_code(self._prefixes.parse, line, chunk, start)):
            return -1
        if full(result.events, line.level, text):
            result.overflow += 1
            return -1
        event = Event(
            text=text,
            file=self.file.name,
            line=line_number,
            order=(self.order << 40) + result.size + start,
            process=line.process,
            time=line.time or result.last_time,
            level=line.level,
            logger=line.logger,
            processes=[line.process] if line.process else [],
            ready=result.ready,
            requests=result.requests + (len(REQUEST.findall(chunk, 0, start)) if result.ready else 0),
        )
        if text.startswith("Fatal Python error"):
            behind = [self._prefixes.parse(raw) for raw in chunk[start : start + DUMP].split(b"\n")[1:-1]]
            event.frames = running(behind, line)
        self._traceback(event, line, chunk, start, columns)
        self._keep(event)
        return len(result.events) - 1

    def _keep(self, event: Event) -> None:
        if self._kept > KEPT:
            event.text = event.text[:SHORT]
            event.message = event.message[:SHORT]
            event.frames = event.frames[-FEW_FRAMES:]
        self._kept += len(event.text) + len(event.message)
        if event.frames:
            if event.frames not in self._frames:
                self._frames[event.frames] = event.frames
                self._kept += sum(len(f.path) + len(f.function) + len(f.code) + 300 for f in event.frames)
            event.frames = self._frames[event.frames]
        self.result.events.append(event)

    def _traceback(self, event: Event, line: Line, chunk: bytes, start: int, columns: int) -> None:
        found = raised(line.text, after_frame=True)
        if found is None:
            return
        window = chunk[max(0, start - WINDOW) : start]
        if start < WINDOW:
            window = self._before[-(WINDOW - start) :] + window
        before = [self._prefixes.parse(raw) for raw in re.split(rb"\r?\n", window)[-600:]]
        if columns:
            left = " " * columns
            before = [b._replace(text=b.text[columns:]) if b.text.startswith(left) else b for b in before]
        part = body(before, line)
        named = raised(line.text)
        if named is None and not part.frames:
            return
        event.exception = found.exception
        event.message = found.message
        event.frames = part.frames
        if part.link:
            for index in range(len(self.result.events) - 1, -1, -1):
                if self.result.events[index].exception and self.result.events[index].process == event.process:
                    event.chained_to = self.result.events[index].order
                    break


def digest(key: bytes) -> bytes:
    """What stands for a masked line: itself, or where it is long sixteen bytes."""
    return key if len(key) <= MAX_KEY else hashlib.blake2b(key, digest_size=16).digest()


def full(events: Sequence[Event], level: str, text: str) -> bool:
    """Whether there is no room for a line; one that tells of a failure has some left."""
    if len(events) < MAX_EVENTS:
        return False
    urgent = level in {"ERROR", "FATAL", "CRITICAL"} or raised(text) is not None or "Fatal" in text[:16]
    return not urgent or len(events) >= MAX_EVENTS + RESERVED


def _is_code(parse: Callable[[bytes], Line], line: Line, chunk: bytes, start: int) -> bool:
    """Whether an indented line shows the source of the frame above it: it then quotes, it does not report."""
    for raw in reversed(chunk[max(0, start - 4096) : start].splitlines()[-40:]):
        above = parse(raw)
        if above.stream() != line.stream():
            continue
        if FRAME.match(above.text):
            return True
        if not above.text or above.text[0] not in " \t":
            return False
    return False


def _line_before(chunk: bytes, start: int) -> bytes:
    end = max(0, start - (2 if chunk[max(0, start - 2) : start] == b"\r\n" else 1))
    near = chunk[max(0, end - MAX_LINE_BYTES) : end]  # a line end is looked for no farther: a chunk may have none
    return near[max(near.rfind(b"\n"), near.rfind(b"\r")) + 1 :]


def _all_lines(chunk: bytes) -> list[tuple[int, int]]:
    return [m.span() for m in re.finditer(rb"[^\r\n]+", chunk)]
