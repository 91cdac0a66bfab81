"""The steps of the main job by name: each a function from what the steps share to a `StepResult`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from seatrial.checkpoint import Checkpoint, index_names, inspect, read_checkpoint
from seatrial.core.finding import errors
from seatrial.core.record import from_plain, replace
from seatrial.core.step import StepResult
from seatrial.core.verdict import inconclusive
from seatrial.dryrun import LISTING, dry, dry_names, served_as
from seatrial.engine.border import ProbeSession
from seatrial.engine.check import NO_DEVICE, check_engine
from seatrial.evidence import Run, StoredStep
from seatrial.gates import gate
from seatrial.gates.agreement import agreement
from seatrial.gates.capacity import Trial, capacity
from seatrial.gates.ladder_run import ladder
from seatrial.gates.matrix import matrix
from seatrial.gates.soak import soak
from seatrial.platforms.stubs import load_stubs, local_root
from seatrial.support import support
from seatrial.targets import Target
from seatrial.workflow.book import Book
from seatrial.workflow.job import Job, Observer
from seatrial.workflow.plan import check_step, plan_step

# Steps that can be done on a machine without the device.
WITHOUT_SERVER = {"inspect", "plan", "engine", "support", "dry", "plan-check"}


class Context:
    """What the steps share during one call. `book` is the running step's own, `done` what was recorded before it."""

    book: Book
    run: Run
    done: Mapping[str, StoredStep]

    def __init__(self, job: Job, target: Target, session: ProbeSession, scratch: Path, observer: Observer) -> None:
        self.job = job
        self.folder = Path(job.checkpoint)
        self.target = target
        self.session = session
        self.scratch = scratch
        self.observer = observer
        self._checkpoint: Checkpoint | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        """Read once, and only when a step needs it."""
        if self._checkpoint is None:
            self._checkpoint = read_checkpoint(self.folder)
        return self._checkpoint

    @property
    def is_multimodal(self) -> bool:
        return self.checkpoint.card.multimodal is not None

    def served(self) -> dict[str, Any]:
        """What every step that starts servers is given. The probe's interpreter lets go of its memory for them."""
        self.session.rest()
        return {
            "python": self.session.python,
            "tp": self.job.tp,
            "max_model_len": self.job.max_model_len,
            "say": self.observer.say,
        }

    @property
    def probe_s(self) -> float:
        return float(self.target.limits.probe_s.value or 600)


def _inspect(context: Context) -> StepResult:
    return inspect(context.folder)


def _plan(context: Context) -> StepResult:
    return plan_step(context.folder, context.target, context.job, context.session.python)


def _plan_check(context: Context) -> StepResult:
    return check_step(context.run, context.done)


def _engine(context: Context) -> StepResult:
    result = check_engine(context.session, context.target, timeout_s=context.probe_s, progress=context.observer.say)
    absent = {f.code for f in errors(result.findings)}
    stubs = load_stubs(context.target.platform, context.target.lineage)
    if stubs is None or not absent or absent - NO_DEVICE or set(context.job.steps()) - WITHOUT_SERVER:
        return result
    # Nothing of this job is served, and the dry run brings stand-ins for the device.
    why = f"{result.summary}; nothing is served in this run, and the dry run stands in for the device's own packages"
    return replace(result, outcome=inconclusive(why))


def _support(context: Context) -> StepResult:
    card = context.checkpoint.card
    stubs = load_stubs(context.target.platform, context.target.lineage)
    if stubs is not None:
        # As in the dry step: a process of its own, with stand-ins where the device's packages are absent.
        context.session.rest()
    try:
        return support(
            card.architecture.architectures,
            session=context.session,
            model_type=card.architecture.model_type or "",
            has_experts=card.feed_forward.moe is not None,
            is_multimodal=context.is_multimodal,
            remote_code=card.architecture.remote_code is not None,
            stubs=stubs,
            plugin_root=local_root(context.target.roots.plugin),
            timeout_s=context.probe_s,
            progress=context.observer.say,
        )
    finally:
        if stubs is not None:
            context.session.rest()


