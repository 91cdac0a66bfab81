"""The capacity sweep: how long a context and how many sequences this checkpoint really serves on this target.

In: a checkpoint, a target, trials already made. Out: a `StepResult` with `CapacityFacts`. Each trial is a real start
with a request of the whole context and as many requests at once as sequences. The baseline (128k tokens by 16, or the
target's own) comes first; if it cannot pass, its cause is named and the longest context that does is looked for by
bisection, with what the log itself estimates as the next guess. Then more sequences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from seatrial.core.record import Record
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import failed, passed
from seatrial.gates.client import Client
from seatrial.gates.first_error import lines_of
from seatrial.gates.load import LoadResult, load
from seatrial.gates.plan import read_model
from seatrial.gates.runner import gate
from seatrial.gates.timeline import commands_of, spans_of
from seatrial.targets import Target

BASELINE_CONTEXT, BASELINE_SEQUENCES = 131072, 16  # vllm-ascend's workflow checklist, section 11
MORE_SEQUENCES = (32, 64)
GRAIN = 256  # tokens; contexts closer than this are the same
MOST_TRIALS = 8  # for the bisection
KV_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")
ESTIMATE = re.compile(r"estimated maximum model length is (\d+)")
DERIVED = re.compile(r"greater than the derived max_model_len \((\w+)=(\d+)")
ENDS = "the model itself ends at"
ENDS_AT = re.compile(rf"{ENDS} (\d+) tokens")
DECLARED = ("max_position_embeddings", "max_sequence_length", "seq_length", "model_max_length", "n_positions")


class Trial(Record):
    """One start. `kv_tokens`: what the log says the KV cache holds; `estimate`: the context the log says would fit."""

    context: int
    sequences: int
    served: bool
    cause: str
    ready_s: float | None = None
    kv_tokens: int | None = None
    estimate: int | None = None
    whole_context: LoadResult | None = None
    together: LoadResult | None = None


class CapacityFacts(Record):
    """`declared_context`: the model's own bound by config.json, None if it declares none. `longest`: the longest
    context that was really served with the baseline's sequences, or None; `most_sequences` was served at that context.
    """

    stage: Literal["dummy", "real"]
    baseline_context: int
    baseline_sequences: int
    baseline_served: bool
    root_cause: str
    declared_context: int | None
    longest: int | None
    most_sequences: int | None
    trials: tuple[Trial, ...]


def capacity(
    checkpoint: Path,
    target: Target,
    *,
    python: Path,
    stage: Literal["dummy", "real"],
    scratch: Path,
    tp: int | None = None,
    context: int | None = None,
    sequences: int | None = None,
    done: Sequence[Trial] = (),
    keep: Callable[[Trial, Path], None] = lambda trial, log: None,
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """`done` are trials of an earlier, killed sweep: they are not made again. `keep` gets each new one, and
    its raw log, at once.
    """
    args = target.serve.args
    want = context or int(args.get("max-model-len", BASELINE_CONTEXT))
    many = sequences or int(args.get("max-num-seqs", BASELINE_SEQUENCES))
    made: dict[tuple[int, int], Trial] = {(t.context, t.sequences): t for t in done}
    new: list[_Made] = []

    def trial(length: int, count: int) -> Trial:
        if (length, count) not in made:
            say(f"trying a context of {length} tokens, {count} sequences")
            one = _try(checkpoint, target, python, stage, scratch, tp, length, count, say)
            new.append(one)
            made[length, count] = one.trial
            keep(one.trial, one.log)
        return made[length, count]

    declared = read_model(checkpoint).field(*DECLARED)
    bound = declared[1] if declared is not None and isinstance(declared[1], int) else None
    first = trial(want, many)
    longest = want if first.served else _search(trial, first, want, many, bound)
    most = many if longest is not None else None
    for more in MORE_SEQUENCES if longest is not None else ():
        if more > many:
            if not trial(longest or 0, more).served:
                break
            most = more
    facts = CapacityFacts(
        stage=stage,
        baseline_context=want,
        baseline_sequences=many,
        baseline_served=first.served,
        root_cause=first.cause,
        declared_context=bound,
        longest=longest,
        most_sequences=most,
        trials=tuple(made.values()),
    )
    found = f"{longest} tokens by {most} sequences" if longest is not None else "no context at all"
    summary = f"baseline {want} by {many} {'served' if first.served else 'not served'}; served: {found}"
    return StepResult(
        step="capacity",
        outcome=passed() if first.served else failed(f"the baseline of {want} tokens by {many} fails: {first.cause}"),
        summary=summary,
        facts=facts,
        commands=commands_of({f"{one.trial.context}x{one.trial.sequences}": one.result for one in new}),
        attachments=tuple(
            Attachment(name=f"{one.trial.context}x{one.trial.sequences}-server.log", path=str(one.log)) for one in new
        ),
        timeline=spans_of({f"{one.trial.context}x{one.trial.sequences}": one.result for one in new}),
    )


def _search(trial: Callable[[int, int], Trial], first: Trial, want: int, many: int, bound: int | None) -> int | None:
    """The longest context that serves below `want`, within GRAIN tokens; guesses from the log and the config first."""
    good, bad = 0, want
    # The engine's own word for where the model ends; a scaled rotation goes beyond what config.json declares.
    said = ENDS_AT.match(first.cause)
    ends = int(said[1]) if said else None
    guesses = [g for g in (ends or bound, first.estimate) if g is not None and 0 < g < want]
    for _ in range(MOST_TRIALS):
        if bad - good <= GRAIN:
            break
        middle = (good + bad) // 2
        # Whole grains, but where none lies between what serves and what does not.
        rounded = middle // GRAIN * GRAIN
        guess = guesses.pop(0) if guesses else rounded if rounded > good else middle
        if not good < guess < bad:
            continue
        seen = trial(guess, many)
        if seen.served:
            good = guess
            if guess == ends:
                break
        else:
            bad = guess
            if seen.estimate is not None and good < seen.estimate < bad:
                guesses.insert(0, seen.estimate)
    return good or None


def _try(
    checkpoint: Path,
    target: Target,
    python: Path,
    stage: Literal["dummy", "real"],
    scratch: Path,
    tp: int | None,
    length: int,
    count: int,
    say: Callable[[str], None],
) -> _Made:
    seen: list[LoadResult] = []

    def visit(client: Client) -> None:
        say("one request of the whole context")
        seen.append(load(client, requests=1, at_once=1, prompt_tokens=length - 8, answer_tokens=8))
        if not seen[0].first_trouble:
            say(f"{count} requests at once")
            small = max(1, min(64, length // 2))
            seen.append(load(client, requests=2 * count, at_once=count, prompt_tokens=small, answer_tokens=small))

    result = gate(
        checkpoint,
        target,
        python=python,
        stage=stage,
        scratch=scratch / f"{length}x{count}",
        tp=tp,
        max_model_len=length,
        extra_args=("--max-num-seqs", str(count)),
        drop=("max-num-seqs",),
        visit=visit,
        say=say,
    )
    log = Path(next(a.path for a in result.attachments if a.name == "server.log"))
    said = _log_says(log)
    trouble = next((r.first_trouble for r in seen if r.first_trouble), "")
    served = result.facts.ending == "ready" and not trouble and len(seen) == 2
    cause = "" if served else (said.derived or trouble or result.outcome.reason or "the server was not asked")
    trial = Trial(
        context=length,
        sequences=count,
        served=served,
        cause=cause,
        ready_s=result.facts.ready_s,
        kv_tokens=said.kv_tokens,
        estimate=said.estimate,
        whole_context=seen[0] if seen else None,
        together=seen[1] if len(seen) > 1 else None,
    )
    return _Made(trial=trial, result=result, log=log)


class _Made(Record):
    trial: Trial
    result: StepResult
    log: Path


class _Said(Record):
    kv_tokens: int | None
    estimate: int | None
    derived: str


def _log_says(log: Path) -> _Said:
    kv = estimate = None
    derived = ""
    for line in lines_of(log) if log.is_file() else ():
        if match := KV_TOKENS.search(line):
            kv = int(match.group(1).replace(",", ""))
        if match := ESTIMATE.search(line):
            estimate = int(match.group(1))
        if match := DERIVED.search(line):
            derived = f"{ENDS} {match.group(2)} tokens ({match.group(1)} in config.json)"
    return _Said(kv_tokens=kv, estimate=estimate, derived=derived)
