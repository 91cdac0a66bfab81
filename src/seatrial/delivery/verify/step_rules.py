"""The steps before a server starts, from their facts; and a run's own verdict and seal, from those of its steps."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.checkpoint.card import Card
from seatrial.checkpoint.step import judge as judge_card
from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding, errors
from seatrial.core.record import from_plain
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.verify.common import error
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules import findings as dry_findings
from seatrial.dryrun.run import judge as judge_account
from seatrial.evidence import StoredStep, verdict_of


def dry(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
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


def inspect(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    try:
        card = from_plain(Card, view.facts("inspect"), where="facts of inspect")
    except FileFormatError as exc:
        yield error("Y201", "inspect", exc.message)
        return
    wanted = judge_card(card).verdict
    if stored.outcome.verdict is not wanted:
        yield error("Y209", "inspect", f"the verdict is {stored.outcome.verdict.value}, the card says {wanted.value}")


def engine(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    if stored.outcome.verdict is Verdict.PASS and errors(stored.findings):
        yield error("Y209", stored.step, f"it passed with the error {errors(stored.findings)[0].one_line()}")
    version = view.facts("engine").get("vllm_version") or view.facts("engine").get("vllm")
    installed = view.manifest.versions.get("vllm", "")
    if isinstance(version, str) and installed and not installed.startswith(version.split("+")[0]):
        yield error("Y209", stored.step, f"the step saw vLLM {version}, the manifest lists {installed}")


def finished(view: EvidenceView) -> Iterator[Finding]:
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