def _dry(context: Context) -> StepResult:
    checkpoint = context.checkpoint
    known = checkpoint.card.weights.known
    if known != "names" and not checkpoint.tensors:
        why = checkpoint.card.weights.note or "the checkpoint holds no tensor that seatrial can read"
        return StepResult(step="dry", outcome=inconclusive(why), summary=why, facts=None)
    stubs = load_stubs(context.target.platform, context.target.lineage)
    served = served_as(context.target.serve.args)
    options: dict[str, Any] = {
        "session": context.session,
        "tp": context.job.tp,
        "pp": served.pp,
        "ep": served.ep,
        "dtype": served.dtype,
        "quantization": served.quantization,
        "stubs": stubs,
        "plugin_root": local_root(context.target.roots.plugin),
        "chosen": context.job.target,
        "listing": context.scratch / LISTING,
        "timeout_s": context.probe_s,
        "progress": context.observer.say,
    }
    if stubs is not None:
        # Stubs must be in place before vLLM is imported, and no later step may meet them: a process of its own.
        context.session.rest()
    try:
        if known == "names":
            return dry_names(context.folder, index_names(context.folder, checkpoint.card), **options)
        return dry(context.folder, checkpoint.tensors, **options)
    finally:
        if stubs is not None:
            context.session.rest()


def _gate(stage: Literal["dummy", "real"]) -> Callable[[Context], StepResult]:
    def step(context: Context) -> StepResult:
        # The probe's interpreter holds the engine in memory; the server needs that room.
        context.session.rest()
        return gate(
            context.folder,
            context.target,
            python=context.session.python,
            stage=stage,
            scratch=context.scratch,
            tp=context.job.tp,
            max_model_len=context.job.max_model_len,
            multimodal=context.is_multimodal,
            say=context.observer.say,
        )

    return step


def climb_from(context: Context, first: StepResult) -> StepResult:
    """The ladder after a gate of this run that failed."""
    stage: Literal["dummy", "real"] = "dummy" if first.step == "dummy" else "real"
    return ladder(
        first,
        context.folder,
        context.target,
        stage=stage,
        scratch=context.scratch / f"{first.step}-ladder",
        multimodal=context.is_multimodal,
        **context.served(),
    )


def _features(context: Context) -> StepResult:
    return matrix(
        context.folder,
        context.target,
        stage=context.job.weights(),
        scratch=context.scratch / "features",
        **context.served(),
    )


def _agreement(context: Context) -> StepResult:
    return agreement(
        context.folder,
        context.target,
        stage=context.job.weights(),
        scratch=context.scratch / "agreement",
        **context.served(),
    )


def _soak(context: Context) -> StepResult:
    return soak(
        context.folder,
        context.target,
        stage=context.job.weights(),
        scratch=context.scratch / "soak",
        requests=context.job.soak,
        **context.served(),
    )


def _capacity(context: Context) -> StepResult:
    """Each trial is a record of the run as soon as it is made; those of an earlier, killed call are not made again."""
    book = context.book
    before = book.pieces("trial")
    served = context.served()
    del served["max_model_len"]  # The context length is what is sought.
    result = capacity(
        context.folder,
        context.target,
        stage=context.job.weights(),
        scratch=context.scratch / "capacity",
        context=context.job.context,
        sequences=context.job.sequences,
        done=[from_plain(Trial, piece.body, where="a trial's record") for piece in before],
        keep=lambda trial, log: book.keep("trial", trial, f"{trial.context}x{trial.sequences}-server.log", log),
        **served,
    )
    return replace(result, attachments=(*map(book.attachment, before), *result.attachments))


STEPS: dict[str, Callable[[Context], StepResult]] = {
    "inspect": _inspect,
    "plan": _plan,
    "engine": _engine,
    "support": _support,
    "dry": _dry,
    "dummy": _gate("dummy"),
    "real": _gate("real"),
    "plan-check": _plan_check,
    "features": _features,
    "agreement": _agreement,
    "soak": _soak,
    "capacity": _capacity,
}
