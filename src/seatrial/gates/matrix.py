"""The feature matrix: every feature tried by default, each failure isolated, every status with its evidence.

In: a checkpoint and a target. Out: a `StepResult` with `MatrixFacts`. Features that need no switch share one start
(and another one if a request of theirs kills it); each that needs a switch has a start of its own. If the base run
fails, nothing can be said of features, and they are not attempted. Past 250 lines: starting, asking and judging share
what is known of the run, and the judging is the point.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import failed, inconclusive, passed
from seatrial.gates.client import Client
from seatrial.gates.facts import GateFacts
from seatrial.gates.features import features
from seatrial.gates.features.base import Asked, Feature, Line, Model, Proof, Situation, Status, Switch
from seatrial.gates.first_error import lines_of
from seatrial.gates.liveness import living, source_roots
from seatrial.gates.merged import merged
from seatrial.gates.plan import PLUGINS, installed_version, plugin_source, read_model
from seatrial.gates.runner import gate
from seatrial.gates.timeline import commands_of, spans_of
from seatrial.gates.veil import Veil
from seatrial.platforms.base import tensor_parallel_of
from seatrial.targets import Target

# Endings that the gate's own requests or its stop brought about, and no feature's.
ITS_OWN = ("bad-output", "leftovers")


class FeatureResult(Record):
    """One row. `start` names the run it was tried in ("" if none); `silent` are lines whose words the engine lacks."""

    name: str
    title: str
    status: Status
    reason: str
    proofs: tuple[Proof, ...] = ()
    switch: Switch | None = None
    start: str = ""
    silent: tuple[str, ...] = ()


class MatrixFacts(Record):
    """`starts`: what became of each start of the server, by name (`base`, or the feature's)."""

    stage: Literal["dummy", "real"]
    checkpoint: str
    situation: Situation
    rows: tuple[FeatureResult, ...]
    starts: dict[str, GateFacts] = msgspec.field(default_factory=dict)


def matrix(
    checkpoint: Path,
    target: Target,
    *,
    python: Path,
    stage: Literal["dummy", "real"],
    scratch: Path,
    tp: int | None = None,
    max_model_len: int | None = None,
    only: Collection[str] = (),
    required: Collection[str] = (),
    extra_args: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """Try the features (`only` these, if any are named); fails if one of `required` is not supported."""
    known = features()
    chosen = [known.get(name) for name in sorted({*only, *required})] if only else known.values()
    for name in required:
        known.get(name)
    work = _Matrix(checkpoint, target, python, stage, scratch, tp, max_model_len, tuple(extra_args), say)
    rows = work.run(chosen)
    facts = MatrixFacts(
        stage=stage,
        checkpoint=str(checkpoint.absolute()),
        situation=work.situation,
        rows=rows,
        starts={name: result.facts for name, result in work.starts.items()},
    )
    counted = {s: sum(r.status == s for r in rows) for s in dict.fromkeys(r.status for r in rows)}
    summary = ", ".join(f"{count} {status}" for status, count in counted.items())
    lacking = [r for r in rows if r.name in required and r.status != "supported"]
    base = work.starts["base"]
    if not work.serves:
        outcome = inconclusive(f"the base run does not serve: {base.outcome.reason}")
    elif lacking:
        outcome = failed("; ".join(f"{r.name} is {r.status}: {r.reason}" for r in lacking))
    elif base.facts.ending in ITS_OWN:
        outcome = inconclusive(f"the base run's own gate fails: {base.outcome.reason}")
    elif base.facts.ending != "ready":
        outcome = inconclusive(f"a request of a feature ends the server: {base.outcome.reason}")
    else:
        outcome = passed()
    return StepResult(
        step="features",
        outcome=outcome,
        summary=summary,
        facts=facts,
        commands=commands_of(work.starts),
        attachments=work.attachments(),
        timeline=spans_of(work.starts),
    )


class _Matrix:
    def __init__(
        self,
        checkpoint: Path,
        target: Target,
        python: Path,
        stage: Literal["dummy", "real"],
        scratch: Path,
        tp: int | None,
        max_model_len: int | None,
        extra_args: tuple[str, ...],
        say: Callable[[str], None],
    ) -> None:
        self.checkpoint, self.target, self.python, self.stage, self.scratch = checkpoint, target, python, stage, scratch
        self.tp, self.max_model_len, self.extra_args, self.say = tp, max_model_len, extra_args, say
        self.model: Model = read_model(checkpoint)
        args = target.serve.args
        cores = len(os.sched_getaffinity(0))
        self.situation = Situation(
            platform=target.platform,
            vllm_version=installed_version(python, "vllm"),
            plugin_version=installed_version(python, PLUGINS.get(target.platform, "")),
            tp=tensor_parallel_of(tp, args),
            max_model_len=max_model_len or (int(args["max-model-len"]) if "max-model-len" in args else None),
            # On the CPU a rank is a group of cores.
            devices=cores if target.platform == "cpu" else int(target.devices.count.value or 1),
            eager=bool(args.get("enforce-eager")),
            checkpoint=str(checkpoint.absolute()),
            scratch=str((scratch / "made").absolute()),
            plugin_source=plugin_source(python, target),
        )
        self.starts: dict[str, StepResult] = {}
        self.alive: dict[str, bool] = {}
        self.bad = False  # did a start without any switch end so that nothing follows for a feature?
        self.serves = False  # did a start without any switch get as far as the features?

    def run(self, chosen: Sequence[Feature]) -> tuple[FeatureResult, ...]:
        rows: dict[str, FeatureResult] = {}
        tried = [f for f in chosen if not self._settled(f, rows)]
        words = {line.source for f in tried for line in (*f.positive, *f.negative)}
        self.alive = living(words, source_roots(self.python, self.target)) if words else {}
        shared = [f for f in tried if f.switch(self.model, self.situation) is None]
        own = [f for f in tried if f not in shared]
        self._base(shared, rows)
        for feature in own:
            if not self.serves:
                rows[feature.name] = _row(feature, "not-attempted", "the base run does not serve")
            else:
                self._own(feature, rows)
        return tuple(rows[f.name] for f in chosen)

    def _settled(self, feature: Feature, rows: dict[str, FeatureResult]) -> bool:
        """Decided without a start?"""
        for status, reason in (
            ("not-applicable", feature.not_applicable(self.model, self.situation)),
            ("checkpoint-missing", feature.missing(self.model)),
            ("not-attempted", feature.not_attempted(self.model, self.situation)),
        ):
            if reason:
                rows[feature.name] = _row(feature, status, reason)  # type: ignore[arg-type]
                return True
        return False

    def _base(self, pending: Sequence[Feature], rows: dict[str, FeatureResult]) -> None:
        """Start and ask all of them; a request that kills the server ends a start, and the rest get another."""
        waiting = list(pending)
        round_number = 0
        while waiting or round_number == 0:
            round_number += 1
            name = "base" if round_number == 1 else f"base-{round_number}"
            answers: dict[str, Asked] = {}

            def visit(client: Client, answers: dict[str, Asked] = answers, todo: Sequence[Feature] = waiting) -> None:
                for feature in todo:
                    self.say(f"asking for {feature.title}")
                    answers[feature.name] = feature.ask(client, self.situation)
                    if not client.serves():
                        return

            result = self._start(name, Switch(), visit)
            if result.facts.ending != "ready" and not answers:
                for feature in waiting:
                    rows[feature.name] = _row(feature, "not-attempted", "the base run does not serve", start=name)
                return
            self.serves = True
            self.bad = self.bad or result.facts.ending in ITS_OWN
            for feature in [f for f in waiting if f.name in answers]:
                ended = result.facts.ending != "ready" and result.facts.ending not in ITS_OWN
                died = ended and feature.name == list(answers)[-1]
                rows[feature.name] = self._judge(feature, result, answers[feature.name], name, None, died=died)
            waiting = [f for f in waiting if f.name not in answers]

    def _own(self, feature: Feature, rows: dict[str, FeatureResult]) -> None:
        feature.prepare(self.model, self.situation)
        switch = feature.switch(self.model, self.situation) or Switch()
        answers: list[Asked] = []
        self.say(f"trying {feature.title}")
        try:
            result = self._start(feature.name, switch, lambda c: answers.append(feature.ask(c, self.situation)))
        except UsageError as exc:
            rows[feature.name] = _row(feature, "not-attempted", exc.message, switch=switch)
            return
        asked = answers[0] if answers else Asked()
        died = result.facts.ending != "ready"
        rows[feature.name] = self._judge(feature, result, asked, feature.name, switch, died=died)

    def _start(self, name: str, switch: Switch, visit: Callable[[Client], None]) -> StepResult:
        args, drop, extra = switch.args, switch.drop, self.extra_args
        for argument, more in switch.merged.items():
            laid = merged(argument, more, self.target.serve.args, extra)
            args, drop, extra = (*args, *laid.args), (*drop, *laid.drop), laid.extra
        result = gate(
            self.checkpoint,
            self.target,
            python=self.python,
            stage=self.stage,
            scratch=self.scratch / name,
            tp=switch.tp or self.tp,
            max_model_len=self.max_model_len,
            multimodal=False,  # media are features of their own: one that fails leaves the others alone
            extra_args=(*extra, *args),
            env=switch.env,
            drop=drop,
            visit=visit,
            say=lambda text: self.say(f"{name}: {text}"),
        )
        self.starts[name] = result
        return result

    def _judge(
        self, feature: Feature, result: StepResult, asked: Asked, start: str, switch: Switch | None, *, died: bool
    ) -> FeatureResult:
        log = Path(next(a.path for a in result.attachments if a.name == "server.log"))
        veil = Veil((*self.extra_args, *_words(self.target.serve.args)), {**os.environ, **self.target.launch.env})
        seen = _matches(log, (*feature.positive, *feature.negative), veil)
        silent = tuple(line.source for line in feature.positive if not self.alive.get(line.source, False))
        more = feature.facts(result.facts, self.model)
        proofs = (
            *asked.proofs,
            *more.proofs,
            *(seen[line.pattern] for line in feature.positive if line.pattern in seen),
        )
        status: Status
        against = next((seen[line.pattern].says for line in feature.negative if line.pattern in seen), "")
        against = asked.against or more.against or against
        if self._decides_nothing(result, switch):
            status, reason = "inconclusive", result.outcome.reason
        elif died:
            status, reason = "unsupported", result.outcome.reason or "the server did not survive it"
        elif against:
            status, reason = "unsupported", against
        elif asked.unsure or more.unsure:
            status, reason = "inconclusive", asked.unsure or more.unsure
        elif not feature.positive:
            status, reason = ("supported", "") if proofs else ("inconclusive", "nothing was seen that decides")
        elif any(line.pattern in seen for line in feature.positive):
            status, reason = "supported", ""
        elif not self.alive:
            status, reason = "inconclusive", "the engine's source is not seen: whether it has a line for it is unknown"
        elif len(silent) == len(feature.positive):
            status, reason = "inconclusive", f"this engine has none of the log lines that would show it: {silent[0]!r}"
        elif proofs:
            status, reason = "inconclusive", "it answered, but the engine never logged that the feature is on"
        else:
            status, reason = feature.absence(self.model), "the engine never logged it, though it could have"
            if status == "inconclusive":
                reason = "the engine printed none of its lines, and does not always print one"
        return _row(feature, status, reason, proofs=proofs, switch=switch, start=start, silent=silent)

    def _decides_nothing(self, result: StepResult, switch: Switch | None) -> bool:
        """Whether a start that failed says nothing of the feature: it would have failed without it."""
        ending = result.facts.ending
        if switch is None:
            return ending in ITS_OWN
        return ending in ("leftovers", "never-ready") or (ending in ITS_OWN and self.bad)

    def attachments(self) -> tuple[Attachment, ...]:
        return tuple(
            Attachment(name=f"{name}-{a.name}", path=a.path) for name, r in self.starts.items() for a in r.attachments
        )


def _row(feature: Feature, status: Status, reason: str, **more: Any) -> FeatureResult:
    return FeatureResult(name=feature.name, title=feature.title, status=status, reason=reason, **more)


def _words(args: dict[str, Any]) -> tuple[str, ...]:
    """The target's arguments as words of a command line."""
    return tuple(f"--{name}={value}" for name, value in args.items())


def _matches(log: Path, wanted: Sequence[Line], veil: Veil) -> dict[str, Proof]:
    """The first line of the log for each pattern that has one; the log is streamed once."""
    found: dict[str, Proof] = {}
    patterns = {line.pattern: re.compile(line.pattern) for line in wanted}
    if not patterns:
        return found
    for number, text in enumerate(lines_of(log), 1):
        for pattern in [p for p in patterns if p not in found]:
            if patterns[pattern].search(text):
                found[pattern] = Proof(where=f"server.log line {number}", says=veil.text(text.strip()[:400]))
        if len(found) == len(patterns):
            break
    return found
