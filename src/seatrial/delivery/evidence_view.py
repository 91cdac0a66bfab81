"""A run as a delivery sees it: every value comes with the artifact it was read from, or is unknown with a reason.

In: a `Run`. Out: an `EvidenceView`. Reads nothing but the run's own files, whose hashes are checked (`report.gather`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record, from_plain
from seatrial.core.verdict import Verdict
from seatrial.evidence import ArtifactRef, Run, StoredStep
from seatrial.gates.facts import GateFacts
from seatrial.report.gather import MAX_FACTS, Gathered, gather, read_artifact

GATES = ("dummy", "real")
LARGEST_TEXT = 4 << 20


class GateSeen(Record):
    """One recorded start of a gate, in order of the records; `is_last`: no later record of the same stage."""

    stage: str
    ending: str
    reason: str
    verdict: str
    record: int
    is_last: bool


class LadderSeen(Record):
    """A recorded ladder that climbed: the stage it stands behind, its facts, and its facts' path from the run."""

    stage: str
    facts: dict[str, Any]
    path: str


class FeatureRow(Record):
    name: str
    title: str
    status: str
    reason: str
    proofs: tuple[str, ...] = ()


class EvidenceView:
    """Read once; everything in it is as recorded."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.gathered: Gathered = gather(run)
        self.manifest = run.manifest

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def platform(self) -> str:
        return str(self.manifest.target.get("platform") or "unknown")

    @property
    def target(self) -> str:
        return str(self.manifest.target.get("name") or "unknown")

    @property
    def checkpoint_name(self) -> str:
        return self.manifest.checkpoint.rstrip("/").rsplit("/", 1)[-1]

    def stored(self, step: str) -> StoredStep | None:
        known = self.gathered.steps.get(step)
        return known.stored if known is not None and known.stored.inputs else None

    def facts(self, step: str) -> dict[str, Any]:
        """The facts as plain data; empty if there are none that can be trusted."""
        known = self.gathered.steps.get(step)
        return known.facts if known is not None and isinstance(known.facts, dict) else {}

    def verdict(self, step: str) -> str:
        """The verdict's word; `not run` for a step without a record of its own."""
        stored = self.stored(step)
        return stored.outcome.verdict.value if stored is not None else "not run"

    def gate(self, stage: str) -> GateFacts | None:
        """The facts of the last start with that stage's weights; None if there is none that can be read."""
        data = self.facts(stage)
        if not data:
            return None
        try:
            return from_plain(GateFacts, data, where=f"facts of {stage}")
        except FileFormatError:
            return None

    def model_names(self) -> tuple[str, ...]:
        """What the run's model may be called: as it was served, its folder and that folder's name."""
        gate = self.gate("real")
        served = (gate.served_model,) if gate is not None else ()
        return (*served, self.manifest.checkpoint, self.checkpoint_name)

    def passed(self, step: str) -> bool:
        return self.verdict(step) == Verdict.PASS.value

    def artifact(self, step: str, name: str = "") -> ArtifactRef | None:
        """The step's artifact of that name, or its facts."""
        stored = self.stored(step)
        if stored is None:
            return None
        if not name:
            return stored.facts
        return next((ref for ref in stored.artifacts if ref.name == name), None)

    def link(self, step: str, name: str = "") -> str:
        """The artifact's path from the run's folder; empty if there is none."""
        ref = self.artifact(step, name)
        return f"artifacts/{ref.file}" if ref is not None else ""

    def text(self, step: str, name: str) -> str:
        """The content of a text artifact (at most 4 MiB of it); empty if it is absent, changed or no plain file."""
        ref = self.artifact(step, name)
        if ref is None or "/" in ref.file:
            return ""
        path = self.run.artifact(ref)
        if path.is_symlink() or not path.is_file():
            return ""
        with path.open("rb") as stream:
            return stream.read(LARGEST_TEXT).decode(errors="replace")

    def starts(self) -> tuple[GateSeen, ...]:
        """Every recorded start of a gate, those that a later one replaced too."""
        seen: list[GateSeen] = []
        for entry in self.run.log.entries:
            body = entry.body
            if entry.kind != "step" or not isinstance(body, dict) or body.get("step") not in GATES:
                continue
            stage = str(body["step"])
            facts = self._facts_of(body)
            outcome = body.get("outcome")
            outcome = outcome if isinstance(outcome, dict) else {}
            seen = [msgspec.structs.replace(s, is_last=s.is_last and s.stage != stage) for s in seen]  # type: ignore[type-var]
            seen.append(
                GateSeen(
                    stage=stage,
                    ending=str(facts.get("ending") or ""),
                    reason=str(facts.get("reason") or ""),
                    verdict=str(outcome.get("verdict") or ""),
                    record=entry.seq,
                    is_last=True,
                )
            )
        return tuple(seen)

    def ladders(self) -> tuple[LadderSeen, ...]:
        """Every recorded ladder, also that of a gate which a later start passed: what was tried is told."""
        seen = []
        for entry in self.run.log.entries:
            body = entry.body
            step = str(body.get("step")) if entry.kind == "step" and isinstance(body, dict) else ""
            facts = self._facts_of(body) if step.endswith("-ladder") else {}
            climbed = facts.get("climbed")
            if not isinstance(climbed, list) or not climbed:
                continue
            stored = from_plain(StoredStep, body, where="record")
            stage = step.removesuffix("-ladder")
            seen.append(LadderSeen(stage=stage, facts=facts, path=f"artifacts/{stored.facts.file}"))
        return tuple(seen)

    def _facts_of(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            stored = from_plain(StoredStep, body, where="record")
            data = msgspec.json.decode(read_artifact(self.run.folder, stored.facts, MAX_FACTS).data)
        except (FileFormatError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    def features(self) -> tuple[FeatureRow, ...]:
        """The rows of the feature matrix; empty if there is no `features` step."""
        rows = self.facts("features").get("rows")
        found = []
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict):
                proofs = row.get("proofs")
                proofs = proofs if isinstance(proofs, list) else []
                found.append(
                    FeatureRow(
                        name=str(row.get("name") or ""),
                        title=str(row.get("title") or row.get("name") or ""),
                        status=str(row.get("status") or "inconclusive"),
                        reason=str(row.get("reason") or ""),
                        proofs=tuple(f"{p.get('where')}: {p.get('says')}" for p in proofs if isinstance(p, dict)),
                    )
                )
        return tuple(found)

    def feature(self, name: str) -> FeatureRow | None:
        return next((row for row in self.features() if row.name == name), None)

    def architecture(self) -> dict[str, Any]:
        part = self.facts("inspect").get("architecture")
        return part if isinstance(part, dict) else {}

    def architectures(self) -> tuple[str, ...]:
        names = self.architecture().get("architectures")
        return tuple(str(n) for n in names) if isinstance(names, list) else ()

    def is_multimodal(self) -> bool:
        return bool(self.facts("inspect").get("multimodal"))

    def has_experts(self) -> bool:
        part = self.facts("inspect").get("feed_forward")
        return bool(isinstance(part, dict) and part.get("moe"))

    def version(self, *names: str) -> str:
        return next((self.manifest.versions[n] for n in names if n in self.manifest.versions), "")
