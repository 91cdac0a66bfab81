"""Rules of the bundle beside the evidence: report, runbook and comment as written, agreeing with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from seatrial.core.finding import Finding
from seatrial.delivery.check.case import error
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.figures import Numbers, unfounded
from seatrial.delivery.order import Delivered
from seatrial.evidence.records import HEAD, sha256

LINK = re.compile(r"\]\((\.\./[^)]+)\)")
HEADINGS = {"analysis.zh.md": 11, "analysis.en.md": 11, "runbook.zh.md": 4, "runbook.en.md": 4}


def scores_of(folder: Path, delivered: Delivered) -> tuple[Path, ...]:
    """The score documents of a bundle that are there."""
    return tuple(folder / f.path for f in delivered.bundle if f.what == "score" and (folder / f.path).is_file())


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
        for target in LINK.findall(text):
            if not (folder / target).is_file():
                yield error("Y141", file.path, f"the evidence {target} is not there", "Restore the run's folder.")
        wanted = HEADINGS.get(file.path)
        if wanted is not None and len(re.findall(r"^## \d+ ", text, re.M)) != wanted:
            yield error("Y142", file.path, f"it does not have its {wanted} sections", "Deliver again.")
        if numbers is not None and file.what != "score":
            for found in unfounded(text, numbers):
                why = f"line {found.line}: the figure {found.figure} is in no record: {found.text}"
                yield error("Y131", file.path, why, "Deliver again.")
    if view is not None:
        head = view.run.folder / HEAD
        if not head.is_file() or sha256(head.read_bytes()) != delivered.head_sha256:
            why = "the run has other records than when it was delivered"
            yield error("Y143", delivered.run_id, why, "Deliver again, or restore the run.")
