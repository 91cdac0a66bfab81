"""The fallback ladder: a failed gate is tried again, one change at a time, until it works or the layer is known.

In: a gate that failed and a way to run one with a change. Out: a `StepResult` with `LadderFacts`; its verdict is a fail
unless nothing failed in the first place: a ladder explains a failure, it never passes a gate. Each rung differs from
the first run in one thing. A rung that only isolates (eager mode, text only, one device) is never called a mend.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from seatrial.core.record import Record
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Verdict, failed, passed
from seatrial.gates.facts import GateFacts
from seatrial.gates.first_error import lines_of
from seatrial.gates.timeline import commands_of, spans_of

TEXT_ONLY = '{"image": 0, "video": 0, "audio": 0}'
SMALL_GRAPHS = '{"cudagraph_capture_sizes": [1]}'
VOLATILE = re.compile(r"0x[0-9a-f]+|\d+|/[\w./-]+")


class Rung(Record):
    """One change: `args` are added, `without` are words of the extra arguments left out, `drop` names arguments of
    the target that are left out, `tp` replaces the size.

    `kind`: `repeat` changes nothing, `workaround` is something one can serve with, `isolation` only tells layers apart.
    `layer` is what is at fault if an isolating rung works.
    """

    name: str
    kind: Literal["repeat", "workaround", "isolation"]
    change: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = msgspec.field(default_factory=dict)
    without: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    tp: int | None = None
    text_only: bool = False
    layer: str = ""


class Climbed(Record):
    """A rung that was tried. `same_signature`: it failed just as the first run did."""

    rung: Rung
    ending: str
    signature: str
    same_signature: bool
    reason: str


class LadderFacts(Record):
    """`working`: the first rung one can serve with, or None. `isolated_to`: layers told apart on the way."""

    signature: str
    climbed: tuple[Climbed, ...]
    working: Rung | None
    isolated_to: tuple[str, ...]
    conclusion: str


def climb(
    first: StepResult,
    extra_args: Sequence[str],
    run: Callable[[Rung], StepResult],
    *,
    multimodal: bool = False,
    optional: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """`run` runs the same gate with a rung's change; `optional` are arguments of the target that it can do without.

    Stops at the first workaround that serves.
    """
    facts: GateFacts = first.facts
    if first.outcome.verdict is Verdict.PASS:
        empty = LadderFacts(signature="", climbed=(), working=None, isolated_to=(), conclusion="nothing failed")
        return StepResult(step="ladder", outcome=passed(), summary="nothing failed", facts=empty)
    signature = signature_of(facts)
    climbed: list[Climbed] = []
    results: list[StepResult] = []
    working: Rung | None = None
    layers: list[str] = []
    steady = True
    for rung in rungs(first, extra_args, multimodal=multimodal, optional=optional):
        say(f"ladder: {rung.change}")
        result = run(rung)
        results.append(result)
        served = result.facts.ending == "ready"
        now = "" if served else signature_of(result.facts)
        climbed.append(
            Climbed(
                rung=rung,
                ending=result.facts.ending,
                signature=now,
                same_signature=now == signature,
                reason=result.outcome.reason,
            )
        )
        if rung.kind == "repeat" and now != signature:
            steady = False
            break
        if served and rung.kind == "isolation":
            layers.append(rung.layer)
        elif served:
            working = rung
            break
    conclusion = conclude(climbed, working, layers, steady=steady)
    told = LadderFacts(
        signature=signature,
        climbed=tuple(climbed),
        working=working,
        isolated_to=tuple(layers),
        conclusion=conclusion,
    )
    return StepResult(
        step="ladder",
        outcome=failed(conclusion),
        summary=conclusion,
        facts=told,
        commands=commands_of({c.rung.name: r for c, r in zip(climbed, results, strict=True)}),
        attachments=tuple(
            Attachment(name=f"{c.rung.name}-{a.name}", path=a.path)
            for c, r in zip(climbed, results, strict=True)
            for a in r.attachments
        ),
        timeline=spans_of({c.rung.name: r for c, r in zip(climbed, results, strict=True)}),
    )


def rungs(
    first: StepResult, extra_args: Sequence[str], *, multimodal: bool, optional: Sequence[str] = ()
) -> list[Rung]:
    """The rungs for this failure, cheapest knowledge first."""
    facts: GateFacts = first.facts
    argv = facts.command.argv
    found = [Rung(name="repeat", kind="repeat", change="the same once more")]
    if _mentions(first, ("torch._dynamo", "interpolate", "contiguous")):
        why = "TORCHDYNAMO_DISABLE=1, for interpolate on tensors that are not contiguous"
        found.append(Rung(name="no-dynamo", kind="workaround", change=why, env={"TORCHDYNAMO_DISABLE": "1"}))
    if facts.phases and facts.phases[-1].name == "capturing graphs":
        change = "graphs of the smallest shape only"
        args = ("--compilation-config", SMALL_GRAPHS)
        found.append(Rung(name="small-graphs", kind="workaround", change=change, args=args))
    for switch in switches(extra_args):
        name = "without" + switch[0].replace("--", "-")
        found.append(Rung(name=name, kind="workaround", change=f"without {' '.join(switch)}", without=switch))
    for word in optional:
        change = f"without the target's {word}"
        found.append(Rung(name=f"without-{word}", kind="workaround", change=change, drop=(word,)))
    if "--enforce-eager" not in argv:
        layer = "compilation or graph capture"
        found.append(Rung(name="eager", kind="isolation", change="eager mode", args=("--enforce-eager",), layer=layer))
    if multimodal:
        found.append(
            Rung(
                name="text-only",
                kind="isolation",
                change="no images, video or audio",
                args=("--limit-mm-per-prompt", TEXT_ONLY),
                text_only=True,
                layer="the multimodal processor or tower",
            )
        )
    if facts.tp > 1:
        layer = "the distribution over devices"
        found.append(Rung(name="one-device", kind="isolation", change="one device", tp=1, layer=layer))
    return found


def switches(extra_args: Sequence[str]) -> list[tuple[str, ...]]:
    """The extra arguments as switches: `--a 1 --b` gives (`--a`, `1`) and (`--b`,)."""
    found: list[list[str]] = []
    for word in extra_args:
        if word.startswith("--") or not found:
            found.append([word])
        else:
            found[-1].append(word)
    return [tuple(group) for group in found]


def signature_of(facts: GateFacts) -> str:
    """What makes two failures the same: the ending and the first error without its numbers and paths."""
    error = facts.first_error
    text = error.text if error is not None else facts.reason
    return f"{facts.ending}: {VOLATILE.sub('#', text)[:200]}"


def _mentions(result: StepResult, words: Sequence[str]) -> bool:
    """Does the raw log hold all these words?"""
    log = next((Path(a.path) for a in result.attachments if a.name == "server.log"), None)
    left = set(words)
    if log is not None and log.is_file():
        for line in lines_of(log):
            left -= {word for word in left if word in line}
            if not left:
                return True
    return False


def conclude(climbed: Sequence[Climbed], working: Rung | None, layers: Sequence[str], *, steady: bool) -> str:
    """What the rungs come to, in one sentence."""
    if not steady:
        last = climbed[-1]
        how = "it served" if last.ending == "ready" else f"it failed otherwise ({last.reason[:200]})"
        return f"the failure does not repeat: on the second try {how}"
    beside = f"; isolated to {' and '.join(layers)}" if layers else ""
    if working is not None:
        return f"it serves with one change: {working.change}{beside}"
    if layers:
        return f"no change mends it{beside}"
    return f"no change mends it: all {len(climbed)} rungs fail"
