"""What must be proven before anything is handed over: the list of what is missing, each with the way to mend it.

In: a run's evidence, what the author explained, the files of the delivery. Out: findings Y001…Y007, empty if none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from seatrial.core.finding import Finding, Severity
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.evidence import verify_run
from seatrial.evidence.manifest import git_state

EXPLAINABLE = ("features", "capacity", "sources")


def refusals(
    view: EvidenceView, *, explained: Mapping[str, str], repo: Path, included: Collection[str]
) -> tuple[Finding, ...]:
    """`explained`: subject to the author's reason. `included`: paths of the repository that go into the commit."""
    found: list[Finding] = []
    found += _whole(view)
    found += _real(view)
    found += _false_ready(view)
    found += _features(view, explained)
    found += _capacity(view, explained)
    found += _sources(view, explained, repo, included)
    return tuple(found)


def _whole(view: EvidenceView) -> list[Finding]:
    found = []
    checked = verify_run(view.run.folder)
    if checked.verdict is not Verdict.PASS:
        what = checked.findings[0].one_line() if checked.findings else "nothing is recorded"
        found.append(_refusal("Y001", view.run_id, f"the evidence is not whole: {what}", "seatrial runs verify"))
    if view.gathered.state != "finished":
        found.append(
            _refusal("Y001", view.run_id, f"the run is {view.gathered.state}", f"seatrial run --resume {view.run_id}")
        )
    return found


def _real(view: EvidenceView) -> list[Finding]:
    gate = view.gate("real")
    again = f"seatrial run {view.manifest.checkpoint} --target {view.target} (with the stage real)"
    if gate is None and view.passed("real"):
        why = "the facts of the real gate cannot be read by this version of seatrial"
        return [_refusal("Y002", "real", why, "Deliver with the version that made the run, or run again.")]
    if gate is None or not view.passed("real"):
        stored = view.stored("real")
        why = stored.outcome.reason if stored is not None else "no start with the checkpoint's weights is recorded"
        return [_refusal("Y002", "real", f"no real-weight gate passed: {why}", again)]
    found = []
    if gate.layers is not None:
        found.append(
            _refusal("Y002", "real", f"the model was cut to {gate.layers} layers: no proof of the whole", again)
        )
    answered = [r for r in gate.requests if r.status == 200 and r.text.strip()]
    kept = [r for r in answered if r.response_attachment and view.text("real", r.response_attachment)]
    if not kept:
        why = "no request of the real gate was answered with text and kept"
        found.append(_refusal("Y003", "real", why, again))
    elif view.is_multimodal() and not any(r.name == "image" for r in kept):
        why = "the checkpoint takes images, and no request with one was answered"
        found.append(_refusal("Y003", "real", why, again))
    return found


def _false_ready(view: EvidenceView) -> list[Finding]:
    later = {s.stage: s for s in view.starts() if s.is_last}
    found = []
    for start in view.starts():
        last = later.get(start.stage)
        if start.ending == "false-ready" and (last is None or last.ending != "ready"):
            why = f"a false-ready is unresolved: {start.reason}"
            found.append(
                _refusal("Y005", f"record {start.record}, {start.stage}", why, "Find its cause: seatrial triage.")
            )
    return found


def _features(view: EvidenceView, explained: Mapping[str, str]) -> list[Finding]:
    rows = view.features()
    if not rows:
        if explained.get("features"):
            return []
        return [
            _refusal(
                "Y004",
                "features",
                "no feature was attempted, and nobody said why",
                'Run the feature matrix as a step of the run, or say why not: --explain features="…".',
            )
        ]
    silent = [r for r in rows if r.status not in ("supported", "unsupported") and not r.reason.strip()]
    return [
        _refusal("Y004", r.name, f"the feature is {r.status} and no reason is recorded", "seatrial features --only …")
        for r in silent
    ]


def _capacity(view: EvidenceView, explained: Mapping[str, str]) -> list[Finding]:
    facts = view.facts("capacity")
    how = 'Run the capacity sweep as a step of the run, or say why not: --explain capacity="…".'
    if explained.get("capacity"):
        return []
    if not facts:
        return [_refusal("Y006", "capacity", "the capacity baseline is neither reported nor explained", how)]
    if not facts.get("baseline_served") and not str(facts.get("root_cause") or "").strip():
        return [_refusal("Y006", "capacity", "the baseline was not served and no root cause is recorded", how)]
    return []


def _sources(view: EvidenceView, explained: Mapping[str, str], repo: Path, included: Collection[str]) -> list[Finding]:
    """Changed sources the run was made with: they are part of what was proven, so they are part of the delivery."""
    found: list[Finding] = []
    top = repo.resolve()
    roots = view.manifest.target.get("roots")
    names = {str(v) for v in roots.values() if v} if isinstance(roots, dict) else set()
    for state in view.manifest.git:
        is_here = Path(state.folder).exists() and (
            Path(state.folder).resolve() == top or top in Path(state.folder).resolve().parents
        )
        if is_here:
            now = git_state(top)
            if now is not None and state.is_dirty and now.changes and now.changes != state.changes:
                why = "the changed sources are not those the run was made with"
                found.append(_refusal("Y007", state.folder, why, "Run again with the sources as they are now."))
            left = [p for p in state.dirty if p not in included]
            if left:
                why = f"{len(left)} changed source(s) of the run are not included: {', '.join(left[:5])}"
                found.append(_refusal("Y007", state.folder, why, f"Add them: --include {left[0]}"))
        elif state.folder in names and state.is_dirty and not explained.get("sources"):
            why = f"the run used sources with {len(state.dirty)} change(s) that are not in this repository"
            found.append(
                _refusal("Y007", state.folder, why, 'Deliver them there first, or say why not: --explain sources="…".')
            )
    return found


def _refusal(code: str, place: str, message: str, next_step: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, place=place, message=message, next_step=next_step)
