"""The accuracy test of the model in the repository's own dialect, and its registration where tests are listed.

In: the repository, the evidence, the quoted scores. Out: files, or the reason why there are none. A value that is not
recorded is not written; a key that the test code does not read is not written either.
"""

from __future__ import annotations

import io
import json
import re
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.order import Dropped, Order, Outgoing
from seatrial.delivery.repository import Repository
from seatrial.delivery.scores import Scored
from seatrial.delivery.serve import Serving
from seatrial.delivery.yaml_dialect import Dialect, dialect_of, merge
from seatrial.measure.accuracy.records import AccuracyScore

TESTS = "tests/e2e/models"
MAIN_TEST = f"{TESTS}/test_lm_eval_correctness.py"
CONFIGS = f"{TESTS}/configs"
LIST = f"{CONFIGS}/accuracy.txt"
NIGHTLY = ".github/workflows/configs/nightly_config.yaml"
TOOL = "lm-eval"  # what that test calls; its config names that tool's tasks and metrics
# Serving options of an accuracy test and the flags of `vllm serve` that say the same.
FLAGS = {
    "tensor_parallel_size": "--tensor-parallel-size",
    "dtype": "--dtype",
    "max_model_len": "--max-model-len",
    "gpu_memory_utilization": "--gpu-memory-utilization",
    "trust_remote_code": "--trust-remote-code",
    "enable_expert_parallel": "--enable-expert-parallel",
    "enforce_eager": "--enforce-eager",
    "quantization": "--quantization",
}


def repository_dialect(repo: Repository) -> Dialect | None:
    """What the repository's model tests read; None if it has no such tests."""
    files = [p for p in repo.files() if p.startswith(f"{TESTS}/test_") and p.endswith(".py")]
    if MAIN_TEST not in files:
        return None
    ordered = [MAIN_TEST, *(f for f in sorted(files) if f != MAIN_TEST)]
    return merge(dialect_of(repo.read(f), f) for f in ordered)


def main_dialect(repo: Repository) -> Dialect | None:
    """What the test of language models alone reads."""
    return dialect_of(repo.read(MAIN_TEST), MAIN_TEST) if MAIN_TEST in repo.files() else None


def accuracy_files(
    repo: Repository, view: EvidenceView, order: Order, scored: Scored, serving: Serving, tp: int
) -> tuple[list[Outgoing], list[Dropped]]:
    """The YAML and its registration."""
    dialect = main_dialect(repo)
    what = "accuracy test"
    usable = tuple(s for s in scored.quoted if s.tool == TOOL)
    if dialect is None:
        return [], [Dropped(what=what, reason=f"the repository has no {MAIN_TEST}")]
    if not scored.quoted:
        why = "; ".join(scored.refused) or "no accuracy result is recorded, and no metric is made up"
        return [], [Dropped(what=what, reason=why)]
    if not usable:
        tools = ", ".join(sorted({s.tool for s in scored.quoted}))
        why = f"{MAIN_TEST} runs {TOOL}, and the recorded result is of {tools}: its tasks and metrics are others"
        return [], [Dropped(what=what, reason=why)]
    if not order.model_id:
        return [], [Dropped(what=what, reason="the published name of the model is not known: --model-id ORG/NAME")]
    path = f"{CONFIGS}/{order.model}.yaml"
    document = document_of(dialect, view, order, usable, serving, tp)
    files = [Outgoing(path=path, text=dumped(document), what="accuracy-yaml")]
    registered, dropped = _registration(repo, order.model, tp, view.target)
    return [*files, *registered], dropped


def document_of(
    dialect: Dialect, view: EvidenceView, order: Order, scores: tuple[AccuracyScore, ...], serving: Serving, tp: int
) -> dict[str, Any]:
    """The YAML's content, in the order of the repository's own files."""
    found: dict[str, Any] = {"model_name": order.model_id}
    kind = "vllm-vlm" if view.is_multimodal() else "vllm"
    for key in ("model_type", "model"):
        if dialect.knows(key):
            found[key] = kind
            break
    if order.hardware:
        found["hardware"] = order.hardware
    options = _options(serving, tp)
    placed = {name: dialect.place(name) for name in options}
    nested = {n: options[n] for n, p in placed.items() if p == f"serve.{n}"}
    if nested:
        found["serve"] = nested
    found |= {n: options[n] for n, p in placed.items() if p == n}
    tasks: dict[str, list[AccuracyScore]] = {}
    for score in scores:
        tasks.setdefault(score.task, []).append(score)
    found["tasks"] = [
        {"name": task, "metrics": [{"name": s.metric, "value": s.value} for s in rows]} for task, rows in tasks.items()
    ]
    shots = {s.num_fewshot for s in scores}
    if len(shots) == 1 and None not in shots and dialect.knows("num_fewshot"):
        found["num_fewshot"] = shots.pop()
    chats = {s.request.chat_template for s in scores}
    if len(chats) == 1 and None not in chats and dialect.knows("apply_chat_template"):
        found["apply_chat_template"] = chats.pop()
    return found


