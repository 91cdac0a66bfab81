"""An unknown failure becomes a candidate: a signature file and a failing test, for a person to review.

In: the log, its category, cause and fix. Out: two files below the given folder. Refuses an unknown category, a log with
no failure in it, and a log that the library already answers that way.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from seatrial.core.atomic import write_atomic
from seatrial.core.errors import UsageError
from seatrial.core.record import replace
from seatrial.triage.categories import CATEGORIES
from seatrial.triage.record import FirstCause
from seatrial.triage.redact import redact
from seatrial.triage.signature import PLUMBING
from seatrial.triage.similar import VARIABLE

MAX_PATTERN = 160
# The search tries every length of every free part: few of them, and seldom words between them, keep it short.
FREE = r".{1,200}?"
LONGEST = 200
MAX_FREE = 3
MIN_PART = 3  # letters
# Letters a message needs to be known by; below it the place of the failure must say which one it is.
MIN_LETTERS = 12
# What Python itself says, of whatever code: only the names in it and the place tell one such failure from another.
PYTHON = re.compile(
    r"object has no attribute|unexpected keyword argument|No module named|cannot import name|required positional|"
    r"is not defined|object is not |not supported between|referenced before assignment|No such file|has no attribute|"
    r"index out of range|positional arguments? but|unsupported operand|invalid literal for|to unpack|^KeyError|"
    r"object of type |must be \w{1,20}, not "
)
NUMBERS = re.compile(r"0x[0-9a-fA-F]+|/[\w./-]+|\d+(?:\.\d+)*")
NAME = re.compile(r"['\"][^'\"]*[A-Za-z]{3}[^'\"]*['\"]")


class Learned(NamedTuple):
    signature_file: Path
    test_file: Path


def fingerprint(text: str) -> str:
    """A regular expression for `text` in which numbers, paths, addresses and quoted names are free.

    The names stay where Python itself speaks: its words alone are those of every such failure.
    """
    return FREE.join(map(re.escape, _fixed(text))).replace("\\ ", " ").replace("\\-", "-")


def _fixed(text: str) -> list[str]:
    """The parts of the text that are the same in each failure; what is too short or repeated counts as free."""
    parts: list[str] = []

    def telling(part: str) -> bool:
        return _alphabetic(part) >= MIN_PART and not any(part.strip() in earlier for earlier in parts)

    at = begin = 0
    for match in _free(text).finditer(text[:1000]):
        if telling(text[at : match.start()]):
            parts.append(text[at : match.start()])
            begin = match.start()
        free = text[begin : match.end()]
        too_much = len(parts) > MAX_FREE or sum(map(len, parts)) > MAX_PATTERN
        if too_much or (parts and (len(free) > LONGEST or "\n" in free)):
            return parts
        at = match.end()
    last = text[at : at + MAX_PATTERN]
    return [*parts, last] if telling(last) else parts


def _alphabetic(text: str) -> int:
    return sum(c.isalpha() for c in text)


def learn(log: Path, *, category: str, cause: str, fix: str, into: Path) -> Learned:
    """Write the candidate; raises UsageError where there is nothing to learn."""
    from seatrial.triage import diagnose

    if category not in CATEGORIES:
        raise UsageError(f"{category!r} is not a category", mend=f"Known: {', '.join(CATEGORIES)}.")
    if not cause.strip() or not fix.strip():
        raise UsageError("a signature needs a cause and a fix", mend="Say both, each in one sentence.")
    answer = diagnose([log])
    if answer.category == category:
        raise UsageError(f"{log} is already answered {category} by {answer.signature}", mend="Nothing to learn.")
    if answer.first_cause is None:
        raise UsageError(
            f"no failure was found in {log}", mend="Cut the log to the lines of the failure, or add the worker's log."
        )
    first = _without_secrets(answer.first_cause)
    pattern = fingerprint(first.text)
    general = bool(PYTHON.search(first.text))
    place = "" if _letters(first) >= MIN_LETTERS and not general else _place(first)
    if not place and (not NAME.search(first.text) if general else _letters(first) < MIN_LETTERS):
        raise UsageError(
            f"{first.text[:80]!r} says too little to be known again, and {log} shows no frame of it",
            mend="Give the log with the traceback.",
        )
    identity = "learned." + hashlib.sha256(f"{category} {pattern} {place}".encode()).hexdigest()[:10]
    case = _case(first)
    name = identity.replace(".", "_")
    raised = first.exception.rpartition(".")[2]
    signature = f'''"""Candidate from {_plain(log.name)}: review, then move it into its family and delete this file."""

from seatrial.triage.signatures._make import EXACT, root

SIGNATURES = (
    root(
        {identity!r},
        {category!r},
        {pattern!r},
        EXACT,
        {cause!r},
        {fix!r},
        raised={raised!r},
        innermost={place!r},
        matches=({case!r},),
        learned=True,
    ),
)
'''
    test = f'''"""Fails until the candidate {identity} has been reviewed and moved into a family."""

from seatrial.triage import diagnose_text


def test_the_learned_failure_gets_its_category():
    assert diagnose_text({case!r}).category == {category!r}
'''
    made = Learned(into / f"{name}.py", into / f"test_{name}.py")
    _write(made.signature_file, signature)
    _write(made.test_file, test)
    return made


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_bytes() != text.encode():
            raise UsageError(f"{path} is there already and says something else", mend="Move it away, or edit it.")
        write_atomic(path, text.encode())
    except OSError as exc:
        raise UsageError(f"{path} cannot be written: {exc}", mend="Name another folder with --into.") from None


def _without_secrets(first: FirstCause) -> FirstCause:
    def clean(text: str) -> str:
        return redact(text.encode("utf-8", "replace"), homes=True).data.decode("utf-8", "replace")

    frames = tuple(replace(f, path=clean(f.path), code=clean(f.code)) for f in first.frames)
    return replace(first, text=clean(first.text), frames=frames)


def _plain(name: str) -> str:
    """A file's name as it may stand in a docstring."""
    return re.sub(r"[^\w. -]", "_", name)[:80]


def _letters(first: FirstCause) -> int:
    """How many letters of the message, without the class's name, are the same each time."""
    name, colon, _ = first.text.partition(":")
    if first.exception and not colon:
        return 0
    return sum(map(_alphabetic, _fixed(first.text))) - (_alphabetic(name) if first.exception else 0)


def _free(text: str) -> re.Pattern[str]:
    """What of the text is another in each failure."""
    return NUMBERS if PYTHON.search(text) else VARIABLE


def _place(first: FirstCause) -> str:
    """A pattern for the module and function that failed, as `innermost` looks at them; "" without frames."""
    if not first.frames:
        return ""
    last = first.frames[_innermost(first)]
    return re.escape("/".join(last.path.split("/")[-2:]) + ":" + last.function)


def _innermost(first: FirstCause) -> int:
    """Index of the last frame that is no plumbing."""
    places = [f"{frame.path}:{frame.function}" for frame in first.frames]
    own = [i for i, place in enumerate(places) if not PLUMBING.search(place)]
    return own[-1] if own else len(places) - 1


def _case(first: FirstCause) -> str:
    frames = "".join(
        f'  File "{f.path}", line {f.line}, in {f.function}\n' + (f"    {f.code}\n" if f.code else "")
        for f in first.frames[min(_innermost(first), max(0, len(first.frames) - 2)) :]
    )
    return frames + first.text[:1000]
