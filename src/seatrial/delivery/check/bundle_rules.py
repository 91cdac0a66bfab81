"""Rules of the bundle beside the evidence: report, runbook and comment as written, agreeing with it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding
from seatrial.delivery.benches import Benched, contradicted, seen_of
from seatrial.delivery.check.case import error
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.figures import Numbers, unfounded
from seatrial.delivery.order import Delivered, ScoreRun
from seatrial.delivery.scores import Scored, read_scores
from seatrial.delivery.sources import SCORE
from seatrial.evidence import Run
from seatrial.evidence.records import HEAD, sha256

LINK = re.compile(r"\]\((\.\./[^)]+)\)")
MOST_FILES = 1000  # a bundle has about a dozen
HEADINGS = {"analysis.zh.md": 12, "analysis.en.md": 12, "runbook.zh.md": 5, "runbook.en.md": 5}


def scores_of(folder: Path, delivered: Delivered) -> tuple[Path, ...]:
    """The score documents of a bundle that are there (what lies beside each is found from it)."""
    files = (folder / f.path for f in delivered.bundle if f.what == "score" and f.path.rpartition("/")[2] == SCORE)
    return tuple(f for f in files if f.is_file())


def readable_scores(folder: Path, delivered: Delivered) -> Scored:
    """What those say; one that cannot be read or is contradicted says nothing, and `quoted` tells why."""
    good = []
    for file in scores_of(folder, delivered):
        with contextlib.suppress(FileFormatError):
            read_scores((file,))
            good.append(file)
    return read_scores(good)


def readable_benches(folder: Path, delivered: Delivered) -> Benched:
    """What the quoted benches show; one that is not there or is none shows nothing, and `benches` tells why."""
    good = []
    for one in delivered.benches:
        there = _kept(folder, one)
        with contextlib.suppress(FileFormatError):
            seen = seen_of(there) if there is not None else None
            good += [seen] if seen is not None else []
    return Benched(quoted=tuple(good), refused=tuple(delivered.benches_refused))


def benches(folder: Path, delivered: Delivered) -> Iterator[Finding]:
    """The quoted benches are those of the delivery, and still follow from their requests."""
    for one in delivered.benches:
        there = _kept(folder, one)
        if there is None:
            why = "the quoted bench is not there, or has other records than when it was delivered"
            yield error("Y145", one.run_id, why, "Restore the run's folder, or deliver again.")
            continue
        try:
            contradicted(there)
        except FileFormatError as exc:
            yield error("Y145", one.run_id, exc.message, "Measure again, and deliver that.")


def _kept(folder: Path, one: ScoreRun) -> EvidenceView | None:
    place = folder.parent.parent / "runs" / one.run_id
    head = place / HEAD
    if not head.is_file() or head.is_symlink() or sha256(head.read_bytes()) != one.head_sha256:
        return None
    return EvidenceView(Run.read(place))


def quoted(folder: Path, delivered: Delivered) -> Iterator[Finding]:
    """The accuracy results that went along follow from their answers, and are those of the runs they are said to be."""
    copies = scores_of(folder, delivered)
    for file in copies:
        try:
            read_scores((file,))
        except FileFormatError as exc:
            yield error("Y144", f"{file.parent.name}/{file.name}", exc.message, "Run the evaluation again.")
    kept = {hashlib.sha256(f.read_bytes()).hexdigest() for f in copies}
    for one in delivered.accuracy:
        place = folder.parent.parent / "runs" / one.run_id
        head = place / HEAD
        if not head.is_file() or head.is_symlink() or sha256(head.read_bytes()) != one.head_sha256:
            why = "the quoted accuracy run is not there, or has other records than when it was delivered"
            yield error("Y144", one.run_id, why, "Restore the run's folder, or deliver again.")
        elif not kept & {ref.sha256 for step in Run.read(place).steps().values() for ref in step.artifacts}:
            yield error("Y144", one.run_id, "no quoted score is an artifact of this run", "Deliver again.")


def _complete(folder: Path, delivered: Delivered) -> Iterator[Finding]:
    """The record names what every delivery has, and nothing lies beside that which it does not name."""
    named = {f.path for f in delivered.bundle}
    due = [
        "comment.md",
        *(f"{name}.{lang}.md" for lang in delivered.order.languages for name in ("analysis", "runbook")),
    ]
    for path in due:
        if path not in named:
            yield error(
                "Y140", path, "delivery.json does not name the file, and every delivery has it", "Deliver again."
            )
    for path in _beside(folder):
        if path not in named and path not in due:
            why = "the file lies in the bundle and delivery.json does not name it: nothing in it was checked"
            yield error("Y140", path, why, "Take it away.")


def _beside(folder: Path) -> list[str]:
    """The files of the bundle's folder but for the record itself, and but for runs that were packed with it."""
    found: list[str] = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = [
            name for name in sorted(folders)
            if not (here == folder and name in ("runs", ".seatrial")) and not (here / name / "manifest.json").is_file()
        ]  # fmt: skip
        found += [(here / name).relative_to(folder).as_posix() for name in sorted(files)]
        if len(found) > MOST_FILES:
            break
    return [path for path in found if path != "delivery.json"]


def bundle(folder: Path, delivered: Delivered, view: EvidenceView | None, numbers: Numbers | None) -> Iterator[Finding]:
    for file in delivered.bundle:
        place = folder / file.path
        if not place.is_file() or place.is_symlink():
            yield error("Y140", file.path, "the file of the bundle is gone", "Deliver again.")
            continue
        data = place.read_bytes()
        if hashlib.sha256(data).hexdigest() != file.sha256:
            yield error("Y140", file.path, "the file of the bundle is not as it was written", "Deliver again.")
        text = data.decode(errors="replace")
        for target in LINK.findall(text) if file.what != "score" else ():
            if not (folder / target).is_file():
                yield error("Y141", file.path, f"the evidence {target} is not there", "Restore the run's folder.")
        wanted = HEADINGS.get(file.path)
        if wanted is not None and len(re.findall(r"^## \d+ ", text, re.M)) != wanted:
            yield error("Y142", file.path, f"it does not have its {wanted} sections", "Deliver again.")
        if numbers is not None and file.what != "score":
            for found in unfounded(text, numbers):
                why = f"line {found.line}: the figure {found.figure} is in no record: {found.text}"
                yield error("Y131", file.path, why, "Deliver again.")
    yield from _complete(folder, delivered)
    yield from quoted(folder, delivered)
    yield from benches(folder, delivered)
    if view is not None:
        head = view.run.folder / HEAD
        if not head.is_file() or sha256(head.read_bytes()) != delivered.head_sha256:
            why = "the run has other records than when it was delivered"
            yield error("Y143", delivered.run_id, why, "Deliver again, or restore the run.")
