"""What the main job is asked and what it answers: `Job`, `Finished`, `Ended`, and who watches it."""

from __future__ import annotations

from typing import Literal, Protocol

from seatrial.core.record import Record
from seatrial.core.verdict import Verdict
from seatrial.evidence import StoredStep

Stage = Literal["dry", "dummy", "real"]
STAGES: tuple[Stage, ...] = ("dry", "dummy", "real")
ALWAYS = ("inspect", "engine", "support")


class Job(Record):
    """What to run. `max_model_len` None leaves the context length to the engine."""

    checkpoint: str
    target: str = "cpu"
    tp: int = 1
    max_model_len: int | None = None
    stages: tuple[Stage, ...] = STAGES
    keep_going: bool = False

    def __post_init__(self) -> None:
        if self.tp < 1:
            raise ValueError("tp must be at least 1")
        if self.max_model_len is not None and self.max_model_len < 1:
            raise ValueError("max_model_len must be at least 1")

    def steps(self) -> tuple[str, ...]:
        return (*ALWAYS, *(s for s in STAGES if s in self.stages))


class Finished(Record):
    """How a run ended. `overhead_s` is the wall time of this call less all time spent waiting for the engine."""

    run_id: str
    verdict: Verdict
    signed_off: bool
    reason: str
    wall_s: float
    engine_s: float
    overhead_s: float
    reused: tuple[str, ...]


class Observer(Protocol):
    """Who watches a run: the command line, or nobody."""

    def begun(self, run_id: str) -> None: ...
    def step_begun(self, step: str) -> None: ...
    def say(self, text: str) -> None: ...
    def step_ended(self, step: StoredStep, reused: bool) -> None: ...


class Ended(Record):
    """What `run_job` hands back: the result, the steps, and where the run and its report lie."""

    finished: Finished
    steps: dict[str, StoredStep]
    folder: str
    report: str
