"""The agreement step: one prompt at a time against all at once, eager mode against compiled, one device against
several, on real starts.

In: a checkpoint and a target. Out: a `StepResult` with `AgreementFacts`. Real weights say most; dummy weights are drawn
per parameter, so other shapes give other weights: TP is compared with real weights only. A start that was to compile
and did not is no comparison, and said to be none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from seatrial.core.record import Record, to_json
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Outcome, failed, inconclusive, passed
from seatrial.gates.agree import PROMPTS, Agreement, Greedy, compare, greedy
from seatrial.gates.client import Client
from seatrial.gates.first_error import lines_of
from seatrial.gates.runner import gate
from seatrial.gates.timeline import commands_of, spans_of
from seatrial.platforms.base import tensor_parallel_of
from seatrial.targets import Target

# The engine's own account of its configuration, vLLM 0.11 to 0.32: eager by name, or a mode (level) of nothing.
ENGINE = re.compile(r"Initializing a V1 LLM engine")
NOT_COMPILED = re.compile(
    r"enforce_eager=True|'mode': <CompilationMode\.NONE|[\"']level[\"']: ?(?:0|<CompilationLevel\.NO_COMP)"
)


class AgreementFacts(Record):
    """`not_compared` says for each comparison that was due and not made why not."""

    stage: Literal["dummy", "real"]
    comparisons: tuple[Agreement, ...]
    not_compared: tuple[str, ...]


def agreement(
    checkpoint: Path,
    target: Target,
    *,
    python: Path,
    stage: Literal["dummy", "real"],
    scratch: Path,
    tp: int | None = None,
    max_model_len: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """Batch 1 against batch n in one start; eager against compiled and TP 1 against TP n in one more each."""
    left_out: list[str] = []
    results: dict[str, StepResult] = {}
    kept: list[Attachment] = []

    def answers(
        name: str, size: int | None, *at_once: int, args: tuple[str, ...] = (), drop: tuple[str, ...] = ()
    ) -> list[list[Greedy]]:
        seen: list[list[Greedy]] = []

        def visit(client: Client) -> None:
            for width in at_once:
                given = greedy(client, at_once=width)
                seen.append(given)
                kept.append(_kept(scratch, f"{name}-answers-{width}.json", given))

        result = gate(
            checkpoint,
            target,
            python=python,
            stage=stage,
            scratch=scratch / name,
            tp=size,
            max_model_len=max_model_len,
            extra_args=args,
            drop=drop,
            visit=visit,
            say=say,
        )
        results[name] = result
        if len(seen) < len(at_once):
            left_out.append(f"{name}: {result.outcome.reason or 'not asked'}")
        return seen

    found: list[Agreement] = []
    base = answers("base", tp, 1, PROMPTS)
    if len(base) == 2:
        found.append(compare("batch 1", f"batch {PROMPTS}", base[0], base[1]))
    if base:
        _eager_and_compiled(base[0], tp, answers, results, found, left_out)
    size = tensor_parallel_of(tp, target.serve.args)
    if base and size > 1 and stage == "dummy":
        left_out.append(f"TP 1 and TP {size}: dummy weights of other shapes are other weights")
    elif base and size > 1:
        alone = answers("one-device", 1, 1)
        if alone:
            found.append(compare("TP 1", f"TP {size}", alone[0], base[0]))
    facts = AgreementFacts(stage=stage, comparisons=tuple(found), not_compared=tuple(left_out))
    told = [f"{a.first} and {a.second} agree on {a.equal} of {a.prompts} prompts" for a in found]
    outcome = judge(facts)
    return StepResult(
        step="agreement",
        outcome=outcome,
        summary="; ".join(told) or outcome.reason,
        facts=facts,
        commands=commands_of(results),
        attachments=(
            *kept,
            *(
                Attachment(name=f"{name}-server.log", path=a.path)
                for name, r in results.items()
                for a in r.attachments
                if a.name == "server.log"
            ),
        ),
        timeline=spans_of(results),
    )


def judge(facts: AgreementFacts) -> Outcome:
    """The verdict of what was compared; a fault that was seen is one, whatever else could not be compared."""
    left_out = facts.not_compared
    wide = [(a, d) for a in facts.comparisons for d in a.beyond_rounding()]
    troubles = [t for a in facts.comparisons for t in a.troubles]
    if wide:
        a, d = wide[0]
        sure = d.margin is None or d.margin > a.rounding
        run, margin = (a.first, d.margin) if sure else (a.second, d.other_margin)
        apart = f"{margin:.3f} apart" if margin is not None else "not both among the best"
        return failed(
            f"{a.first} and {a.second} part at token {d.place} of prompt {d.prompt}: for {run} the two were {apart}, "
            f"and rounding is up to {a.rounding:g}"
        )
    if not facts.comparisons or left_out or troubles:
        return inconclusive("; ".join([*left_out, *troubles]) or "nothing was compared")
    return passed()


def _kept(folder: Path, name: str, answers: list[Greedy]) -> Attachment:
    """The answers as they were compared, so that somebody else can compare them again."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(to_json(answers))
    return Attachment(name=name, path=str(file))


def _eager_and_compiled(
    base: list[Greedy],
    tp: int | None,
    answers: Callable[..., list[list[Greedy]]],
    results: dict[str, StepResult],
    found: list[Agreement],
    left_out: list[str],
) -> None:
    """One more start: compiled if the base is eager, eager if the base compiles."""
    if compiles(results["base"]):
        other = answers("eager", tp, 1, args=("--enforce-eager",))
        if other:
            found.append(compare("eager", "compiled", other[0], base))
        return
    other = answers("compiled", tp, 1, drop=("enforce-eager",))
    if other and compiles(results["compiled"]):
        found.append(compare("eager", "compiled", base, other[0]))
    elif other:
        left_out.append("eager and compiled: without --enforce-eager the engine does not compile here either")


def compiles(result: StepResult) -> bool:
    """By the engine's own line about its configuration; without one, by the command."""
    log = next((Path(a.path) for a in result.attachments if a.name == "server.log"), None)
    said = compiles_by(lines_of(log)) if log is not None and log.is_file() else None
    return "--enforce-eager" not in result.facts.command.argv if said is None else said


def compiles_by(lines: Iterable[str]) -> bool | None:
    """What a log says of it; None if it says nothing."""
    for line in lines:
        if ENGINE.search(line) and "compilation_config=" in line:
            return not NOT_COMPILED.search(line)
    return None
