"""The ladder and the agreement, from the rungs' own answers, from the kept answers, and from the logs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from seatrial.core.finding import Finding
from seatrial.core.record import from_plain, replace, to_plain
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.verify.common import error, loaded, note
from seatrial.evidence import StoredStep
from seatrial.gates.agree import Agreement, Greedy, compare
from seatrial.gates.agreement import AgreementFacts, compiles_by
from seatrial.gates.agreement import judge as judge_agreement
from seatrial.gates.ladder import Climbed, LadderFacts, Rung, conclude, signature_of
from seatrial.gates.quality import read_answer

# The names that a comparison's sides have, and the start and width whose answers they are.
SIDES = {"batch 1": ("base", 1), "eager": ("eager", 1), "compiled": ("compiled", 1), "TP 1": ("one-device", 1)}


def ladder(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """A ladder explains a failure: it never passes, and every rung that is said to serve has an answer to show."""
    step = stored.step
    said = stored.outcome.verdict
    if view.facts(step) == {} and said is Verdict.NOT_APPLICABLE:
        return
    facts = from_plain(LadderFacts, view.facts(step), where=f"facts of {step}")
    if said is not (Verdict.FAIL if facts.climbed else Verdict.PASS):
        yield error("Y215", step, f"the verdict is {said.value} after {len(facts.climbed)} rung(s)")
    gate = view.gate(step.removesuffix("-ladder"))
    if gate is not None and facts.climbed:
        if gate.ending == "ready":
            yield error("Y215", step, "it was climbed, and the gate did not fail")
        elif signature_of(gate) != facts.signature:
            yield error(
                "Y215", step, f"it climbed from {facts.signature!r}, the gate failed with {signature_of(gate)!r}"
            )
    for number, climbed in enumerate(facts.climbed):
        yield from _rung(view, stored, climbed, facts, number)
    served = [c.rung for c in facts.climbed if c.ending == "ready"]
    working = next((r for r in served if r.kind == "workaround"), None)
    layers = tuple(r.layer for r in served if r.kind == "isolation")
    if (facts.working, facts.isolated_to) != (working, layers):
        yield error("Y215", step, "what it calls working or isolated is not what its rungs say")
    steady = not any(c.rung.kind == "repeat" and not c.same_signature for c in facts.climbed)
    if facts.climbed and facts.conclusion != conclude(facts.climbed, working, layers, steady=steady):
        yield error("Y215", step, "the conclusion is not what the rungs say")


def _rung(
    view: EvidenceView, stored: StoredStep, climbed: Climbed, facts: LadderFacts, number: int
) -> Iterator[Finding]:
    rung, place = climbed.rung, f"{stored.step}: {climbed.rung.name}"
    is_served = climbed.ending == "ready"
    if climbed.same_signature != (climbed.signature == facts.signature) or is_served != (not climbed.signature):
        yield error("Y215", place, "its ending and its signature do not go together")
    if is_served:
        answers = [
            read_answer(loaded(view.text(stored.step, ref.name)))
            for ref in stored.artifacts
            if ref.name.startswith(f"{rung.name}-response-")
        ]
        if not any(a is not None and a.text.strip() for a in answers):
            yield error("Y215", place, "it is said to serve, and no answer of it is kept")
    if number < len(stored.commands):
        yield from _change(rung, stored.commands[number].argv, stored.commands[number].env, place)
    elif stored.commands:
        yield error("Y215", place, "its command is not recorded")


def _change(rung: Rung, argv: tuple[str, ...], env: dict[str, str], place: str) -> Iterator[Finding]:
    """The command holds the change that the rung is said to be."""
    absent = [w for w in rung.args if w not in argv]
    left = [w for w in (*(f"--{d}" for d in rung.drop), *rung.without) if w.startswith("--") and w in argv]
    unset = [n for n, v in rung.env.items() if env.get(n) != v]
    if absent or left or unset:
        yield error("Y215", place, f"its command does not hold the change: {', '.join([*absent, *left, *unset])}")


def agreement(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """The comparisons, made again from the kept answers; the verdict, judged again from those."""
    step = stored.step
    facts = from_plain(AgreementFacts, view.facts(step), where=f"facts of {step}")
    names = [ref.name for ref in stored.artifacts]
    mode = next((n for n in ("eager", "compiled") if f"{n}-server.log" in names), "")
    recorded = view.facts(step).get("comparisons")
    made: list[Agreement] = []
    open_ends = False
    for one, raw in zip(facts.comparisons, recorded if isinstance(recorded, list) else (), strict=True):
        place = f"{step}: {one.first} and {one.second}"
        sides = [_answers(view, name, mode) for name in (one.first, one.second)]
        if None in sides:
            open_ends = open_ends or "step" not in raw
            yield note(place, "the answers were not kept by the version that ran, so they were not compared again")
            made.append(one)
            continue
        try:
            first, second = (msgspec.json.decode(text, type=list[Greedy]) for text in sides if text is not None)
            again = compare(one.first, one.second, first, second)
        except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as exc:
            yield error("Y216", place, f"the kept answers cannot be compared: {exc}")
            return
        if not _holds(to_plain(again), raw):
            yield error("Y216", place, "the kept answers, compared again, do not come to this")
        made.append(again)
    if open_ends:
        # What is rounding was judged by another rule then, and the answers to judge it anew are not there.
        yield note(step, "the verdict was judged by an earlier rule, so it was not derived again")
    else:
        wanted = judge_agreement(replace(facts, comparisons=tuple(made)))
        if stored.outcome.verdict is not wanted.verdict:
            why = f"the verdict is {stored.outcome.verdict.value}, the comparisons say {wanted.verdict.value}"
            yield error("Y216", step, f"{why}: {wanted.reason}" if wanted.reason else why)
    yield from _compiled(view, facts)


def _answers(view: EvidenceView, name: str, mode: str) -> str | None:
    """The kept answers of one side of a comparison, as text. `mode` is what the second start was: the base start is the
    other one of eager and compiled, and bears no such name.
    """
    start, width = SIDES.get(name, ("base", 1))
    if name.startswith("batch "):
        width = int(name[6:]) if name[6:].isdigit() else 1
    if name in ("eager", "compiled") and start != mode:
        start = "base"
    return view.text("agreement", f"{start}-answers-{width}.json") or None


def _holds(again: Any, raw: Any) -> bool:
    """Whether everything that was recorded is there again; a later version may say more than the one that recorded."""
    if isinstance(raw, dict) and isinstance(again, dict):
        return all(key in again and _holds(again[key], value) for key, value in raw.items())
    if isinstance(raw, list) and isinstance(again, (list, tuple)):
        return len(raw) == len(again) and all(_holds(a, r) for a, r in zip(again, raw, strict=True))
    return bool(again == raw)


def _compiled(view: EvidenceView, facts: AgreementFacts) -> Iterator[Finding]:
    """Where eager and compiled were compared, one start compiled and the other did not, by their own logs."""
    if not any({a.first, a.second} == {"eager", "compiled"} for a in facts.comparisons):
        return
    stored = view.stored("agreement")
    logs = [ref.name for ref in (stored.artifacts if stored is not None else ()) if ref.name.endswith("-server.log")]
    said = {n: compiles_by(view.text("agreement", n).splitlines()) for n in logs if not n.startswith("one-device")}
    if set(said.values()) == {None}:
        yield note("agreement", "no log says whether the engine compiled")
    elif True not in said.values() or False not in said.values():
        yield error("Y216", "agreement", "eager and compiled were compared, and no two logs say so")
