"""Questions the user supplies: JSON Lines with `question` and `answer`, optionally `id` and `subset`.

In: a file. Out: `Questions`. Refuses (UsageError): no such file, no question in it. Refuses (FileFormatError): a line
that is no object with both fields, an id used twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record

LARGEST = 256 << 20
# The answer is what stands behind the last of these words, else the last number, letter choice or whole line.
MARKED = re.compile(r"(?:answer(?: is)?|答案(?:是|为)?|####)\s*[:：]?\s*(.+)", re.IGNORECASE)
NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
CHOICE = re.compile(r"[A-J]")
# A letter in brackets, before a dot or bracket, else alone; "I" and "A" alone are words.
CHOSEN = (
    re.compile(r"\(([A-J])\)"),
    re.compile(r"\b([A-J])[.):]"),
    re.compile(r"\b([B-HJ])\b"),
    re.compile(r"^\W*([A-J])\W*$"),
)


class Question(Record):
    """`prompt` is sent as it stands."""

    id: str
    prompt: str
    answer: str
    subset: str = ""


class Questions(Record):
    """`total`: how many the file holds; `sha256` of its bytes; `questions_sha256` of the chosen ids and prompts."""

    source: str
    sha256: str
    questions_sha256: str
    total: int
    chosen: tuple[Question, ...]


def read_questions(file: Path, limit: int | None = None) -> Questions:
    """The first `limit` questions of a JSON Lines file."""
    try:
        if file.stat().st_size > LARGEST:
            raise UsageError(f"the data set {file} is larger than 256 MiB", mend="Give a part of it.")
        data = read_plain(file, limit=LARGEST)
    except OSError as exc:
        raise UsageError(
            f"the data set {file} cannot be read: {exc.strerror or exc}",
            mend="Give a JSON Lines file with `question` and `answer`.",
        ) from exc
    questions = [_question(line, number, file) for number, line in enumerate(data.splitlines(), 1) if line.strip()]
    if not questions:
        raise UsageError(f"the data set {file} holds no question", mend="One JSON object a line.")
    seen: set[str] = set()
    for q in questions:
        if q.id in seen:
            raise FileFormatError(f"{file}: the id {q.id!r} is used twice")
        seen.add(q.id)
    chosen = tuple(questions if limit is None else questions[:limit])
    return Questions(
        source=str(file),
        sha256=hashlib.sha256(data).hexdigest(),
        questions_sha256=fingerprint([(q.id, q.prompt) for q in chosen]),
        total=len(questions),
        chosen=chosen,
    )


def fingerprint(pairs: Sequence[tuple[str, str]]) -> str:
    """SHA-256 of ids and prompts in order."""
    return hashlib.sha256(json.dumps(list(pairs), ensure_ascii=False).encode()).hexdigest()


def _question(line: bytes, number: int, file: Path) -> Question:
    where = f"{file} line {number}"
    try:
        document: Any = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise FileFormatError(f"{where} is no JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise FileFormatError(f"{where} is no object")
    prompt, answer = document.get("question", document.get("prompt")), document.get("answer")
    if not isinstance(prompt, str) or not prompt or not isinstance(answer, (str, int, float)) or answer == "":
        raise FileFormatError(f"{where} lacks `question` or `answer`")
    given = document.get("id")
    made = Question(
        id=str(given) if given is not None else str(number),
        prompt=prompt,
        answer=str(answer),
        subset=str(document.get("subset", "")),
    )
    try:
        "".join((made.id, made.prompt, made.answer, made.subset)).encode()
    except UnicodeEncodeError as exc:
        raise FileFormatError(f"{where} holds half a character: {exc.reason}") from exc
    return made


def extract(text: str, expected: str, pattern: str = "") -> str | None:
    """The answer in `text`, of the kind `expected` is of (number, letter, else a line); None if there is none.

    `pattern`, if given, decides alone: its first group, or the whole match.
    """
    if pattern:
        found = re.search(pattern, text)
        # A group that took no part in the match has taken no answer out.
        taken = (found.group(1) if found.groups() else found.group(0)) if found else None
        return taken.strip() if taken is not None else None
    marked = MARKED.findall(text)
    if NUMBER.fullmatch(expected.strip()):
        for part in ([marked[-1]] if marked else []) + [text]:
            numbers = NUMBER.findall(part)
            if numbers:
                return str(numbers[0 if part is not text else -1])
        return None
    if CHOICE.fullmatch(expected.strip()):
        for part in ([marked[-1]] if marked else []) + [text]:
            for pattern_ in CHOSEN:
                letters = pattern_.findall(part)
                if letters:
                    return str(letters[0])
        return None
    if marked:
        return str(marked[-1]).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else None


def same(extracted: str, expected: str) -> bool:
    """Equal as numbers (thousands' commas do not count), else as words without case, dots and quotes at the ends."""
    one, two = extracted.strip().replace(",", ""), expected.strip().replace(",", "")
    try:
        return float(one) == float(two)
    except ValueError:
        return one.strip(" .\"'").casefold() == two.strip(" .\"'").casefold()
