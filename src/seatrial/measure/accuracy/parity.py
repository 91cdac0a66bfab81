"""Parity: the engine's greedy tokens and log-probabilities against HF Transformers on the CPU, and the verdict.

In: what the engine answered (`answers.py`) and a probe session for the reference. Out: `ParityFacts` in a `StepResult`.
The reference scores the engine's own sequences, so one forward pass per sequence is enough and a divergence does not
spoil the positions behind it. Refuses (EngineError): a reference that cannot be loaded.
A little over 250 lines: records, judging and findings of one verdict.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seatrial.core.errors import EngineError
from seatrial.core.finding import Finding, Severity, errors
from seatrial.core.record import Record, replace
from seatrial.core.step import StepResult
from seatrial.core.verdict import failed, inconclusive, passed
from seatrial.engine.border import ProbeSession
from seatrial.measure.accuracy.answers import Answered, plain
from seatrial.measure.accuracy.distance import FEWEST, LIMIT, MOST, Band, band, kl
from seatrial.measure.accuracy.sampled import Sampled, leaking, next_step, off_best
from seatrial.measure.accuracy.sampled import told as told_sampled

# A greedy token other than the reference's is a near-tie if the reference's own margin is within this many standard
# deviations of the noise of a log-probability.
TIE_SIGMAS = 6.0
IN_PROCESS = "in-process"
HIGHER = {"bfloat16": "float32", "float16": "float32", "float32": "float64"}
BEST = 5  # candidates whose log-probabilities make up the noise's standard deviation


class Divergence(Record):
    """The first place where greedy decoding parts from the reference.

    `place` counts answer tokens from 0. `margin`: the truth's log-probability of its own token minus the engine's.
    """

    prompt: int
    place: int
    engine_token: int
    reference_token: int
    margin: float
    near_tie: bool


class Position(Record):
    """One position: KL of the engine and of the noise from the truth, and the shared part of the best candidates."""

    prompt: int
    place: int
    part: str
    engine: float
    noise: float
    best_agrees: bool


class ParityFacts(Record):
    """`sigma`: standard deviation of the noise of one log-probability (nats). `agreement`: share of positions where the
    engine's best candidate is the truth's. `top_overlap`: mean share of the engine's best five among the noise's order.
    `sampled`: answers whose token is not the engine's own best; `defaults`: what the checkpoint's generation_config
    has a server do to greedy requests.
    """

    checkpoint: str
    how: str
    engine: str
    reference: str
    serving_dtype: str
    truth_dtype: str
    prompts: int
    bands: tuple[Band, ...]
    divergences: tuple[Divergence, ...]
    sigma: float
    agreement: float
    top_overlap: float
    positions: tuple[Position, ...]
    other_tokens: tuple[int, ...]
    sampled: tuple[Sampled, ...] = ()
    defaults: tuple[str, ...] = ()


def parity(
    session: ProbeSession,
    checkpoint: str,
    answers: Sequence[Answered],
    *,
    dtype: str,
    how: str,
    engine: str,
    keep: bool = False,
    timeout_s: float = 600.0,
    say: Callable[[str], None] | None = None,
) -> StepResult:
    """Score the answers with the reference and judge. `dtype` is the engine's (bfloat16, float16, float32)."""
    truth_dtype = HIGHER.get(dtype)
    if truth_dtype is None:
        raise EngineError(f"no reference for a model served in {dtype}", mend="Serve it in bfloat16 or float32.")
    rows = [_row(a) for a in answers]
    request = {"checkpoint": checkpoint, "dtypes": [truth_dtype, dtype], "rows": rows, "keep": keep}
    reply = session.call("accuracy_reference", request, timeout_s=timeout_s, progress=say)
    if reply.status != "answered":
        raise EngineError(
            f"the reference did not answer: {reply.trouble()}",
            mend=f"Transformers must know the architecture; its log is {reply.log}.",
        )
    facts = judge(checkpoint, answers, reply.answer, dtype=dtype, truth_dtype=truth_dtype, how=how, engine=engine)
    # In its own process the engine is told every sampling parameter; a server fills in the checkpoint's.
    return conclude(replace(facts, defaults=() if how == IN_PROCESS else leaking(Path(checkpoint))))


