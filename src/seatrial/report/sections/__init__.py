"""One file per step: its facts as blocks. A step without a file here is shown by `generic`."""

from __future__ import annotations

from collections.abc import Callable

from seatrial.report.blocks import Block
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.sections import checkpoint, dry, engine, gate, support

Builder = Callable[[StepFacts, Gathered], list[Block]]

SECTIONS: dict[str, Builder] = {
    "inspect": checkpoint.blocks,
    "engine": engine.blocks,
    "support": support.blocks,
    "dry": dry.blocks,
    "dummy": gate.blocks,
    "real": gate.blocks,
}
TITLES = {
    "inspect": "Checkpoint",
    "engine": "Engine",
    "support": "Support and case",
    "dry": "Dry run: the tensor account",
    "dummy": "Dummy gate: served with random weights",
    "real": "Real gate: served with the checkpoint's weights",
}
