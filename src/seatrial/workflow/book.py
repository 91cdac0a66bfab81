"""What a step keeps before it has ended, so that a kill costs no more than the piece in hand.

A piece is a record of the run (`kind`) with the hash of what went into its step, and a file as an artifact. A later
call gets back the pieces whose hash is still the same and whose files are whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record, from_plain, to_plain
from seatrial.core.step import Attachment
from seatrial.evidence import ArtifactRef, Run


class Piece(Record):
    """`body` is the step's own record as plain data."""

    step: str
    inputs: str
    body: dict[str, Any]
    artifact: ArtifactRef


class Book:
    """The pieces of one step of a run."""

    def __init__(self, run: Run, step: str, inputs: str) -> None:
        self._run, self._step, self._inputs = run, step, inputs

    def keep(self, kind: str, body: Record, name: str, file: Path) -> None:
        """Store the file, then the record: durable when this returns."""
        ref = self._run.keep_file(name, file)
        self._run.append(kind, Piece(step=self._step, inputs=self._inputs, body=to_plain(body), artifact=ref))

    def pieces(self, kind: str) -> list[Piece]:
        """What earlier calls kept, in order. A record that is not one of these is passed over: the piece is due."""
        found = []
        for entry in self._run.log.entries:
            if entry.kind != kind:
                continue
            try:
                piece = from_plain(Piece, to_plain(entry.body), where=f"record {entry.seq}")
            except FileFormatError:
                continue
            if (piece.step, piece.inputs) == (self._step, self._inputs) and self._run.has(piece.artifact):
                found.append(piece)
        return found

    def attachment(self, piece: Piece) -> Attachment:
        """The piece's file, for the step's own list of evidence."""
        return Attachment(name=piece.artifact.name, path=str(self._run.artifact(piece.artifact)))
