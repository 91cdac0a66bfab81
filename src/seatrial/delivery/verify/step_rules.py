"""The steps before a server starts, from their facts; and a run's own verdict and seal, from those of its steps."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.checkpoint.card import Card
from seatrial.checkpoint.step import judge as judge_card
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.finding import Finding, errors
from seatrial.core.record import from_plain
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import GATES, EvidenceView
from seatrial.delivery.verify.common import error
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules import findings as dry_findings
from seatrial.dryrun.run import judge as judge_account
from seatrial.engine.border import ProbeReply
from seatrial.engine.check import NO_DEVICE
from seatrial.engine.identity import examine
from seatrial.evidence import StoredStep, verdict_of
from seatrial.platforms import platform
from seatrial.support import SupportFacts
from seatrial.support.step import judge as judge_support


def dry(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    if view.gathered.steps["dry"].facts is None and stored.outcome.verdict is Verdict.INCONCLUSIVE:
        return  # the checkpoint had no tensor that could be read
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
    """What the engine said of itself, examined again. Where nothing is served, an absent device leaves it open."""
    facts, step = view.facts("engine"), stored.step
    if not facts or "status" in facts:
        # It did not answer: the facts are the probe's.
        if stored.outcome.verdict is not Verdict.FAIL or not facts:
            yield error(
                "Y209", step, f"the verdict is {stored.outcome.verdict.value}, and no answer of the engine is kept"
            )
        return
    try:
        device = platform(view.platform).device_type
    except UsageError as exc:
        yield error("Y209", step, exc.message)
        return
    reply = ProbeReply(probe="identity", status="answered", duration_s=0.0, log="", answer=facts)
    codes = {f.code for f in errors(examine(reply, device))}
    served = any(gate in view.gathered.steps for gate in GATES)
    wanted = {Verdict.FAIL} if codes else {Verdict.PASS}
    if codes and codes <= NO_DEVICE and not served:
        wanted.add(Verdict.INCONCLUSIVE)
    if stored.outcome.verdict not in wanted:
        told = ", ".join(sorted(codes)) or "no fault"
        yield error("Y209", step, f"the verdict is {stored.outcome.verdict.value}, the engine's own answer has {told}")
    if codes != {f.code for f in errors(stored.findings)}:
        yield error("Y209", step, f"its findings are not those of the engine's own answer ({', '.join(sorted(codes))})")
    version, installed = facts.get("vllm_version"), view.manifest.versions.get("vllm", "")
    if isinstance(version, str) and installed and not installed.startswith(version.split("+")[0]):
        yield error("Y209", step, f"the step saw vLLM {version}, the manifest lists {installed}")


def support(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """What the registry said, judged again; without an answer nothing passes."""
    facts = from_plain(SupportFacts, view.facts("support"), where="facts of support")
    wanted = Verdict.INCONCLUSIVE if facts.road == "unknown" else judge_support(facts).verdict
    if stored.outcome.verdict is not wanted:
        said = stored.outcome.verdict.value
        yield error(
            "Y209", stored.step, f"the verdict is {said}, what the engine's registry said makes it {wanted.value}"
        )


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