def _options(serving: Serving, tp: int) -> dict[str, Any]:
    found: dict[str, Any] = {"tensor_parallel_size": tp}
    for name, flag in FLAGS.items():
        if serving.has(flag) and name not in found:
            value = serving.flag(flag)
            found[name] = True if value is None else _typed(value)
    return found


def _typed(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (int, float)) else text


def dumped(document: dict[str, Any]) -> str:
    """YAML with the layout of the repository's own configs: names quoted, a blank line between the parts."""
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString as Quoted

    def quoted(value: Any) -> Any:
        if isinstance(value, str):
            return Quoted(value)
        if isinstance(value, dict):
            return {k: quoted(v) for k, v in value.items()}
        return [quoted(v) for v in value] if isinstance(value, list) else value

    yaml = YAML()
    yaml.default_flow_style = False
    parts = []
    for key, value in document.items():
        out = io.StringIO()
        yaml.dump({key: quoted(value)}, out)
        blank = "\n" if isinstance(value, (dict, list)) else ""
        parts.append(f"{blank}{out.getvalue()}{blank}")
    return re.sub(r"\n{3,}", "\n\n", "".join(parts)).strip("\n") + "\n"


def _registration(repo: Repository, model: str, tp: int, target: str) -> tuple[list[Outgoing], list[Dropped]]:
    files: list[Outgoing] = []
    dropped: list[Dropped] = []
    if LIST in repo.files():
        text = repo.read(LIST)
        if f"{model}.yaml" not in text.split():
            end = "" if text.endswith("\n") or not text else "\n"
            files.append(Outgoing(path=LIST, text=f"{text}{end}{model}.yaml\n", what="registration"))
    else:
        dropped.append(Dropped(what="list of accuracy tests", reason=f"the repository has no {LIST}"))
    if NIGHTLY in repo.files():
        text = repo.read(NIGHTLY)
        soc = nightly_group(target)
        place = nightly_place(text, soc, tp) if soc else None
        if model in nightly_models(text):
            pass
        elif not soc:
            why = f"the run's target {target} is no Ascend series that {NIGHTLY} has a group for; choose one by hand"
            dropped.append(Dropped(what="nightly registration", reason=why))
        elif place is None:
            why = f"{NIGHTLY} has no accuracy group of {soc} for {tp} device(s); choose one by hand"
            dropped.append(Dropped(what="nightly registration", reason=why))
        else:
            lines = text.split("\n")
            lines.insert(place[0], f"{' ' * place[1]}- {model}")
            files.append(Outgoing(path=NIGHTLY, text="\n".join(lines), what="registration"))
    else:
        dropped.append(Dropped(what="nightly registration", reason=f"the repository has no {NIGHTLY}"))
    return files, dropped


def nightly_group(target: str) -> str:
    """The group of the nightly configuration for a target; empty where nothing says on which series it would run."""
    return {"ascend-a2": "a2", "ascend-a3": "a3"}.get(target, "")


def nightly_models(text: str) -> set[str]:
    """Every name in any `model_list` of a workflow's configuration."""
    return {name for names in nightly_series(text).values() for name in names}


def nightly_series(text: str) -> dict[str, list[str]]:
    """The names of all lists by series (`a2`, `a3`, ...), the first key of the configuration."""
    document = loaded(text, NIGHTLY)
    parts = document.items() if isinstance(document, dict) else ()
    return {
        str(series): [str(m) for group in _groups(part) for m in group.get("model_list") or []]
        for series, part in parts
    }


def nightly_place(text: str, soc: str, tp: int) -> tuple[int, int] | None:
    """Line to insert at, and the dash's column, in the list of the group whose runner has `tp` devices."""
    document = loaded(text, NIGHTLY)
    part = (document.get(soc) or {}).get("accuracy") or {}
    for section in ("nightly", "pr_only"):
        for group in part.get(section) or []:
            models = group.get("model_list")
            if models and str(group.get("os") or "").endswith(f"-{tp}"):
                row, column = models.lc.item(len(models) - 1)
                return row + 1, column - 2
    return None


def _groups(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        here = [value] if "model_list" in value else []
        return here + [g for inner in value.values() for g in _groups(inner)]
    return [g for inner in value for g in _groups(inner)] if isinstance(value, list) else []


def loaded(text: str, where: str) -> Any:
    """YAML as plain data that knows its lines; raises FileFormatError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML().load(text) or {}
    except (YAMLError, ValueError) as exc:
        raise FileFormatError(f"{where} is no YAML: {str(exc).splitlines()[0]}") from exc
