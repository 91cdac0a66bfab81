"""Hand over what a run proved: refuse, or write the artifacts, make one signed-off commit, and keep what was delivered.

In: a run, a repository, an order. Out: a `Result`. All or nothing: everything is made in memory first, the commit is
made in a work tree aside, and the bundle is written last. A second delivery of the same run changes nothing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from seatrial.core.atomic import write_atomic
from seatrial.core.errors import SeatrialError, UsageError
from seatrial.core.finding import Finding
from seatrial.core.record import Record, from_json, to_json
from seatrial.delivery.benches import Benched
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.order import SCHEMA_VERSION, Delivered, FileSum, Order, Plan, ScoreRun
from seatrial.delivery.plan import commit_message, make_plan
from seatrial.delivery.refuse import refusals
from seatrial.delivery.repository import Repository
from seatrial.delivery.scores import Scored, read_scores
from seatrial.delivery.sources import Source, attached
from seatrial.evidence import Run
from seatrial.evidence.records import HEAD, sha256
from seatrial.evidence.workspace import explained as writable


class Result(Record):
    """`refused`: what is missing; then nothing was written. `state` says what became of the repository."""

    state: Literal["refused", "committed", "staged", "unchanged"]
    refused: tuple[Finding, ...] = ()
    delivered: Delivered | None = None
    bundle: str = ""


def deliver(
    run: Run,
    folder: Path,
    order: Order,
    *,
    bundle: Path,
    scores: tuple[Source | Path, ...] = (),
    benched: Benched | None = None,
    commit: bool = True,
) -> Result:
    """`bundle` is the folder for report, runbook and comment. Raises UsageError for a repository in a wrong state."""
    view = EvidenceView(run)
    repo = Repository.open(folder)
    branch = repo.branch()
    repo.author()
    order = _complete(order, view)
    repo.checked_branch(order.branch_name)
    refused = refusals(view, explained=order.explained, repo=repo.top, included=order.include)
    if refused:
        return Result(state="refused", refused=refused)
    scored = read_scores((*scores, *attached(view)), models=(*view.model_names(), *_published(order)))
    benched = benched or Benched()
    before = _delivered_before(repo, branch, order)
    base = Repository(repo.top, before.base) if before is not None else repo
    is_beside = bundle.resolve().parent.parent / "runs" == run.folder.resolve().parent
    plan = make_plan(base, view, order, scored, benched, is_beside=is_beside)
    message = commit_message(base, view, order, plan)
    _try_folder(bundle)
    if before is not None:
        _same_or_refuse(repo, plan, order, before)
        made = before.commit
        state: Literal["committed", "staged", "unchanged"] = "unchanged"
    else:
        changed = set(repo.changes())
        strange = [p for p in order.include if p not in changed]
        if strange:
            raise UsageError(
                f"--include {strange[0]}: no changed file of {repo.top} has this path",
                mend="Name it as `git status` lists it.",
            )
        left = sorted(changed - set(order.include))
        if not commit and left and _is_staged(repo, plan, left):
            made, state = "", "unchanged"
        elif left:
            names = ", ".join(left[:5])
            raise UsageError(
                f"{repo.top} has changes that are not part of this delivery: {names}",
                mend="Commit or stash them, or name those of the adaptation with --include.",
            )
        elif not plan.files and not order.include:
            made, state = "", "unchanged"
        elif commit:
            files = {f.path: f.text for f in plan.files}
            made = repo.commit(files, order.include, branch=order.branch_name, message=message)
            state = "committed"
        else:
            repo.stage({f.path: f.text for f in plan.files}, order.include)
            made, state = "", "staged"
    delivered = _record(view, repo, base, order, plan, made, scored, benched)
    _write_bundle(bundle, plan, delivered)
    return Result(state=state, delivered=delivered, bundle=str(bundle))


def bundle_folder(place: Path, run_id: str, kind: str, repo: Path) -> Path:
    """Where the bundle of this delivery goes in a workspace: one run may be delivered into several checkouts."""
    folder = place / "deliveries" / f"{run_id}-{kind}"
    file = folder / "delivery.json"
    if not file.is_file():
        return folder
    top = Repository.open(repo).top
    if Path(from_json(Delivered, file.read_bytes(), where=str(file)).repository) == top:
        return folder
    return folder.with_name(f"{folder.name}-{hashlib.sha256(str(top).encode()).hexdigest()[:8]}")


def _published(order: Order) -> tuple[str, ...]:
    return (order.model_id, order.model_id.rsplit("/", 1)[-1]) if order.model_id else ()


class _Before(Record):
    base: str
    commit: str


def _complete(order: Order, view: EvidenceView) -> Order:
    from seatrial.core.record import replace

    if not order.hardware:
        known = {"ascend-a2": "Atlas A2 Series", "ascend-a3": "Atlas A3 Series"}
        named = known.get(view.target, "")
        order = replace(order, hardware=named)
    return order


def _delivered_before(repo: Repository, branch: str, order: Order) -> _Before | None:
    """The branch of this delivery, if it is there already: its only commit and what it was made from."""
    name = order.branch_name
    commit = (repo.git("rev-parse", "--verify", "--quiet", f"refs/heads/{name}", check=False) or "").strip()
    if not commit:
        return None
    parent = (repo.git("rev-parse", "--verify", "--quiet", f"{commit}^", check=False) or "").strip()
    if not parent or (branch != name and parent != repo.at):
        raise UsageError(f"the branch {name} exists already", mend="Delete it, or name another one with --branch.")
    return _Before(base=parent, commit=commit)


def _same_or_refuse(repo: Repository, plan: Plan, order: Order, before: _Before) -> None:
    at = Repository(repo.top, before.commit)
    same = all(f.path in at.files() and at.read(f.path) == f.text for f in plan.files)
    listed = repo.git("diff", "--name-only", "-z", before.base, before.commit) or ""
    named = {p for p in listed.split("\0") if p}
    if not same or named != {f.path for f in plan.files} | set(order.include):
        raise UsageError(
            f"the branch {order.branch_name} exists and does not hold this delivery",
            mend="Delete it, or name another one with --branch.",
        )


def _is_staged(repo: Repository, plan: Plan, changed: list[str]) -> bool:
    """Whether what is changed is exactly this delivery, as `--no-commit` leaves it."""
    if set(changed) != {f.path for f in plan.files}:
        return False
    return all(repo.git("show", f":{f.path}", check=False) == f.text for f in plan.files)


def _record(
    view: EvidenceView,
    repo: Repository,
    base: Repository,
    order: Order,
    plan: Plan,
    commit: str,
    scored: Scored,
    benched: Benched,
) -> Delivered:
    included = tuple(
        FileSum(path=p, what="included", sha256=_file_hash(repo.top / p))
        for p in order.include
        if (repo.top / p).is_file()
    )
    return Delivered(
        schema_version=SCHEMA_VERSION,
        run_id=view.run_id,
        head_sha256=sha256((view.run.folder / HEAD).read_bytes()),
        kind=order.kind,
        model=order.model,
        repository=str(repo.top),
        base=base.at,
        branch=order.branch_name if commit else "",
        commit=commit,
        order=order,
        files=(*(_sum(f.path, f.what, f.text) for f in plan.files), *included),
        bundle=tuple(_sum(f.path, f.what, f.text) for f in plan.bundle),
        dropped=plan.dropped,
        accuracy=tuple(
            dict.fromkeys(ScoreRun(run_id=s.run_id, head_sha256=s.head_sha256) for s in scored.sources if s.run_id)
        ),
        benches=tuple(ScoreRun(run_id=b.run_id, head_sha256=b.head_sha256) for b in benched.quoted),
        benches_refused=benched.refused,
    )


def _sum(path: str, what: str, text: str) -> FileSum:
    return FileSum(path=path, what=what, sha256=hashlib.sha256(text.encode()).hexdigest())


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _try_folder(folder: Path) -> None:
    """The bundle is written last; that it can be is seen first."""
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / ".trial"
        trial.write_bytes(b"x")
        trial.unlink()
    if (folder / "delivery.json").is_dir():
        raise SeatrialError(f"{folder / 'delivery.json'} is a folder", mend="Move it away.")


def _write_bundle(folder: Path, plan: Plan, delivered: Delivered) -> None:
    with writable(folder):
        for file in plan.bundle:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / file.path, file.text.encode("utf-8"))
        write_atomic(folder / "delivery.json", to_json(delivered, indent=2) + b"\n")