def _row(answer: Answered) -> dict[str, Any]:
    ids = [list(t or ()) for t in answer.top]
    return {"prompt_ids": answer.prompt_ids, "tokens": answer.tokens, "ids": ids, **plain(answer.asked)}


def judge(
    checkpoint: str,
    answers: Sequence[Answered],
    reference: dict[str, Any],
    *,
    dtype: str,
    truth_dtype: str,
    how: str,
    engine: str,
) -> ParityFacts:
    """The facts from the engine's answers and the reference probe's; no process is involved."""
    positions: list[Position] = []
    divergences: list[Divergence] = []
    off: list[float] = []
    overlaps: list[float] = []
    truths, noises = reference["dtypes"][truth_dtype], reference["dtypes"][dtype]
    for number, (answer, truth, noise) in enumerate(zip(answers, truths, noises, strict=True)):
        for place, candidates in enumerate(answer.top):
            if candidates is None or truth["best"][place] is None:
                continue
            ids = list(candidates)
            seen = list(candidates.values())
            true, rough = truth["at"][place], noise["at"][place]
            ranked = sorted(range(len(ids)), key=lambda i: -true[i])[:BEST]
            off += [abs(true[i] - rough[i]) for i in ranked]
            mine = {ids[i] for i in sorted(range(len(ids)), key=lambda i: -seen[i])[:BEST]}
            overlaps.append(len(mine & {ids[i] for i in ranked}) / max(1, len(mine)))
            first = max(candidates, key=lambda t: candidates[t])
            positions.append(
                Position(
                    prompt=number,
                    place=place,
                    part="prefill" if place < len(answer.prompt_ids) else "decode",
                    engine=min(kl(true, seen), MOST),
                    noise=min(kl(true, rough), MOST),
                    best_agrees=first == truth["best"][place],
                )
            )
        divergences += _divergence(number, answer, truth)
    # From the median, so that the few positions of a router's near-tie do not widen it.
    sigma = 1.4826 * statistics.median(off) if off else 0.0
    divergences = [_tied(d, sigma) for d in divergences]
    parts = [
        band(part, [p.engine for p in positions if p.part == part], [p.noise for p in positions if p.part == part])
        for part in ("prefill", "decode")
    ]
    seen_by = [p for p in positions if answers[p.prompt].asked.image]
    if seen_by:
        # By themselves: among the prompts without a picture a fault of the tower would be lost.
        parts.append(band("picture", [p.engine for p in seen_by], [p.noise for p in seen_by]))
    return ParityFacts(
        checkpoint=checkpoint,
        how=how,
        engine=engine,
        reference=f"{reference['class']} of transformers {reference['transformers']}",
        serving_dtype=dtype,
        truth_dtype=truth_dtype,
        prompts=len(answers),
        bands=tuple(parts),
        divergences=tuple(divergences),
        sigma=sigma,
        agreement=sum(p.best_agrees for p in positions) / len(positions) if positions else 0.0,
        top_overlap=sum(overlaps) / len(overlaps) if overlaps else 0.0,
        positions=tuple(positions),
        other_tokens=tuple(
            n
            for n, (a, own) in enumerate(zip(answers, reference["prompt_ids"], strict=True))
            if list(a.prompt_ids) != own
        ),
        sampled=tuple(
            other
            for n, a in enumerate(answers)
            if (other := off_best(a.tokens, a.top[len(a.prompt_ids) :], n)) is not None
        ),
    )


def _divergence(number: int, answer: Answered, truth: dict[str, Any]) -> list[Divergence]:
    """The first answer token that is not the truth's best, if there is one."""
    start = len(answer.prompt_ids)
    for place, token in enumerate(answer.tokens):
        best = truth["best"][start + place]
        if best is None or token == best:
            continue
        candidates = list(answer.top[start + place] or ())
        told = truth["at"][start + place]
        chance = told[candidates.index(token)] if token in candidates else -math.inf
        margin = truth["best_logprob"][start + place] - chance
        return [
            Divergence(
                prompt=number,
                place=place,
                engine_token=token,
                reference_token=best,
                margin=min(margin, 1e9),
                near_tie=False,
            )
        ]
    return []


