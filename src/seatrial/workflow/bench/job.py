"""What a bench is asked to do, and what came of it: the records of `run.py`."""

from __future__ import annotations

from typing import Literal

import msgspec

from seatrial.core.record import Record
from seatrial.core.verdict import Verdict
from seatrial.measure.compare import BenchRun, Judged
from seatrial.measure.compare.verdict import FIGURES
from seatrial.measure.load.facts import DONE_HERE, declared_facts
from seatrial.measure.load.workload import Workload
from seatrial.measure.search.framework import FrameworkName

LONGEST_LABEL = 300  # a search's candidates are called by all their settings


class Side(Record):
    """One side: its name, and what is laid over the target for it. `service` is the URL of one that runs already."""

    label: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = msgspec.field(default_factory=dict)
    drop: tuple[str, ...] = ()
    service: str = ""


class BenchJob(Record):
    """What is measured. `under_test`: the fields that may differ between the sides. `runs` a side.

    `serve`: `together` keeps both services up and takes turns, `restart` starts afresh for every run. `facts` are what
    the user declares of a service that seatrial did not start. `tool` other than builtin needs `tool_python`. `ca` is a
    file of certificates that a service behind https is trusted by. `key_env` names the variable that holds the key of a
    service; the key itself is never part of a job. `framework` other than vllm is started by its `program`.
    """

    kind: Literal["bench"]
    sides: tuple[Side, ...]
    workload: Workload
    target: str = "cpu"
    checkpoint: str = ""
    model: str = ""
    ca: str = ""
    key_env: str = ""
    framework: FrameworkName = "vllm"
    program: str = ""
    runs: int = 1
    serve: Literal["together", "restart"] = "restart"
    under_test: tuple[str, ...] = ()
    judged_by: str = "request_throughput"
    smoke: bool = True
    facts: tuple[str, ...] = ()
    tool: str = "builtin"
    tool_python: str = ""
    tp: int | None = None
    max_model_len: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.sides) <= 2 or len({s.label for s in self.sides}) != len(self.sides):
            raise ValueError("a bench has one side, or two with different labels")
        if any(not s.label.strip() or not s.label.isprintable() or len(s.label) > LONGEST_LABEL for s in self.sides):
            raise ValueError(f"a label is 1 to {LONGEST_LABEL} printable characters")
        if self.runs < 1:
            raise ValueError("runs must be at least 1")
        if self.judged_by not in FIGURES:
            raise ValueError(f"judged_by must be one of {', '.join(FIGURES)}")
        if not self.checkpoint and any(not s.service for s in self.sides):
            raise ValueError("a side without a service needs a checkpoint to start")
        if self.ca and not any(s.service.startswith("https:") for s in self.sides):
            raise ValueError("ca is for a service behind https")
        if self.key_env and not any(s.service for s in self.sides):
            raise ValueError(
                "key_env is for a service that runs already; a server of ours is told its key by --api-key"
            )
        if any(s.service and (s.args or s.env or s.drop) for s in self.sides):
            raise ValueError("arguments and variables are for a server that is started here, not for a running service")
        starts = any(not s.service for s in self.sides)
        if starts and (self.framework != "vllm") != bool(self.program):
            raise ValueError("framework sglang and xllm need their program, and vllm takes none: its target says it")
        if starts and self.framework != "vllm" and (self.tp is not None or any(s.drop for s in self.sides)):
            raise ValueError(f"tp and drop are the platform's words for vLLM; give {self.framework} its own arguments")
        taken = [name for name in declared_facts(self.facts) if name.startswith(DONE_HERE)]
        if taken:
            raise ValueError(f"{taken[0]} is what this bench itself does, and cannot be declared")


class BenchEnded(Record):
    """What came of it. `judged` None with one side, or when a side was never measured."""

    run_id: str
    folder: str
    verdict: Verdict
    reason: str
    runs: tuple[BenchRun, ...]
    judged: Judged | None = None
