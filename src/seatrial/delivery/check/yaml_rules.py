"""Rules of the accuracy YAML: it parses, its keys are read, its values are recorded, it runs somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding
from seatrial.delivery.accuracy_yaml import (
    CONFIGS,
    FLAGS,
    LIST,
    NIGHTLY,
    loaded,
    nightly_group,
    nightly_models,
    nightly_series,
    repository_dialect,
)
from seatrial.delivery.check.case import Case, error, warning
from seatrial.delivery.serve import Serving, serving_of
from seatrial.delivery.yaml_dialect import Dialect


def yaml_files(case: Case) -> Iterator[Finding]:
    dialect = repository_dialect(case.repo)
    for path, text in case.texts.items():
        if not path.startswith(f"{CONFIGS}/") or not path.endswith(".yaml") or text is None:
            continue
        try:
            document = loaded(text, path)
        except FileFormatError as exc:
            yield error("Y110", path, exc.message, "Deliver again.")
            continue
        if not isinstance(document, dict):
            yield error("Y110", path, "the file is no mapping", "Deliver again.")
            continue
        if dialect is not None:
            yield from key_findings(dialect, path, document)
        yield from _metrics(case, path, document)
        yield from _serving(case, path, document)
        yield from _registered(case, path)


def key_findings(dialect: Dialect, path: str, document: dict[str, Any]) -> Iterator[Finding]:
    """Keys that nothing reads, and keys that are read without a default and not there."""
    seen = set(_paths(document))
    for key in sorted(seen):
        parent = key.rpartition(".")[0].removesuffix("[]")
        # What is inside a dead key is told with it.
        if not dialect.knows(key) and (not parent or dialect.knows(parent)):
            nested = dialect.place(key)
            hint = f"it is read as {nested}" if nested else "no test file reads it"
            code = "Y113" if nested else "Y112"
            yield error(code, f"{path}: {key}", f"a dead key: {hint}", "Move or remove it.")
    for key, mandatory in dialect.read.items():
        parent = key.rpartition(".")[0]
        present = not parent or parent.removesuffix("[]") in seen or parent in seen
        if mandatory and present and key not in seen:
            yield error("Y111", f"{path}: {key}", "the test code demands this key", "Add it.")


def _paths(value: Any, base: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            path = f"{base}.{key}" if base else str(key)
            yield path
            yield from _paths(inner, path)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner, f"{base}[]")


def _metrics(case: Case, path: str, document: dict[str, Any]) -> Iterator[Finding]:
    recorded = {(s.task, s.metric): s for s in case.scored.quoted}
    tasks = document.get("tasks")
    for task in tasks if isinstance(tasks, list) else []:
        for metric in (task.get("metrics") if isinstance(task, dict) else None) or []:
            name, value = str(metric.get("name")), metric.get("value")
            score = recorded.get((str(task.get("name")), name))
            place = f"{path}: {task.get('name')} {name}"
            if score is None:
                yield error("Y114", place, "the metric has no record", "Deliver it with --accuracy score.json.")
            elif value != score.value:
                yield error("Y114", place, f"the value is {value}, the record says {score.value}", "Deliver again.")
    shots = {s.num_fewshot for s in case.scored.quoted}
    if document.get("num_fewshot") is not None and shots and document["num_fewshot"] not in shots:
        yield error("Y114", f"{path}: num_fewshot", "it is not that of the record", "Deliver again.")
    ordered = case.delivered.order if case.delivered is not None else None
    if ordered is not None and ordered.model_id and document.get("model_name") != ordered.model_id:
        why = f"it is {document.get('model_name')!r}, delivered was {ordered.model_id!r}"
        yield error("Y116", f"{path}: model_name", why, "Deliver again.")


def _serving(case: Case, path: str, document: dict[str, Any]) -> Iterator[Finding]:
    gate = case.view.gate("real") if case.view is not None else None
    if gate is None:
        return
    serving: Serving = serving_of(gate, port=0)
    options = {**document, **(document.get("serve") if isinstance(document.get("serve"), dict) else {})}  # type: ignore[dict-item]
    for name, flag in FLAGS.items():
        if name not in options:
            continue
        value = options[name]
        if name == "tensor_parallel_size":
            same = value == gate.tp
        elif serving.has(flag):
            said = serving.flag(flag)
            same = value is True if said is None else str(value) == said
        else:
            same = value in (False, None)
        if not same:
            why = f"{value!r} is not what the last successful start had"
            yield error("Y116", f"{path}: {name}", why, "Deliver again.")


def _registered(case: Case, path: str) -> Iterator[Finding]:
    name = PurePosixPath(path).stem
    listed = (case.now(LIST) or "").split()
    nightly = case.now(NIGHTLY)
    try:
        models = nightly_models(nightly) if nightly is not None else set()
    except FileFormatError as exc:
        yield error("Y110", NIGHTLY, exc.message, "Restore it and deliver again.")
        return
    if f"{name}.yaml" not in listed and name not in models:
        yield error("Y115", path, "no list of tests names it, so it never runs", f"Add it to {LIST} or {NIGHTLY}.")
    yield from _nightly(case, name, nightly)
    if listed.count(f"{name}.yaml") > 1:
        yield error("Y115", LIST, f"{name}.yaml is listed {listed.count(f'{name}.yaml')} times", "Keep one.")


def _nightly(case: Case, name: str, text: str | None) -> Iterator[Finding]:
    """The nightly group is that of the series the run was on, and of its number of devices."""
    if case.view is None or text is None:
        return
    wanted = nightly_group(case.view.target)
    series = [s for s, names in nightly_series(text).items() if name in names]
    before = case.base.read(NIGHTLY) if case.base is not None and NIGHTLY in case.base.files() else ""
    for one in series:
        if one != wanted and name not in nightly_series(before).get(one, []):
            why = f"{name} is in the group of {one}, and the run was on the target {case.view.target}"
            yield error("Y117", NIGHTLY, why, "Take it out, or deliver a run of that series.")
    if not series and not wanted:
        why = f"no nightly group runs {name}: the target {case.view.target} is no Ascend series it has a group for"
        yield warning("Y117", NIGHTLY, why, "Choose a group by hand once the model has run on an Ascend series.")


def lists(case: Case) -> Iterator[Finding]:
    """A list that names a file which is not there stops the whole test run."""
    if LIST not in case.texts:
        return
    for name in (case.texts[LIST] or "").split():
        if name.endswith(".yaml") and not case.exists(f"{CONFIGS}/{name}"):
            yield error("Y115", LIST, f"{name} is listed and does not exist", "Remove the line, or add the file.")
