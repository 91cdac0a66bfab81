"""Secrets out of what is derived from a server: facts, findings, commands. The raw log stays as the engine wrote it.

An engine prints its own arguments, keys among them (vLLM: `non-default args: {'api_key': [...]}`), and repeats
variables in errors. In: a gate's `StepResult`. Out: the same without the values of secret flags and variables, and
without what triage knows to look like a token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from seatrial.core.record import Record, replace
from seatrial.core.secrets import REDACTED, secret_values, without_secrets
from seatrial.core.step import StepResult
from seatrial.triage.redact import redact

R = TypeVar("R", bound=Record)
NOTE = "secrets are redacted here and in the report; the raw log is kept as the engine wrote it, with what it printed"


class Veil:
    """Knows the secret values of one start."""

    def __init__(self, argv: Iterable[str], env: Mapping[str, str]) -> None:
        # The longest first: one may be a part of another.
        self._values = sorted(secret_values(argv, env), key=len, reverse=True)
        self.hits = 0

    def text(self, text: str) -> str:
        """A line of a log or an error."""
        seen = redact(self._known(text).encode("utf-8", "surrogatepass"))
        self.hits += seen.hits
        return seen.data.decode("utf-8", "surrogatepass")

    def record(self, record: R) -> R:
        """A record with the known values taken out of all its strings. Words of a fixed choice are none of them, though
        a password be spelled like one.
        """
        changes = {
            field.name: self._value(getattr(record, field.name))
            for field in msgspec.structs.fields(record)  # type: ignore[arg-type]
            if not _is_choice(field.type)
        }
        return replace(record, **changes)

    def result(self, result: StepResult) -> StepResult:
        """A gate's result: what it derived from the log is looked through with care, the rest for the known values."""
        facts = self.record(replace(result.facts, command=without_secrets(result.facts.command)))
        error = facts.first_error
        facts = replace(
            facts,
            reason=self.text(facts.reason),
            phases=tuple(replace(p, line=self.text(p.line)) for p in facts.phases),
            first_error=replace(error, text=self.text(error.text)) if error is not None else None,
        )
        if self.hits:
            facts = replace(facts, notes=(*facts.notes, NOTE))
        return replace(
            result,
            outcome=replace(result.outcome, reason=self.text(result.outcome.reason)),
            summary=self.text(result.summary),
            facts=facts,
            findings=tuple(map(self.record, result.findings)),
            commands=tuple(self.record(without_secrets(c)) for c in result.commands),
        )

    def _known(self, text: str) -> str:
        for value in self._values:
            if value in text:
                self.hits += 1
                text = text.replace(value, REDACTED)
        return text

    def _value(self, value: Any) -> Any:
        if isinstance(value, Enum):
            return value
        if isinstance(value, str):
            return self._known(value)
        if isinstance(value, msgspec.Struct):
            return self.record(value)  # type: ignore[type-var]
        if isinstance(value, dict):
            return {self._value(k): self._value(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._value(v) for v in value)
        return value


def _is_choice(kind: Any) -> bool:
    """Is a field's type a Literal, or a union or sequence of them?"""
    inside = get_origin(kind)
    return inside is Literal or (inside is not dict and any(map(_is_choice, get_args(kind))))
