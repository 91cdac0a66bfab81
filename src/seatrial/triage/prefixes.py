"""Prefixes that lines.py does not know (srun, syslog, loguru, `grep -n`, a quote), learned from tracebacks.

A traceback shows its own prefix: what stands before "Traceback (most recent call last):" stands, but for digits, before
the frame below it too. In: chunks of a log. Out: its lines parsed, without the prefixes learned so far.
"""

from __future__ import annotations

import re

from seatrial.triage.lines import Line, parse

HEADER = b"Traceback (most recent call last):"
FRAME = re.compile(r'\s{1,4}File "')
LOUD = re.compile(r"\b(ERROR|CRITICAL|FATAL|error|critical|fatal)\b")
# What changes from line to line though one process wrote them.
CLOCK = re.compile(r"(?:[A-Z][a-z]{2} {1,2}\d{1,2} )?\d\d:\d\d:\d\d(?:[.,]\d{1,9})?Z?|\d{4}-\d\d-\d\d[T ]?")
SOURCE = re.compile(r"\.[a-z]{1,4}:\d{1,6}\W*$")
NUMBER = re.compile(r"\d{1,20}")
DIGITS = re.compile(rb"\d+")
MAX_PREFIX = 120
MAX_PREFIXES = 8
MAX_HEADERS = 400  # of different shapes that are looked at
MAX_LINE = 8192
MAX_OBJECT = 64 << 10  # of a JSON object: cut, it could not be decoded
BEHIND = 60  # lines below a header in which its frame is looked for


class Prefixes:
    """The prefixes of one log. Not reusable."""

    def __init__(self) -> None:
        self._known: list[_Prefix] = []
        self._looked_at: set[bytes] = set()  # shapes of what stood before a header

    def learn(self, chunk: bytes) -> None:
        """Take in the prefixes of the tracebacks that begin in this chunk."""
        at = chunk.find(HEADER)
        if at >= 0 and b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            at = chunk.find(HEADER)
        while at >= 0 and len(self._known) < MAX_PREFIXES:
            start = chunk.rfind(b"\n", 0, at) + 1
            end = chunk.find(b"\n", at)
            if end < 0:
                break  # nothing stands below it
            shape = DIGITS.sub(b"#", chunk[max(start, at - MAX_PREFIX) : at])
            if start < at and shape not in self._looked_at and len(self._looked_at) < MAX_HEADERS:
                self._looked_at.add(shape)
                self._take(chunk[start:end], chunk[end + 1 : end + 1 + 4 * MAX_LINE])
            at = chunk.find(HEADER, end)

    def _take(self, header: bytes, behind: bytes) -> None:
        text = self.parse(header).text
        prefix = _outer(text, text.find(HEADER.decode()))
        if not prefix.strip() or len(prefix) > MAX_PREFIX:
            return
        found = _Prefix(prefix)
        name = CLOCK.sub("", prefix)
        seen: set[str] = set()
        for raw in behind.split(b"\n")[:BEHIND]:  # the frame may stand behind lines of other processes
            line = parse(raw[:MAX_LINE].decode("utf-8", "replace"))
            match = found.pattern.match(line.text)
            if match and FRAME.match(parse(line.text[match.end() :]).text):
                seen.add(CLOCK.sub("", match[0]))
        if seen:
            # Where nobody wrote twice with the same number, the numbers are those of lines.
            found.counts = name not in seen
            self._known.append(found)

    def parse(self, raw: bytes) -> Line:
        """One line; with a learned prefix it is read as if that were not there."""
        limit = MAX_OBJECT if raw.startswith(b'{"') else MAX_LINE
        line = parse(raw[:limit].decode("utf-8", "replace"))
        for prefix in self._known:
            if match := prefix.pattern.match(line.text):
                inner = parse(line.text[match.end() :])
                return Line(
                    inner.process or line.process or prefix.process(match[0]),
                    inner.time or line.time,
                    inner.level or line.level or prefix.level,
                    inner.logger or line.logger,
                    inner.text,
                )
        return line


def _outer(text: str, end: int) -> str:
    """What stands before the header, up to where prefixes begin that are known."""
    for space in re.finditer(r"\s", text[: min(end, MAX_PREFIX)]):
        inner = parse(text[space.end() :])
        if inner.text.startswith(HEADER.decode()) and any(inner[:4]):
            return text[: space.end()]
    return text[:end]


class _Prefix:
    """One shape: its digits are free; `counts` where they number the lines and name no process."""

    def __init__(self, text: str) -> None:
        parts, at = [], 0
        for number in NUMBER.finditer(text):
            parts += [re.escape(text[at : number.start()]), r"\d{1,20}"]
            at = number.end()
        self.pattern = re.compile("".join(parts) + re.escape(text[at:]))
        self.level = m[1].upper() if (m := LOUD.search(text)) else ""
        self.counts = False

    def process(self, prefix: str) -> str:
        """The name of the process that wrote a line with this prefix, "" where it holds none."""
        if self.counts or self.level or SOURCE.search(prefix):
            return ""
        name = CLOCK.sub("", prefix).strip(" \t:|>#-")
        return name if NUMBER.search(name) else ""