def _tied(d: Divergence, sigma: float) -> Divergence:
    return Divergence(
        prompt=d.prompt,
        place=d.place,
        engine_token=d.engine_token,
        reference_token=d.reference_token,
        margin=d.margin,
        near_tie=d.margin <= TIE_SIGMAS * sigma,
    )


def conclude(facts: ParityFacts) -> StepResult:
    """Verdict and findings A101 to A106."""
    found: list[Finding] = []
    for b in facts.bands:
        if b.out:
            found.append(_distance(b))
    # A token that is not even the engine's own best says nothing of its modules.
    chosen = {(s.prompt, s.place) for s in facts.sampled}
    wide = [d for d in facts.divergences if not d.near_tie and (d.prompt, d.place) not in chosen]
    # One answer may part for a router's near-tie, which no margin of tokens shows; half of them do not.
    many = len(wide) >= 2 and 2 * len(wide) > facts.prompts
    alone = not found and not many
    for d in wide[:3]:
        message = (
            f"token {d.place} of the answer is {d.engine_token}, the reference says {d.reference_token}, "
            f"{d.margin:.3f} nats apart (a near-tie here is {TIE_SIGMAS * facts.sigma:.3f})"
        )
        found.append(
            Finding(
                code="A103",
                severity=Severity.WARNING if alone else Severity.ERROR,
                place=f"prompt {d.prompt}",
                message=message + (", but the distances are rounding's: a router's near-tie, say" if alone else ""),
                next_step="Find the module: seatrial accuracy locate …",
            )
        )
    if facts.other_tokens:
        told = ", ".join(str(n) for n in facts.other_tokens)
        message = f"the engine's tokens are not those of the reference's tokenizer (prompts {told})"
        found.append(_finding("A104", "tokenizer", message, "Compare tokenizer.json and tokenizer_config.json."))
    blind = sum(p.noise >= MOST for p in facts.positions)
    logits_hold = not errors(found) and not blind
    if facts.sampled:
        said = told_sampled(facts.sampled, facts.prompts, facts.defaults)
        if logits_hold:
            said += "; the log-probabilities are the reference's, so it is not the model (class: sampling)"
        found.append(_finding("A106", "sampling", said, next_step(facts.defaults)))
    judged = [b for b in facts.bands if b.judged]
    worst = max((b.worst for b in judged), default=0.0)
    tied = sum(d.near_tie for d in facts.divergences)
    summary = (
        f"distance {worst:.2f} times the noise of {facts.serving_dtype} (limit {LIMIT:g}) over "
        f"{len(facts.positions)} positions; best token agrees at {100 * facts.agreement:.1f} %; "
        f"{len(wide)} wide and {tied} near-tie divergences"
    )
    wrong = errors(found)
    short = [f"{b.part}: {b.positions} positions" for b in facts.bands if not b.judged]
    if wrong:
        outcome = failed(f"{wrong[0].place}: {wrong[0].message}")
    elif 2 * blind > len(facts.positions):
        outcome = inconclusive(f"the reference gives no numbers at {blind} of {len(facts.positions)} positions")
    elif not judged:
        outcome = inconclusive(f"fewer than {FEWEST} positions to compare: ask more prompts or longer ones")
    elif short:
        # What shows in one part only (the KV cache in decode) was not looked for.
        outcome = inconclusive(f"{', '.join(short)}, and under {FEWEST} say nothing: ask more prompts or tokens")
    else:
        outcome = passed()
    return StepResult(step="parity", outcome=outcome, summary=summary, facts=facts, findings=tuple(found))


def _distance(b: Band) -> Finding:
    if b.worst > LIMIT:
        message = f"the engine is {b.worst:.1f} times as far from the reference as rounding is (limit {LIMIT:g})"
    else:
        message = f"{b.far} of {b.positions} positions are far from the reference, by rounding {b.noise_far}"
    code = {"prefill": "A101", "picture": "A105"}.get(b.part, "A102")
    return _finding(code, b.part, message, "Find the module: seatrial accuracy locate …")


def _finding(code: str, place: str, message: str, next_step: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, place=place, message=message, next_step=next_step)
