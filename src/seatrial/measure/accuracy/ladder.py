"""The lower rungs against a running server: L0 service, L1 one prompt, L2 assertions, L3 to L5 own questions.

In: a client. Out: a `Score` and the five files of `run.py`. Transport faults never end a run: they make it partial, and
a server that was restarted in the middle does too. (L3 to L5 by lm-eval, AISBench: `outside.py`.)
A little over 250 lines: the rungs share how a question is asked and judged.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from seatrial.core.record import Record
from seatrial.gates.client import Client
from seatrial.gates.first_error import first_error
from seatrial.gates.quality import look, read_answer
from seatrial.gates.requests import CHAT, COMPLETIONS
from seatrial.measure.accuracy.dataset import Questions, extract, fingerprint, same
from seatrial.measure.accuracy.prompts_l2 import L2, Case
from seatrial.measure.accuracy.records import (
    AccuracyScore,
    DatasetConfig,
    Level,
    Prediction,
    RequestConfig,
    Score,
    Status,
)
from seatrial.measure.accuracy.run import RunWriter, tally, unanswered

READABLE = 0.9  # share of printable characters that a readable text has
BIRTH = "process_start_time_seconds"


class Setting(Record):
    """What every rung needs to know. `chat`: the checkpoint has a chat template. `run_id`: of the run it belongs to."""

    api_url: str
    model: str
    chat: bool
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    repeats: int = 1
    run_id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex[:12])


def service(client: Client, setting: Setting, folder: Path, log: Path | None) -> Score:
    """L0: the model is listed, /health answers, the log (if there is one) shows no error."""
    rows = []
    for name, path in (("health", "/health"), ("models", "/v1/models")):
        reply = client.get(path)
        listed = path != "/v1/models" or setting.model in reply.body.decode(errors="replace")
        trouble = reply.trouble() or ("" if listed else f"the model {setting.model!r} is not listed")
        rows.append(_checked(name, f"GET {path}", trouble))
    if log is not None:
        error = first_error(log)
        rows.append(_checked("log", f"no error in {log.name}", error.text[:300] if error is not None else ""))
    return _smoke("L0", rows, setting, folder)


def one_prompt(client: Client, setting: Setting, folder: Path) -> Score:
    """L1: one prompt, answered readably."""
    row = ask(client, setting, "one", "Say hello to the crew in one short sentence.", "", "")
    if row.status != "no-answer":
        shown = sum(c.isprintable() or c.isspace() for c in row.text) / len(row.text)
        trouble = row.trouble or ("" if shown >= READABLE else f"only {100 * shown:.0f} % of it is printable")
        row = _with(row, "wrong" if trouble else "correct", trouble)
    return _smoke("L1", [row], setting, folder)


def assertions(client: Client, setting: Setting, folder: Path, cases: Sequence[Case] = L2) -> Score:
    """L2: deterministic prompts, each with what must hold of its answer; every one asked twice."""
    rows: list[Prediction] = []
    gone = ""
    for case in cases:
        if gone:
            rows.append(_unasked(case.name, case.prompt, gone))
            continue
        first = ask(client, setting, case.name, case.prompt, "", "", max_tokens=case.max_tokens, stop=case.stop)
        again = first
        if first.status != "no-answer":
            again = ask(client, setting, case.name, case.prompt, "", "", max_tokens=case.max_tokens, stop=case.stop)
        if again.status == "no-answer":
            rows.append(again)
            gone = _gone(client, again)
            continue
        trouble = case.holds(first.text, first.finish_reason)
        if not trouble and setting.temperature == 0 and first.text != again.text:
            trouble = "asked twice, two answers"
        rows.append(_with(first, "wrong" if trouble else "correct", trouble))
    return _smoke("L2", rows, setting, folder)


def questions(
    client: Client,
    setting: Setting,
    folder: Path,
    given: Questions,
    *,
    name: str,
    limit: int | None,
    level: Level,
    pattern: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> Score:
    """L3 to L5 on the user's own questions, each `repeats` times. Nothing more is asked of a server that is gone."""
    run_id = setting.run_id
    request = _request(setting)
    dataset = DatasetConfig(
        name=name,
        source=given.source,
        sha256=given.sha256,
        questions_sha256=given.questions_sha256,
        subsets=tuple(sorted({q.subset for q in given.chosen})),
        limit=limit,
        total=given.total,
        asked=len(given.chosen) * setting.repeats,
        answer_pattern=pattern,
        template="chat" if setting.chat else "none",
    )
    rows: list[Prediction] = []
    gone = ""
    born = client.number(BIRTH)
    with RunWriter(folder, request, dataset) as writer:
        for number, q in enumerate(given.chosen):
            say(f"question {number + 1} of {len(given.chosen)}")
            for repeat in range(setting.repeats):
                if gone:
                    row = _unasked(q.id, q.prompt, gone, q.answer, q.subset, repeat)
                else:
                    row = ask(client, setting, q.id, q.prompt, q.answer, q.subset, repeat=repeat)
                    gone = _gone(client, row) if row.status == "no-answer" else ""
                if row.status != "no-answer":
                    taken = extract(row.text, q.answer, pattern)
                    status = "not-extracted" if taken is None else ("correct" if same(taken, q.answer) else "wrong")
                    row = _with(row, status, row.trouble, taken)
                rows.append(row)
                writer.add(row)
        partial = _missing(rows, born, client.number(BIRTH))
        right = sum(r.correct for r in rows)
        answered = [r for r in rows if r.status != "no-answer"]
        scores: tuple[AccuracyScore, ...] = ()
        if answered:
            scores = (
                AccuracyScore(
                    run_id=run_id,
                    model=setting.model,
                    task=name,
                    dataset=name,
                    metric="accuracy",
                    value=right / len(answered),
                    n=len({r.id for r in answered}),
                    answers=len(answered) if setting.repeats > 1 else None,
                    level=level,
                    complete=not partial,
                    partial_reason=partial,
                    tool="seatrial",
                    tool_version=_version(),
                    request=request,
                    limit=limit,
                ),
            )
        score = tally(run_id, level, rows, partial=partial, scores=scores)
        writer.finish(score)
    return score


