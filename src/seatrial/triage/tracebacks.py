"""Tracebacks, read backwards from the line that names the exception.

Backwards, because logs are interleaved, cut at the head, and often lack the "Traceback" header: the exception line is
the one part that is always there. In: the lines before it (oldest first). Out: frames (outermost first) and the link
to the exception before, if the traceback is chained.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from seatrial.triage.lines import Line
from seatrial.triage.record import Frame, Link

FRAME = re.compile(r'\s{0,12}File "([^"]{1,400})", line (\d{1,7})(?:, in (\S{1,200}))?')
CARETS = re.compile(r"\s{0,400}[~^][~^ ]{0,400}$")
CAUSE = "The above exception was the direct cause of the following exception"
CONTEXT = "During handling of the above exception, another exception occurred"
MAX_FRAMES = 120
# Class names that end a traceback. Dotted or not; the last part starts with a capital or ends with Error/Exception.
NAMED = re.compile(
    r"((?:[A-Za-z_]\w{0,60}\.){0,8}[A-Za-z_]\w{0,60}"
    r"(?:Error|Exception|Warning|Interrupt|Timeout|Exit|Unsupported|OutOfResources|NotFound|Failed|Empty|Full|Iteration))"
    r"(?:: ?(.*)|\s*)$"
)
ANY_CLASS = re.compile(r"((?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]\w{0,60})(?:: (.*)|\s*)$")
BUILTIN = re.compile(r"(?:Assertion|Attribute|Import|Index|Key|Name|OS|Runtime|Type|Value)Error$")


# faulthandler's spelling of a frame, innermost first.
RUNNING = re.compile(r'\s{1,4}File "([^"]{1,400})", line (\d{1,7}) in (\S{1,200})')


def running(behind: Sequence[Line], head: Line) -> tuple[Frame, ...]:
    """The frames (outermost first) of the thread that died, from the lines behind `head`, where its dump begins."""
    frames: list[Frame] = []
    current = False
    for line in behind:
        if line.stream() != head.stream():
            continue
        if not current:
            current = line.text.startswith("Current thread")
            continue
        match = RUNNING.match(line.text)
        if match is None or len(frames) >= MAX_FRAMES:
            break
        frames.append(Frame(path=match[1], line=int(match[2]), function=match[3]))
    return tuple(reversed(frames))


class Raised(NamedTuple):
    """An exception line: its class with module, and its message."""

    exception: str
    message: str


def raised(text: str, *, after_frame: bool = False) -> Raised | None:
    """Whether `text` is the last line of a traceback."""
    if not text or text[0] in " \t":
        return None
    if m := NAMED.match(text):
        if not m[1].endswith("Warning") or after_frame:
            return Raised(m[1], (m[2] or "").strip())
    elif after_frame and (m := ANY_CLASS.match(text)):
        return Raised(m[1], (m[2] or "").strip())
    return None


# A whole traceback that a scheduler or a CI system shifted to the right: the exception stands two columns left of
# the frames.
SHIFTED = re.compile(r"( {1,16})(?=(?:[A-Za-z_]\w{0,60}\.){0,8}\w{0,60}(?:Error|Exception|Timeout)(?::|$))")


def shift(text: str, before: str) -> int:
    """By how many columns an exception line and its frames (in `before`, the text above) are shifted; 0 for none."""
    match = SHIFTED.match(text)
    if match is None or "Error(" in text or f'\n{match[1]}  File "' not in before:
        return 0
    return len(match[1])


class Body(NamedTuple):
    """The part of a traceback above its last line; `link` is set when another exception stands above it."""

    frames: tuple[Frame, ...]
    link: Link
    header: bool


def body(before: Sequence[Line], last: Line) -> Body:
    """Collect the frames of the traceback that `last` ends from the lines `before` it (same stream only)."""
    stream = last.stream()
    frames: list[Frame] = []
    code: list[str] = []
    link: Link = ""
    header = False
    misses = 0
    for line in reversed(before):
        if line.stream() != stream:
            continue
        text = line.text
        if header:
            if CAUSE in text:
                link = "cause"
            elif CONTEXT in text:
                link = "context"
            elif not text:
                continue
            break
        if m := FRAME.match(text):
            source = code[-1].strip() if code else ""
            frames.append(Frame(path=m[1], line=int(m[2]), function=m[3] or "", code=source[:300]))
            code = []
            misses = 0
            if len(frames) >= MAX_FRAMES:
                break
        elif text.startswith("Traceback (most recent call last)"):
            header = True
        elif not text or text.lstrip().startswith(("[Previous line repeated", "|", "+")):
            continue
        elif text[0] in " \t":
            if not CARETS.match(text):
                code.append(text)
        else:
            # A line of the message itself, or the end of what belongs together.
            misses += 1
            if misses > (0 if frames else 3) or raised(text):
                break
    frames.reverse()
    return Body(tuple(frames), link, header)
