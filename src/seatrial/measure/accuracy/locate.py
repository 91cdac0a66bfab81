"""Locate: one prompt through engine and reference with hooks on both, and the first module outside the noise.

In: a probe session and an `Engine`. Out: a `StepResult` with `LocateFacts`. One prefill and one decode step are
watched; slices go to `scratch` one module at a time. Refuses (EngineError): a side that does not run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from seatrial.core.errors import EngineError, UsageError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record, from_plain, to_plain
from seatrial.core.step import StepResult
from seatrial.core.verdict import failed, inconclusive, passed
from seatrial.engine.border import ProbeSession
from seatrial.measure.accuracy.answers import Asked, Engine, in_process, plain
from seatrial.measure.accuracy.parity import HIGHER
from seatrial.measure.accuracy.prompts import chosen
from seatrial.measure.accuracy.sampled import Sampled, next_step, off_best
from seatrial.measure.accuracy.tensor_account import Account

# How the tokens are chosen is looked at in so many, of the watched prompt's answer and of those to further prompts (the
# short ones, that fit any length): an answer of a small model may say one token over and over.
LOOKED_AT, FURTHER = 16, 3
SHARE = 0.3  # of the engine's outputs; with fewer matched than this nothing can be said


class Suspect(Record):
    """A cause that explains the difference up to `left` (a share of the error). `cause` is a root-cause class."""

    name: str
    cause: str
    says: str
    left: float


class ModuleRow(Record):
    """One output. `relative`, `noise` and `limit` are |difference| / |truth|; `step` 0 is prefill, 1 the decode step.

    `excused`: it is outside the band but what encloses it is inside, so it means something else on the two sides.
    `strayed`: tokens left out because a router's near-tie sent them elsewhere. `by`: how the two sides' modules were
    found to belong together: the same checkpoint tensors went into both, nearly the same by elements, or by name.
    """

    key: str
    step: int
    by: Literal["tensors", "most tensors", "name"]
    engine_key: str
    module: str
    kind: str
    width: int
    relative: float
    noise: float
    limit: float
    out: bool
    excused: bool
    cosine: float
    ulps: float
    bad: int
    tokens: tuple[int, ...]
    tokens_out: tuple[int, ...]
    strayed: tuple[int, ...]
    suspects: tuple[Suspect, ...]


class LocateFacts(Record):
    """`unmatched`: outputs of the engine without a counterpart; `only_reference`: the other way round. `unjudged`:
    outputs all of whose tokens a router's near-ties sent elsewhere, or of which the reference has no finite numbers.
    `dropped`: modules of a dump without their tensors.

    `account`: where the module map is from: the engine whose dry run gave it, else why there is none (modules were
    then matched by name).

    `cause`: the root-cause class of `first`, of the suspect that explains it best, else what its place points to;
    without `first`, what the tokens point to: `sampled` is the first one that is not the engine's own best.
    """

    checkpoint: str
    prompt: str
    prompt_tokens: int
    serving_dtype: str
    truth_dtype: str
    reference: str
    rows: tuple[ModuleRow, ...]
    unmatched: tuple[str, ...]
    only_reference: tuple[str, ...]
    first: ModuleRow | None
    account: str = ""
    unjudged: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    cause: str = ""
    cause_by: Literal["", "suspect", "place", "tokens"] = ""
    sampled: Sampled | None = None


def locate(
    session: ProbeSession,
    engine: Engine,
    asked: Asked,
    *,
    scratch: Path,
    reference: ProbeSession | None = None,
    reference_checkpoint: str = "",
    account: Account | None = None,
    keep: bool = False,
    timeout_s: float = 600.0,
    say: Callable[[str], None] | None = None,
) -> StepResult:
    """Both sides. Without a `reference` session of its own the engine's process is ended first, to free its memory.

    `reference_checkpoint`: the reference reads these weights instead (the engine's may be a converted copy).
    `account`: the dry run's of this checkpoint and number of ranks; without one modules are matched by name.
    """
    there = in_process(
        session,
        engine,
        [asked, *(Asked(text=text) for text in chosen(2 * FURTHER)[::2])],
        max_tokens=LOOKED_AT,
        capture=scratch / "engine",
        keep=keep,
        timeout_s=timeout_s,
        say=say,
    )
    others = (off_best(a.tokens, a.top[len(a.prompt_ids) :], n) for n, a in enumerate(there.answers))
    if reference is None:
        session.rest()
    return against(
        reference or session,
        reference_checkpoint or engine.checkpoint,
        asked,
        modules=there.modules,
        watched=there.watched,
        dtype=there.dtype,
        account=account,
        sampled=next((other for other in others if other is not None), None),
        scratch=scratch,
        keep=keep,
        timeout_s=timeout_s,
        say=say,
    )


def against(
    session: ProbeSession,
    checkpoint: str,
    asked: Asked,
    *,
    modules: Any,
    watched: dict[str, list[int]],
    dtype: str,
    scratch: Path,
    account: Account | None = None,
    sampled: Sampled | None = None,
    dropped: tuple[str, ...] = (),
    passes: tuple[int, ...] = (),
    keep: bool = False,
    timeout_s: float = 600.0,
    say: Callable[[str], None] | None = None,
) -> StepResult:
    """The reference's side against recorded slices (of the engine, or of a dump, whose `passes` have so many tokens).

    Raises UsageError for a dump of another number of tokens than the prompt has.
    """
    if dtype not in HIGHER:
        raise EngineError(f"no reference for a model served in {dtype}", mend="Serve it in bfloat16 or float32.")
    request = {
        "checkpoint": checkpoint,
        "truth": HIGHER[dtype],
        "dtype": dtype,
        "prompt_ids": watched["prompt_ids"],
        # The last answered token was not read back by the model.
        "tokens": watched["tokens"][:-1],
        "engine": modules,
        "account": to_plain(account) if account is not None else {},
        "folder": str(scratch / "reference"),
        "keep": keep,
        **plain(asked),
    }
    reply = session.call("accuracy_locate", request, timeout_s=timeout_s, progress=say)
    if reply.status != "answered":
        raise EngineError(
            f"the reference did not run: {reply.trouble()}",
            mend=f"Transformers must know the architecture; its log is {reply.log}.",
        )
    asked_for = reply.answer["prompt_tokens"]
    if passes and not passes[0] <= asked_for <= sum(passes):
        # Of another prompt, or of padded passes: rows of the same number are then not of the same token.
        raise UsageError(
            f"the dump's first pass has {passes[0]} tokens of {sum(passes)}, the prompt {asked_for}",
            mend="Name the prompt that was dumped with --prompt; dump without padding (eager mode).",
        )
    rows = tuple(_row(row) for row in reply.answer["rows"])
    first = next((r for r in rows if r.out and not r.excused), None)
    suspects = first.suspects if first is not None else ()
    facts = LocateFacts(
        checkpoint=checkpoint,
        prompt=asked.text,
        prompt_tokens=asked_for,
        serving_dtype=dtype,
        truth_dtype=HIGHER[dtype],
        reference=f"{reply.answer['class']} of transformers {reply.answer['transformers']}",
        rows=rows,
        unmatched=tuple(reply.answer["unmatched"]),
        only_reference=tuple(reply.answer["only_reference"]),
        unjudged=tuple(reply.answer["unjudged"]),
        dropped=dropped,
        account=told(account),
        first=first,
        cause=suspects[0].cause if suspects else _cause(first, sampled),
        cause_by="suspect" if suspects else "place" if first is not None else "tokens" if sampled is not None else "",
        sampled=sampled,
    )
    return conclude(facts)


def told(account: Account | None) -> str:
    """The module map's source in words."""
    if account is None:
        return "none: no dry run was made"
    return f"dry run of {account.engine}, {len(account.into)} tensors" if account.into else f"none: {account.trouble}"


def _row(row: dict[str, Any]) -> ModuleRow:
    plain_row = {**row, "kind": row["class"]}
    del plain_row["class"]
    plain_row["suspects"] = [
        {"name": s["name"], "cause": s["class"], "says": s["says"], "left": s["left"]} for s in row["suspects"]
    ]
    return from_plain(ModuleRow, plain_row, where="answer of probe 'accuracy_locate'")


def conclude(facts: LocateFacts) -> StepResult:
    """Verdict and findings A201 (the module), A202 (what it looks like) and A203 (the token is not the best one)."""
    found: list[Finding] = []
    matched = len(facts.rows)
    first = facts.first
    # An output that was judged in one step was judged.
    lost = len(set(facts.unmatched) - {r.engine_key for r in facts.rows}) + len(facts.dropped)
    open_ = len(set(facts.unjudged) - {r.key for r in facts.rows})
    share = matched / max(1, matched + lost)
    if first is not None:
        step = "in the decode step" if first.step else "in prefill"
        place = f"{first.key} ({first.module})"
        message = (
            f"the first output outside the noise {step}: relative error {first.relative:.2g}, rounding is "
            f"{first.noise:.2g} (limit {first.limit:.2g}), cosine {first.cosine:.4f}"
        )
        found.append(
            Finding(
                code="A201",
                severity=Severity.ERROR,
                place=place,
                message=message,
                next_step=_next(first),
            )
        )
        for s in first.suspects[:3]:
            says = f"{s.says} (class: {s.cause}; explains all but {100 * s.left:.1f} % of the error)"
            found.append(Finding(code="A202", severity=Severity.INFO, place=place, message=says))
        by = "" if facts.cause_by == "suspect" else ", by its place: no suspect explains it"
        cause = f": {first.suspects[0].says}" if first.suspects else ""
        kind = f" (class: {facts.cause}{by})"
        outcome = failed(f"{first.key} is the first module that leaves the noise {step}{cause}{kind}")
    elif facts.sampled is not None:
        said = _said(facts.sampled)
        outcome = failed(f"all {matched} matched outputs are within the noise, but {said} (class: sampling)")
    elif share < SHARE or not matched:
        outcome = inconclusive(f"only {matched} of {matched + lost} outputs have a counterpart")
    elif matched / (matched + lost + open_) < SHARE:
        told_ = f"only {matched} of {matched + lost + open_} outputs have a counterpart that could be judged"
        outcome = inconclusive(told_)
    else:
        outcome = passed()
    if facts.sampled is not None:
        said = _said(facts.sampled)
        found.append(
            Finding(code="A203", severity=Severity.ERROR, place="sampling", message=said, next_step=next_step())
        )
    summary = outcome.reason or f"all {matched} matched outputs are within the noise of {facts.serving_dtype}"
    return StepResult(step="locate", outcome=outcome, summary=summary, facts=facts, findings=tuple(found))


def _said(sampled: Sampled) -> str:
    return (
        f"token {sampled.place} of the answer to prompt {sampled.prompt} is {sampled.token}, {sampled.margin:.3f} nats "
        f"below {sampled.best}, the engine's own best"
    )


def _cause(first: ModuleRow | None, sampled: Sampled | None) -> str:
    if first is not None:
        return cause_of_place(first)
    return "sampling" if sampled is not None else ""


def cause_of_place(first: ModuleRow) -> str:
    """The root-cause class that a place points to, where no suspect explains the error.

    What comes between modules has no weights: the rotation is about positions; the attention's core is about its
    kernel, and about the KV cache if prefill was right. A module of its own has weights that were loaded.
    """
    if "#rope" in first.key:
        return "position"
    if "@in" in first.key or first.key.endswith(("attn", "mixer")):
        core = first.key.endswith(("o_proj@in", "out_proj@in", "dense@in", "wo@in", "attn", "mixer"))
        return "KV cache" if core and first.step else "kernel"
    if first.key.endswith("act_fn") or first.bad:
        return "kernel"
    return "weight load"


def _next(first: ModuleRow) -> str:
    what = first.key.split("@")[0].split("#")[0]
    if "@in" in first.key:
        return f"Look at what feeds {what}: its projections agree, the step between them and it does not."
    if "#rope" in first.key:
        return f"Look at the rotary embedding that {what} calls: base, style, positions, kernel."
    return f"Look at the class {first.kind} and at how the weights of {what} are loaded."