def _gone(client: Client, row: Prediction) -> str:
    """Why nothing more is asked after this question without an answer; empty while /health still answers."""
    reply = client.get("/health")
    if reply.how == "answered" and (reply.status or 0) < 500:
        return ""
    return f"not asked: since question {row.id} the server is gone ({row.trouble}; /health: {reply.trouble()})"


def _unasked(identity: str, prompt: str, why: str, expected: str = "", subset: str = "", repeat: int = 0) -> Prediction:
    return Prediction(
        id=identity,
        prompt=prompt,
        expected=expected,
        text="",
        extracted=None,
        status="no-answer",
        subset=subset,
        repeat=repeat,
        trouble=why,
    )


def _missing(rows: Sequence[Prediction], before: float | None, after: float | None) -> str:
    """Why the result is partial; empty if it is not."""
    lost = [r for r in rows if r.status == "no-answer"]
    parts = []
    if before is not None and after is not None and before != after:
        parts.append("the server was restarted in the middle")
    if lost:
        parts.append(f"{unanswered(rows)} (first: {lost[0].id}: {lost[0].trouble})")
    return "; ".join(parts)


def ask(
    client: Client,
    setting: Setting,
    identity: str,
    prompt: str,
    expected: str,
    subset: str,
    *,
    repeat: int = 0,
    max_tokens: int | None = None,
    stop: str = "",
) -> Prediction:
    """One question; status `no-answer` with the trouble, else `wrong` until somebody judges it."""
    body: dict[str, Any] = {"max_tokens": max_tokens or setting.max_tokens, "temperature": setting.temperature}
    body |= {k: v for k, v in (("top_p", setting.top_p), ("top_k", setting.top_k)) if v is not None}
    if setting.seed is not None:
        body["seed"] = setting.seed + repeat
    if stop:
        body["stop"] = [stop]
    if setting.chat:
        path, body = CHAT, {**body, "messages": [{"role": "user", "content": prompt}]}
    else:
        path, body = COMPLETIONS, {**body, "prompt": prompt}
    began = time.monotonic()
    reply = client.once("POST", path, body)
    took = time.monotonic() - began
    answer = read_answer(reply.json()) if not reply.trouble() else None
    trouble = reply.trouble() or ("" if answer is not None else "HTTP 200 without an answer in it")
    text = answer.text if answer is not None else ""
    if not trouble and not text.strip():
        trouble = "the answer is empty"
    findings = look(answer, "real", identity) if answer is not None and not trouble else []
    return Prediction(
        id=identity,
        prompt=prompt,
        expected=expected,
        text=text,
        extracted=None,
        status="no-answer" if trouble else "wrong",
        subset=subset,
        repeat=repeat,
        finish_reason=answer.finish_reason if answer is not None else "",
        trouble=trouble or "; ".join(f.message for f in findings),
        duration_s=took,
    )


def _with(row: Prediction, status: Any, trouble: str, extracted: str | None = None) -> Prediction:
    from seatrial.core.record import replace

    return replace(row, status=status, trouble=trouble, extracted=extracted)


def _checked(name: str, prompt: str, trouble: str) -> Prediction:
    status: Status = "wrong" if trouble else "correct"
    return Prediction(id=name, prompt=prompt, expected="", text="", extracted=None, status=status, trouble=trouble)


def _request(setting: Setting) -> RequestConfig:
    return RequestConfig(
        api_url=setting.api_url,
        model=setting.model,
        temperature=setting.temperature,
        top_p=setting.top_p,
        top_k=setting.top_k,
        max_tokens=setting.max_tokens,
        seed=setting.seed,
        chat_template=setting.chat,
        stream=False,
        concurrency=1,
    )


def _smoke(level: Level, rows: Sequence[Prediction], setting: Setting, folder: Path) -> Score:
    dataset = DatasetConfig(
        name=level,
        source="seatrial's own prompts",
        questions_sha256=fingerprint([(r.id, r.prompt) for r in rows]),
        asked=len(rows),
        total=len(rows),
    )
    with RunWriter(folder, _request(setting), dataset) as writer:
        for row in rows:
            writer.add(row)
        score = tally(setting.run_id, level, rows)
        writer.finish(score)
    return score


def _version() -> str:
    from seatrial import __version__

    return __version__
