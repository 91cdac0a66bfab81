"""The first error in a server's log that is no wrapper around another one, and what triage makes of it.

In: a log of any size, streamed twice (by triage and here) in constant memory. Out: `LogError`, or None if the log shows
no error. Triage says what kind of failure it is; where it finds no first cause, or the engine printed a native crash,
the line is the one found here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from seatrial.core.record import Record, replace
from seatrial.triage import UNKNOWN, diagnose

LONGEST_LINE = 65536
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# `(EngineCore pid=1) ERROR 11-20 14:26:05 [core.py:1512] text`; every part may be missing.
PREFIX = re.compile(
    r"^(?:\((?P<process>[^)]{1,60} pid=\d+)\)\s?)?(?:(?P<level>[A-Z]{4,8}) +\d\d-\d\d \d\d:\d\d:\d\d \[[^\]]+\] ?)?"
)
EXCEPTION = re.compile(
    r"^(?:[A-Za-z_][\w]*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Warning|Failure|Fault)\b(?::.*)?$"
)
NATIVE = re.compile(
    r"Segfault encountered|Fatal Python error|Segmentation fault|core dumped|std::bad_alloc|Out of memory"
)
# A line without any of these, outside a traceback, is none of the below: most of a log is passed over by this alone.
HINTS = (b"rror: ", b"Traceback", b"ERROR", b"CRITICAL", b"egfault", b"Fatal Python", b"egmentation fault",
         b"core dumped", b"bad_alloc", b"Out of memory")  # fmt: skip
BLOCK = 4 << 20
DIED = re.compile(r"died unexpectedly")
# Lines that only pass another process's failure on (vLLM 0.11 to 0.32).
WRAPPER = re.compile(
    r"EngineCore failed to start|EngineCore encountered|Engine core initialization failed|EngineDeadError|"
    r"WorkerProc failed to start|WorkerProc initialization failed|WorkerProc hit an exception|"
    r"^Traceback \(most|Error in inspecting model|Error raised in subprocess|failed to be inspected|"
    r"AsyncLLM output_handler failed|Dumping |^\s*$|^\s*\^+\s*$|^\s+"
)
# An exception that says nothing but its name (a failed `assert`) is told with its place.
BARE = re.compile(r"^[\w.]+$")
FRAME = re.compile(r'^\s+File "(?:[^"]*/)?([^"/]+)", line (\d+), in ')
CARETS = re.compile(r"^[\s^~]*$")


class LogError(Record):
    """`line` counts from 1; `text` is without the logger's prefix; `process` as the engine names it, or "". An
    exception without a message has its last frame and that line of code behind its name.

    `kind`: exception, native-crash, process-death, logged. The rest is triage's, "" where it has no opinion.
    """

    line: int
    text: str
    process: str
    kind: str
    category: str = ""
    signature: str = ""
    explanation: str = ""
    next_step: str = ""


def first_error(log: Path) -> LogError | None:
    """The first error with triage's category, explanation and next step (empty where it knows none)."""
    plain = plain_error(log)
    told = diagnose([log])
    cause = told.first_cause
    # Where no signature fits, triage may name the first sign of the death; an exception of the log's says more.
    died = told.signature == "deaths.after-ready" and plain is not None and plain.kind == "exception"
    passed_on = cause is not None and plain is not None and (died or WRAPPER.search(cause.text))
    if cause is not None and plain is not None and told.category == UNKNOWN and not cause.exception:
        passed_on = True  # a line that nobody knows: this part's own reading of the log says of what kind it is
    if cause is not None and not passed_on and (plain is None or plain.kind != "native-crash"):
        plain = LogError(line=cause.line, text=cause.text[:2000].strip(), process=cause.process, kind="exception")
    if plain is not None and BARE.match(plain.text):
        plain = replace(plain, text=plain.text + _place(log, plain.line))
    if plain is None or told.category == UNKNOWN:
        return plain
    return LogError(
        line=plain.line,
        text=plain.text,
        process=plain.process,
        kind=plain.kind,
        category=told.category,
        signature=told.signature,
        explanation=told.explanation,
        next_step=told.next_step,
    )


