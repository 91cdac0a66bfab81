"""Check a delivery: find its files, its evidence and its record, then apply every rule.

In: a folder, the workspace that may hold the evidence. Out: a `Report`; without evidence what needs it is inconclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record, from_json
from seatrial.core.verdict import Verdict
from seatrial.delivery.benches import Benched
from seatrial.delivery.check.bundle_rules import bundle, readable_benches, readable_scores
from seatrial.delivery.check.case import Case, warning
from seatrial.delivery.check.commits import commits, readable, scope
from seatrial.delivery.check.docs_rules import figures, links, placeholders, tutorials
from seatrial.delivery.check.yaml_rules import lists, yaml_files
from seatrial.delivery.docs_dialect import docs_dialect
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.figures import numbers_of
from seatrial.delivery.order import Delivered
from seatrial.delivery.repository import Repository
from seatrial.delivery.scores import Scored, read_scores
from seatrial.delivery.sources import attached
from seatrial.evidence import Run, Workspace

RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    commits, scope, readable, yaml_files, lists, tutorials, links, figures, placeholders,
)  # fmt: skip
UPSTREAM = ("@{upstream}", "origin/HEAD", "origin/main", "origin/master", "main", "master")


class Report(Record):
    """`files`: the delivered paths. `figures`: how many were looked up. Inconclusive when nothing could be compared."""

    verdict: Verdict
    files: tuple[str, ...]
    figures: int
    run_id: str
    findings: tuple[Finding, ...]


class _Kept(Record):
    """A delivery record and the bundle's folder it lies in."""

    delivered: Delivered
    folder: str


def check_delivery(folder: Path, workspace: Workspace, *, run: str = "", base: str | None = None) -> Report:
    """`run` names the evidence; left out, it is that of the delivery record for this checkout, if there is one."""
    repo = Repository.open(folder)
    kept = _record_for(repo, workspace)
    delivered = kept.delivered if kept is not None else None
    name = run or (delivered.run_id if delivered is not None else "")
    view = EvidenceView(Run.read(workspace.run_folder(name))) if name else None
    scored = _scores(view, kept)
    base_repo = _base(repo, base, delivered)
    case = Case(
        repo=repo,
        base=base_repo,
        texts=_texts(repo, base_repo),
        docs=docs_dialect(repo),
        view=view,
        scored=scored,
        delivered=delivered,
        numbers=numbers_of(view, scored, _benches(kept)) if view is not None else None,
    )
    found = [f for rule in RULES for f in rule(case)]
    if kept is not None:
        found += bundle(Path(kept.folder), kept.delivered, view, case.numbers)
    if view is None:
        why = "no run is known for this delivery: metrics, commands and figures were not compared"
        found.append(warning("Y100", str(repo.top), why, "Name it: seatrial deliver RUN --check DIR."))
    if not case.texts:
        found.append(warning("Y100", str(repo.top), "nothing is delivered here", "seatrial deliver RUN --repo DIR"))
    failed = any(f.severity is Severity.ERROR for f in found)
    open_ends = view is None or not case.texts or base_repo is None
    return Report(
        verdict=Verdict.FAIL if failed else Verdict.INCONCLUSIVE if open_ends else Verdict.PASS,
        files=tuple(case.texts),
        figures=case.looked_up,
        run_id=name,
        findings=tuple(found),
    )


def _record_for(repo: Repository, workspace: Workspace) -> _Kept | None:
    """The newest delivery record of the workspace that names this checkout."""
    found: list[tuple[float, _Kept]] = []
    for file in sorted((workspace.root / "deliveries").glob("*/delivery.json")):
        try:
            delivered = from_json(Delivered, file.read_bytes(), where=str(file))
        except (OSError, FileFormatError) as exc:
            raise FileFormatError(f"{file} cannot be read: {exc}", mend="Restore it, or deliver again.") from exc
        if Path(delivered.repository) == repo.top:
            found.append((file.stat().st_mtime, _Kept(delivered=delivered, folder=str(file.parent))))
    here = (repo.git("symbolic-ref", "--quiet", "--short", "HEAD", check=False) or "").strip()
    mine = [f for f in found if f[1].delivered.branch in (here, "")] or found
    return max(mine, key=lambda f: f[0])[1] if mine else None


def _scores(view: EvidenceView | None, kept: _Kept | None) -> Scored:
    """Those that went along with the delivery, or are attached to the run."""
    if kept is not None:
        return readable_scores(Path(kept.folder), kept.delivered)
    return read_scores(attached(view)) if view is not None else Scored()


def _benches(kept: _Kept | None) -> Benched:
    return readable_benches(Path(kept.folder), kept.delivered) if kept is not None else Benched()


def _base(repo: Repository, named: str | None, delivered: Delivered | None) -> Repository | None:
    if named:
        return Repository.open(repo.top, named)
    if delivered is not None:
        return Repository.open(repo.top, delivered.base)
    for ref in UPSTREAM:
        commit = (repo.git("merge-base", ref, "HEAD", check=False) or "").strip()
        if commit and commit != repo.at:
            return Repository(repo.top, commit)
    changed = repo.changes()
    return repo if changed else None


def _texts(repo: Repository, base: Repository | None) -> dict[str, str | None]:
    """Every path that differs from the base, in the commits or in the work tree, with its text now."""
    paths = set(repo.changes())
    start = base.at if base is not None else f"{repo.at}^"
    paths.update(p for p in (repo.git("diff", "--name-only", "-z", start, "HEAD", check=False) or "").split("\0") if p)
    texts: dict[str, str | None] = {}
    for path in sorted(paths):
        place = repo.top / path
        try:
            texts[path] = place.read_text(encoding="utf-8") if place.is_file() and not place.is_symlink() else None
        except (OSError, UnicodeDecodeError):
            texts[path] = None
    if len(texts) > 500:
        raise UsageError(f"{len(texts)} files differ from the base", mend="Name the right one: --base COMMIT.")
    return texts
