"""Each step's verdict, derived again from what lies beside it: answers, logs, tensor accounts, trials.

In: a run's evidence. Out: findings; empty where the records say what the raw evidence says. A rule needs nothing but
the files, so that it holds on a machine without an engine. What cannot be derived again is said (`Y290`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from seatrial.checkpoint.card import Card
from seatrial.checkpoint.step import judge as judge_card
from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding, errors
from seatrial.core.record import from_plain
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import GATES, EvidenceView
from seatrial.delivery.verify.accuracy_rules import accuracy
from seatrial.delivery.verify.common import error, note
from seatrial.delivery.verify.compared_rules import agreement, ladder
from seatrial.delivery.verify.gate_rules import gate_rule
from seatrial.delivery.verify.plan_rules import check, plan
from seatrial.delivery.verify.served_rules import capacity, features, soak
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules import findings as dry_findings
from seatrial.dryrun.run import judge as judge_account
from seatrial.evidence import StoredStep, verdict_of
from seatrial.measure.accuracy.records import LEVELS


def rederive(view: EvidenceView) -> tuple[list[Finding], int]:
    """The findings, and how many verdicts were derived again."""
    found: list[Finding] = []
    derived = 0
    for step, known in view.gathered.steps.items():
        if not known.stored.inputs:
            continue
        if known.problem:
            found.append(error("Y201", step, f"the facts cannot be read: {known.problem}"))
            continue
        rule = RULES.get(step)
        if rule is None:
            found.append(note(step, "no rule derives this step's verdict from its raw evidence"))
            continue
        derived += 1
        try:
            found += rule(view, known.stored)
        except FileFormatError as exc:
            found.append(error("Y201", step, exc.message))
    found += _finished(view)
    found += _order(view)
    return found, derived


def _dry(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    try:
        account = from_plain(DryAccount, view.facts("dry"), where="facts of dry")
    except FileFormatError as exc:
        yield error("Y201", "dry", exc.message)
        return
    found = dry_findings(account)
    wanted = judge_account(account, found).verdict
    if stored.outcome.verdict is not wanted:
        yield error("Y208", "dry", f"the verdict is {stored.outcome.verdict.value}, the account says {wanted.value}")
    sums = account.sums
    counted = sum(line.count for line in account.tensors)
    if account.tensors and not account.names_only and counted > sums.tensors:
        yield error("Y208", "dry", f"the sums count {sums.tensors} tensors, the lines {counted}")
    whole = sums.bytes_placed + sums.bytes_elsewhere + sums.bytes_dropped + sums.bytes_unexplained
    if sums.exact and whole != sums.bytes_in:
        yield error("Y208", "dry", f"{sums.bytes_in} bytes went in, {whole} are accounted for")


def _inspect(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    try:
        card = from_plain(Card, view.facts("inspect"), where="facts of inspect")
    except FileFormatError as exc:
        yield error("Y201", "inspect", exc.message)
        return
    wanted = judge_card(card).verdict
    if stored.outcome.verdict is not wanted:
        yield error("Y209", "inspect", f"the verdict is {stored.outcome.verdict.value}, the card says {wanted.value}")


def _engine(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    if stored.outcome.verdict is Verdict.PASS and errors(stored.findings):
        yield error("Y209", stored.step, f"it passed with the error {errors(stored.findings)[0].one_line()}")
    version = view.facts("engine").get("vllm_version") or view.facts("engine").get("vllm")
    installed = view.manifest.versions.get("vllm", "")
    if isinstance(version, str) and installed and not installed.startswith(version.split("+")[0]):
        yield error("Y209", stored.step, f"the step saw vLLM {version}, the manifest lists {installed}")


def _finished(view: EvidenceView) -> Iterator[Finding]:
    """The run's own verdict and seal, from those of its steps."""
    finished = view.gathered.finished
    if not finished:
        return
    steps = {s: k.stored for s, k in view.gathered.steps.items()}
    asked = view.manifest.arguments.get("stages")
    wanted = verdict_of(steps)
    said = finished.get("verdict")
    if said != wanted.value:
        yield error("Y212", "finished", f"the run's verdict is {said}, its steps come to {wanted.value}")
    real = steps.get("real")
    signed = wanted is Verdict.PASS and real is not None and real.outcome.verdict is Verdict.PASS
    gate = view.gate("real")
    if gate is not None and gate.layers is not None:
        signed = False
    if bool(finished.get("signed_off")) and not signed:
        yield error("Y212", "finished", "the run is signed off, and its steps do not allow it")
    for stage in asked if isinstance(asked, list) else []:
        if stage not in steps:
            yield error("Y212", "finished", f"the stage {stage} was asked for and has no record")


def _order(view: EvidenceView) -> Iterator[Finding]:
    """Records are in the order of time, and none is older than the manifest."""
    last = view.manifest.created_at
    for entry in view.run.log.entries:
        if entry.at < last:
            yield error("Y213", f"record {entry.seq}", f"it is of {entry.at}, before {last}")
        last = max(last, entry.at)


RULES: dict[str, Callable[[EvidenceView, StoredStep], Iterator[Finding]]] = {
    "inspect": _inspect,
    "plan": plan,
    "plan-check": check,
    "engine": _engine,
    "support": _engine,
    "dry": _dry,
    **dict.fromkeys(GATES, gate_rule),
    **{f"{stage}-ladder": ladder for stage in GATES},
    "features": features,
    "agreement": agreement,
    "capacity": capacity,
    "soak": soak,
    **{f"accuracy-{level}": accuracy for level in LEVELS},
}


def run_folders(place: Path) -> list[Path]:
    """The runs in a folder: itself, those of a workspace, or those of a bundle that holds one."""
    if (place / "manifest.json").is_file():
        return [place]
    for base in (place / "runs", place / ".seatrial" / "runs", place):
        if base.is_dir():
            found = sorted(f for f in base.iterdir() if (f / "manifest.json").is_file())
            if found:
                return found
    return []
