"""One file per step: its facts as blocks. A step without a file here is shown by `generic`."""

from __future__ import annotations

from collections.abc import Callable

from seatrial.report.blocks import Block
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.sections import (
    against,
    agreement,
    bench,
    capacity,
    checkpoint,
    dry,
    engine,
    features,
    gate,
    ladder,
    planned,
    profile,
    rung,
    soak,
    support,
)

Builder = Callable[[StepFacts, Gathered], list[Block]]

SECTIONS: dict[str, Builder] = {
    "inspect": checkpoint.blocks,
    "plan": planned.blocks,
    "plan-check": planned.check,
    "engine": engine.blocks,
    "support": support.blocks,
    "dry": dry.blocks,
    "dummy": gate.blocks,
    "dummy-ladder": ladder.blocks,
    "real": gate.blocks,
    "real-ladder": ladder.blocks,
    "features": features.blocks,
    "agreement": agreement.blocks,
    "soak": soak.blocks,
    "capacity": capacity.blocks,
    "profile": profile.blocks,
    "parity": against.parity,
    "locate": against.locate,
    "ab": rung.matrix,
    **{f"accuracy-L{n}": rung.blocks for n in range(6)},
}
TITLES = {
    "inspect": "Checkpoint",
    "plan": "Plan: will it fit, how fast can it be",
    "plan-check": "The plan against what the engine said",
    "engine": "Engine",
    "support": "Support and case",
    "dry": "Dry run: the tensor account",
    "dummy": "Dummy gate: served with random weights",
    "dummy-ladder": "Fallback ladder after the dummy gate",
    "real": "Real gate: served with the checkpoint's weights",
    "real-ladder": "Fallback ladder after the real gate",
    "features": "Feature matrix",
    "agreement": "Agreement: the same greedy prompts under two settings",
    "soak": "Soak: many short requests",
    "capacity": "Capacity: the longest context and the most sequences",
    "profile": "Profile: what a trace says of the bench run",
    "parity": "Parity: the engine against the reference",
    "locate": "Locate: where engine and reference part",
    "ab": "One setting at a time",
    "bisect": "Bisect: the first bad one",
    **{f"accuracy-L{n}": f"Accuracy, level L{n}" for n in range(6)},
    "verdict": "Comparison",
}


def builder_of(step: str) -> Builder | None:
    """Who shows the facts of this step; None: `generic` does. A bench's steps bear the names of its sides."""
    if step == "verdict":
        return bench.verdict
    return bench.measured if step.startswith("bench-") else SECTIONS.get(step)
