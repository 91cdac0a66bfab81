"""What the main job is asked and what it answers: `Job`, `Finished`, `Ended`, and who watches it."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from seatrial.core.record import Record
from seatrial.core.verdict import Verdict
from seatrial.evidence import StoredStep

Stage = Literal["dry", "dummy", "real"]
STAGES: tuple[Stage, ...] = ("dry", "dummy", "real")
ALWAYS = ("inspect", "plan", "engine", "support")
GATES = ("dummy", "real")


class Job(Record):
    """What to run. `max_model_len` None leaves the context length to the engine.

    `ladder`: a gate that fails is followed by the fallback ladder. `features`, `agree`, `soak` (requests; 0 is none)
    and `capacity` are asked for one by one; `context` and `sequences` are the capacity sweep's baseline, None for the
    target's own.
    """

    checkpoint: str
    target: str = "cpu"
    tp: int = 1
    max_model_len: int | None = None
    stages: tuple[Stage, ...] = STAGES
    keep_going: bool = False
    ladder: bool = True
    features: bool = False
    agree: bool = False
    soak: int = 0
    capacity: bool = False
    context: int | None = None
    sequences: int | None = None

    def __post_init__(self) -> None:
        if self.tp < 1:
            raise ValueError("tp must be at least 1")
        if self.max_model_len is not None and self.max_model_len < 1:
            raise ValueError("max_model_len must be at least 1")
        if self.soak < 0:
            raise ValueError("soak must not be negative")

    def steps(self) -> tuple[str, ...]:
        """Names in order: what breaks soonest and costs least comes first."""
        further = {"features": self.features, "agreement": self.agree, "soak": self.soak, "capacity": self.capacity}
        stages = (s for s in STAGES if s in self.stages)
        return (*ALWAYS, *stages, "plan-check", *(s for s, asked in further.items() if asked))

    def weights(self) -> Literal["dummy", "real"]:
        """Which weights the further steps serve: the real ones, unless only the dummy gate was asked for."""
        return "dummy" if "dummy" in self.stages and "real" not in self.stages else "real"

    def options(self, step: str) -> dict[str, Any]:
        """What decides the outcome of this step beside what decides that of all."""
        named: dict[str, dict[str, Any]] = {
            "soak": {"requests": self.soak},
            "capacity": {"context": self.context, "sequences": self.sequences},
        }
        weights = {"weights": self.weights()} if step in ("features", "agreement", "soak", "capacity") else {}
        return {"tp": self.tp, "max_model_len": self.max_model_len, **weights, **named.get(step, {})}


def ladder_name(gate: str) -> str:
    """What the ladder after a gate is called among the steps."""
    return f"{gate}-ladder"


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
