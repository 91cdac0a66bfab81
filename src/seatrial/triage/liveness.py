"""Whether the text of a signature still stands in the installed sources.

In: folders of Python sources (an engine's or plugin's package, or a site-packages). Out: per signature *live* (found),
*stale* (the package that should hold it was looked at and does not), or *outside* (the text comes from something that
was not looked at: a driver, CANN, another package). Adjacent string literals are joined before the search.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from seatrial.core.errors import EngineError, UsageError
from seatrial.core.record import Record
from seatrial.triage.anchors import anchors
from seatrial.triage.signature import Signature
from seatrial.triage.signatures import library

# Where the knowledge base says a text comes from, by the letter of its entry.
OWNERS = {"V": "vllm", "A": "vllm_ascend", "K": "vllm_kunlun"}
ENTRY = re.compile(r"[VAK]\d\d$")
JOINT = re.compile(r"[\"']\s*\n\s*[rfbuRFBU]{0,2}[\"']")
MAX_FILE = 4 << 20
MIN_TEXT = 10


class Row(Record):
    signature: str
    state: str
    note: str


class Report(Record):
    """Counts and one row per signature."""

    live: int
    stale: int
    outside: int
    files: int
    packages: tuple[str, ...]
    rows: tuple[Row, ...]


class Present(NamedTuple):
    """Ids of the signatures whose text stands in some sources, the packages met there, and the files read."""

    found: set[str]
    packages: set[str]
    files: int


def present(folders: Iterable[Path]) -> Present:
    """Look for every signature's literals in the sources below `folders`; raises UsageError if there are none."""
    wanted: dict[str, set[str]] = {}
    for signature in library().signatures:
        for literal in _texts(signature):
            wanted.setdefault(literal, set()).add(signature.id)
    missing = set(wanted)
    packages: set[str] = set()
    files = 0
    for path in _sources(folders):
        files += 1
        packages.update(p for p in OWNERS.values() if p in path.parts)
        text = JOINT.sub("", path.read_text(encoding="utf-8", errors="replace"))
        missing -= {literal for literal in missing if literal in text}
    if not files:
        raise UsageError("there are no Python sources there", mend="Give the folder of an installed package.")
    return Present({i for literal, ids in wanted.items() if literal not in missing for i in ids}, packages, files)


def check(folders: Iterable[Path]) -> Report:
    """Look for every signature's literals in the sources below `folders`."""
    found, packages, files = present(folders)
    rows = []
    for signature in library().signatures:
        owners = {OWNERS[s[0]] for s in signature.sources if ENTRY.match(s)}
        if signature.id in found:
            rows.append(Row(signature=signature.id, state="live", note=""))
        elif owners & packages and _texts(signature):
            note = f"text not in {', '.join(sorted(owners & packages))}: {', '.join(_texts(signature)[:2])!r}"
            rows.append(Row(signature=signature.id, state="stale", note=note))
        else:
            rows.append(Row(signature=signature.id, state="outside", note="its text is not from these sources"))
    count = {state: sum(r.state == state for r in rows) for state in ("live", "stale", "outside")}
    return Report(
        live=count["live"], stale=count["stale"], outside=count["outside"], files=files,
        packages=tuple(sorted(packages)), rows=tuple(rows),
    )  # fmt: skip


def _texts(signature: Signature) -> tuple[str, ...]:
    """The literals to look for; short ones would be found anywhere."""
    if signature.anchor:
        return () if signature.anchor == "-" else (signature.anchor,)
    return tuple(t for t in anchors(signature.pattern, partial=True) if len(t) >= MIN_TEXT)


def _sources(folders: Iterable[Path]) -> Iterable[Path]:
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_FILE:
                yield path


def roots_of_target(name: str) -> list[Path]:
    """The source folders of a target: its declared roots, else where its interpreter finds vLLM and the plugins."""
    from seatrial.engine.choose import target_python
    from seatrial.engine.mends import site_packages
    from seatrial.targets import find_overrides, load_target

    target = load_target(name, find_overrides(Path.cwd())).target
    declared = [Path(r) for r in (target.roots.vllm, target.roots.plugin) if r and Path(r).is_dir()]
    if declared:
        return declared
    folder = site_packages(target_python(target))
    found = [p for p in folder.glob("*") if p.name in OWNERS.values()]
    if not found:
        raise EngineError(f"{folder} holds no vllm", mend="Set roots.vllm in the target, or give the folder itself.")
    return found
