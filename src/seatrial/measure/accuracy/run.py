"""The folder of an accuracy run: five files, written as the run goes and read back whole.

`request_config.json`, `dataset_config.json`, `raw_predictions.jsonl`, `failed_cases.jsonl`, `score.json`. Predictions
are appended one by one, so what a killed run leaves is readable; it has no `score.json` and is refused as a result.
Refuses (FileFormatError): a missing file, a line that is no prediction, files that contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from seatrial.core.atomic import write_atomic
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record, from_json, to_json
from seatrial.measure.accuracy.records import (
    SMOKE,
    AccuracyScore,
    DatasetConfig,
    Level,
    Prediction,
    RequestConfig,
    Score,
    SubsetScore,
)

FILES = ("request_config.json", "dataset_config.json", "raw_predictions.jsonl", "failed_cases.jsonl", "score.json")
LARGEST = 1 << 30


class AccuracyRun(Record):
    """The five files as records; failed cases are those of `predictions` that are not correct."""

    request: RequestConfig
    dataset: DatasetConfig
    predictions: tuple[Prediction, ...]
    score: Score


class RunWriter:
    """Writes the first two files at once, then predictions as they come; `finish` writes the score."""

    def __init__(self, folder: Path, request: RequestConfig, dataset: DatasetConfig) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / "score.json").exists() or (folder / "raw_predictions.jsonl").exists():
                raise UsageError(f"{folder} already holds an accuracy run", mend="Name a new folder with --out.")
            write_atomic(folder / "request_config.json", to_json(request, indent=2))
            write_atomic(folder / "dataset_config.json", to_json(dataset, indent=2))
            self._raw = (folder / "raw_predictions.jsonl").open("ab")
            self._failed = (folder / "failed_cases.jsonl").open("ab")
        except OSError as exc:
            raise UsageError(
                f"{folder} cannot be written: {exc.strerror or exc}", mend="Name another folder with --out."
            ) from exc

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._raw.close()
        self._failed.close()

    def add(self, prediction: Prediction) -> None:
        line = to_json(prediction) + b"\n"
        self._raw.write(line)
        self._raw.flush()
        if not prediction.correct:
            self._failed.write(line)
            self._failed.flush()

    def finish(self, score: Score) -> None:
        write_atomic(self.folder / "score.json", to_json(score, indent=2))


def tally(
    run_id: str,
    level: Level,
    predictions: Iterable[Prediction],
    *,
    partial: str = "",
    scores: tuple[AccuracyScore, ...] = (),
) -> Score:
    """Count. `partial` says what is missing; a smoke level keeps its status whatever happened and says it there too."""
    rows = list(predictions)
    names = sorted({p.subset for p in rows})
    subsets = []
    for name in names:
        mine = [p for p in rows if p.subset == name]
        right = sum(p.correct for p in mine)
        subsets.append(SubsetScore(name=name or "(all)", total=len(mine), correct=right, score=right / len(mine)))
    smoke = level in SMOKE
    return Score(
        run_id=run_id,
        level=level,
        status="smoke" if smoke else ("partial" if partial else "complete"),
        reason=partial or (f"{level} is never a conclusion about a data set" if smoke else ""),
        num_total=len(rows),
        num_correct=sum(p.correct for p in rows),
        num_not_extracted=sum(p.status == "not-extracted" for p in rows),
        num_no_answer=sum(p.status == "no-answer" for p in rows),
        subsets=tuple(subsets),
        scores=() if smoke else scores,
    )


def unanswered(rows: Sequence[Prediction]) -> str:
    """How many have no answer, in words; where questions were asked several times it is requests that are counted."""
    lost = sum(r.status == "no-answer" for r in rows)
    what = "questions" if len({r.id for r in rows}) == len(rows) else "requests"
    return f"{lost} of {len(rows)} {what} have no answer"


def read_run(folder: Path) -> AccuracyRun:
    """All five files, checked against each other."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder of an accuracy run", mend=f"It must hold {', '.join(FILES)}.")
    if not (folder / "score.json").is_file():
        raise FileFormatError(
            f"{folder} has no score.json: the run did not come to its end", mend="Run it again into a new folder."
        )
    return read_files({name: folder / name for name in FILES}, where=str(folder))


def read_files(files: Mapping[str, Path], *, where: str) -> AccuracyRun:
    """The five files, wherever each lies (`files`: name to path), checked against each other."""
    request = from_json(RequestConfig, _bytes(files["request_config.json"]), where="request_config.json")
    dataset = from_json(DatasetConfig, _bytes(files["dataset_config.json"]), where="dataset_config.json")
    score = from_json(Score, _bytes(files["score.json"]), where="score.json")
    predictions = read_predictions(files["raw_predictions.jsonl"])
    if len(predictions) != score.num_total:
        raise FileFormatError(
            f"{where}: score.json counts {score.num_total} predictions, raw_predictions.jsonl holds {len(predictions)}"
        )
    if odd := _contradiction(score, predictions):
        raise FileFormatError(f"{where}: score.json {odd}", mend="Do not edit the files: run or import it again.")
    return AccuracyRun(request=request, dataset=dataset, predictions=predictions, score=score)


def _contradiction(score: Score, predictions: tuple[Prediction, ...]) -> str:
    """What the score says otherwise than its predictions; "" where they agree."""
    made = tally(score.run_id, score.level, predictions)
    for name in ("num_correct", "num_not_extracted", "num_no_answer", "subsets"):
        if getattr(score, name) != getattr(made, name):
            return f"says {name} {_brief(getattr(score, name))}, the predictions have {_brief(getattr(made, name))}"
    answered = made.num_total - made.num_no_answer
    for one in score.scores:
        if one.complete != (score.status == "complete"):
            return f"is {score.status}, and its {one.metric} is not"
        # Our own figure is of these answers; another tool's need not be.
        if one.tool == "seatrial" and abs(one.value * answered - made.num_correct) > 1e-6:
            return f"says {one.metric} {one.value:g}, {made.num_correct} of {answered} answers are right"
    return ""


def _brief(value: object) -> str:
    return str(value) if isinstance(value, int) else "other figures"


def read_predictions(file: Path) -> tuple[Prediction, ...]:
    """One prediction a line; the message names the line that is none."""
    lines = _bytes(file).splitlines()
    where = "raw_predictions.jsonl"  # an artifact's own name is a hash
    return tuple(
        from_json(Prediction, line, where=f"{where} line {number}") for number, line in enumerate(lines, 1) if line
    )


def _bytes(file: Path) -> bytes:
    try:
        if file.is_symlink() or file.stat().st_size > LARGEST:
            raise FileFormatError(f"{file} is a link or larger than 1 GiB")
        return read_plain(file, limit=LARGEST)
    except OSError as exc:
        raise FileFormatError(f"{file} cannot be read: {exc.strerror or exc}") from exc