def _place(log: Path, line: int) -> str:
    """The frame right above a line of the log, in the lines of the same process: " (file.py line 3: code)", or ""."""
    frames: dict[str, str] = {}
    for number, raw in enumerate(lines_of(log), 1):
        match = PREFIX.match(raw)
        process = (match.group("process") or "") if match else ""
        if number == line:
            return f" ({frames[process][:300]})" if frames.get(process) else ""
        text = raw[match.end() :] if match else raw
        frame = FRAME.match(text)
        if frame:
            frames[process] = f"{frame[1]} line {frame[2]}"
        elif not text[:1].isspace():
            frames.pop(process, None)
        elif process in frames and ": " not in frames[process] and not CARETS.match(text):
            frames[process] += f": {text.strip()}"
    return ""


def plain_error(log: Path) -> LogError | None:
    """Exception lines after a traceback and native crashes first; else the first ERROR line; else a worker's death."""
    logged: LogError | None = None
    inside: set[str] = set()
    for number, raw in _telling(log, inside):
        match = PREFIX.match(raw)
        process = (match.group("process") or "") if match else ""
        level = (match.group("level") or "") if match else ""
        text = raw[match.end() :] if match else raw
        if NATIVE.search(text):
            return LogError(line=number, text=text.strip()[:500], process=process, kind="native-crash")
        if text.startswith("Traceback (most recent call last)"):
            inside.add(process)
        elif process in inside and text and not text[0].isspace():
            inside.discard(process)
            if EXCEPTION.match(text) and not WRAPPER.search(text):
                return LogError(line=number, text=text.strip()[:2000], process=process, kind="exception")
        if logged is None and level in ("ERROR", "CRITICAL") and not WRAPPER.search(text) and process not in inside:
            kind = "process-death" if DIED.search(text) else "logged"
            logged = LogError(line=number, text=text.strip()[:2000], process=process, kind=kind)
        elif logged is None and re.match(r"^\S*[Ee]rror: ", text) and EXCEPTION.match(text):
            logged = LogError(line=number, text=text.strip()[:2000], process=process, kind="exception")
    return logged


def _telling(log: Path, inside: Collection[str]) -> Iterator[tuple[int, str]]:
    """Lines (numbered from 1) with a hint, and all lines while `inside`, which the caller changes, is not empty.

    A gigabyte without a hint is read in blocks and searched as bytes: a tenth of the time of going line by line.
    """
    number = 0
    with log.open("rb") as stream:
        while block := stream.read(BLOCK):
            if not block.endswith(b"\n"):
                block += stream.readline(LONGEST_LINE)
            while not block.endswith(b"\n"):
                # The rest of an endless line is dropped.
                rest = stream.readline(LONGEST_LINE)
                if not rest or rest.endswith(b"\n"):
                    block += b"\n"
            at = 0
            next_hint = {hint: block.find(hint) for hint in HINTS}
            while at < len(block):
                if not inside:
                    for hint, place in next_hint.items():
                        if 0 <= place < at:
                            next_hint[hint] = block.find(hint, at)
                    hit = min((p for p in next_hint.values() if p >= at), default=-1)
                    if hit < 0:
                        number += block.count(b"\n", at)
                        break
                    start = block.rfind(b"\n", at, hit) + 1 or at
                    number += block.count(b"\n", at, start)
                    at = start
                end = block.find(b"\n", at)
                line = block[at : end if end >= 0 else len(block)]
                number += 1
                at += len(line) + 1
                text = line[:LONGEST_LINE].decode(errors="replace").rstrip("\r")
                yield number, ANSI.sub("", text) if "\x1b" in text else text


def lines_of(log: Path) -> Iterator[str]:
    """Lines without their end, at most LONGEST_LINE characters each; the rest of a longer one is dropped."""
    with log.open("rb") as stream:
        while True:
            data = stream.readline(LONGEST_LINE)
            if not data:
                return
            whole = data.endswith(b"\n")
            text = data.decode(errors="replace").rstrip("\r\n")
            yield ANSI.sub("", text) if "\x1b" in text else text
            while not whole:
                rest = stream.readline(LONGEST_LINE)
                whole = not rest or rest.endswith(b"\n")
