"""What an accuracy run leaves: requests' settings, questions' origin, predictions, failed cases, and the score.

Each is a document of its own beside the others in the run's folder (`run.py` writes and reads them). A score knows
how much was asked: a handful of prompts (L0 to L2) is never a conclusion about a data set, and the record refuses it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from seatrial.core.record import Record

SCHEMA_VERSION = 1

Level = Literal["L0", "L1", "L2", "L3", "L4", "L5"]
# What each level says at most, in the words of its report.
LEVELS: dict[str, str] = {
    "L0": "the service is up and its log is clean",
    "L1": "one prompt was answered readably",
    "L2": "a few deterministic prompts were answered as they must be",
    "L3": "the first questions of a data set",
    "L4": "one whole task",
    "L5": "the whole data set",
}
SMOKE = ("L0", "L1", "L2")  # levels that can never carry a conclusion
Status = Literal["correct", "wrong", "not-extracted", "no-answer"]


class RequestConfig(Record):
    """How every request was made; None where nobody says (documents before 2026-11-21 hold 0.0 and False there).

    `chat_template`: the questions went through it (the chat endpoint).
    """

    api_url: str
    model: str
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stream: bool | None = None
    seed: int | None = None
    chat_template: bool | None = None
    num_fewshot: int | None = None
    concurrency: int | None = None
    extra_body: dict[str, Any] = msgspec.field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


class DatasetConfig(Record):
    """Which questions. `total` is the size of the source (None: unknown), `asked` what was meant to be asked.

    `sha256` is that of the question file's bytes, empty where the tool keeps its questions to itself;
    `questions_sha256` that of the asked questions' ids and prompts in order: equal, two runs can be compared.
    """

    name: str
    source: str
    sha256: str = ""
    questions_sha256: str = ""
    subsets: tuple[str, ...] = ()
    limit: int | None = None
    total: int | None = None
    asked: int | None = None
    answer_pattern: str = ""
    template: str = ""
    schema_version: int = SCHEMA_VERSION


class Prediction(Record):
    """One question and what came of it: a line of `raw_predictions.jsonl`, and of `failed_cases.jsonl` if not correct.

    `extracted` is the answer as it was taken out of `text`; None with status `not-extracted` (there was text, but no
    answer in it) or `no-answer` (the request failed or the text is empty; `trouble` says why).
    """

    id: str
    prompt: str
    expected: str
    text: str
    extracted: str | None
    status: Status
    subset: str = ""
    repeat: int = 0
    finish_reason: str = ""
    trouble: str = ""
    duration_s: float | None = None
    metrics: dict[str, float] = msgspec.field(default_factory=dict)

    @property
    def correct(self) -> bool:
        return self.status == "correct"


class SubsetScore(Record):
    """`score` is a fraction from 0 to 1, None without a single question."""

    name: str
    total: int
    correct: int
    score: float | None


class AccuracyScore(Record):
    """One figure of one task: `score.json` holds a list of them, and the delivery reads them from there.

    `metric` is the tool's own name of it (`exact_match,strict-match`, `acc,none`, `accuracy`, `wer`), `value` in the
    metric's own unit (a fraction for accuracies). `n` is the number of questions behind it, `stderr` the tool's.
    `answers`: of how many answers it was made, where questions were asked several times; None where each was asked once
    (and in documents before 2026-11-21, whose `n` counts answers).
    `complete`: every question that was to be asked has a result; otherwise `partial_reason` says what is missing.
    `conclusive` (L4 and L5, complete, without a limit) says whether it may be quoted as the score of that task.
    """

    run_id: str
    model: str
    task: str
    dataset: str
    metric: str
    value: float
    n: int
    level: Level
    complete: bool
    tool: str
    tool_version: str
    request: RequestConfig
    partial_reason: str = ""
    answers: int | None = None
    stderr: float | None = None
    higher_is_better: bool = True
    num_fewshot: int | None = None
    limit: int | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.complete == bool(self.partial_reason):
            raise ValueError("a score has a partial_reason exactly when it is not complete")
        if self.n < 1:
            raise ValueError("a score without a question behind it is no score")
        if self.answers is not None and self.answers < self.n:
            raise ValueError("a score has at least one answer to each of its questions")

    @property
    def conclusive(self) -> bool:
        """May a report or a test YAML quote it as the model's score on that task?"""
        return self.complete and self.level in ("L4", "L5") and self.limit is None


class Score(Record):
    """`score.json`. `status`: `complete`, `partial` (with a reason), `smoke` (L0 to L2: never a conclusion)."""

    run_id: str
    level: Level
    status: Literal["complete", "partial", "smoke"]
    reason: str
    num_total: int
    num_correct: int
    num_not_extracted: int
    num_no_answer: int
    subsets: tuple[SubsetScore, ...] = ()
    scores: tuple[AccuracyScore, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if (self.level in SMOKE) != (self.status == "smoke"):
            raise ValueError(f"level {self.level} cannot have the status {self.status!r}")
        if self.status == "partial" and not self.reason:
            raise ValueError("a partial score says what is missing")
        if self.status == "smoke" and self.scores:
            raise ValueError("a smoke run has no score of a task")
