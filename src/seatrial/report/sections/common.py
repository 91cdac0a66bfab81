"""What several sections share: pairs with sources, links to a step's artifacts, and the leftover facts."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from seatrial.evidence import ArtifactRef, StoredStep
from seatrial.report.blocks import Block, Cell, Fold, Pair
from seatrial.report.facts import Facts
from seatrial.report.generic import blocks_of, cell, line_of
from seatrial.report.words import size

NO_FILE_SAYS = "no file of the checkpoint says so"


def link(ref: ArtifactRef) -> Cell:
    """An artifact, one click away. Its file name is quoted, so that it can be nothing but a file in `artifacts/`."""
    return Cell(text=ref.name, note=size(ref.bytes), href=artifact_href(ref))


def artifact_href(ref: ArtifactRef) -> str:
    return "artifacts/" + quote(ref.file, safe="")


def attached(stored: StoredStep, name: str) -> Cell | None:
    """The step's artifact of that name, if there is one."""
    return next((link(ref) for ref in stored.artifacts if name and ref.name == name), None)


def pair(label: str, value: Any, why: str = NO_FILE_SAYS, note: str = "") -> Pair:
    """A row. `why` is the reason shown if the value is None; `note` the source shown if it is not."""
    shown = value if isinstance(value, Cell) else cell(value, why)
    if note and value is not None and not shown.note:
        shown = Cell(text=shown.text, note=note, href=shown.href, tone=shown.tone, is_code=shown.is_code)
    return Pair(label=label, value=shown)


def rest_note(facts: Facts) -> str:
    """What nobody took of a row's facts, on one line; empty where all was."""
    rest = facts.rest()
    return line_of(rest) if rest else ""


def leftover(facts: Facts) -> list[Block]:
    """Facts that the section did not use, in a fold: nothing that was recorded goes unseen."""
    rest = facts.rest()
    if rest is None or rest in ({}, []):
        return []
    return [Fold(title="Further facts", blocks=tuple(blocks_of(rest)))]
