"""The case of an adaptation: A the engine already runs it, B a new architecture, C an MoE variant, D multimodal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum

from seatrial.core.record import Record

_SUFFIX = re.compile(r"(For[A-Z]\w*|LMHeadModel|ChatModel|RewardModel|Model)$")
_EXPERTS = re.compile(r"moe|mixtureofexperts", re.IGNORECASE)


class Case(str, Enum):
    """DESIGN's word; decides which road an adaptation takes."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"


class CaseDecision(Record):
    """The case, why, and the supported architectures of the same family by name."""

    case: Case
    reason: str
    relatives: tuple[str, ...] = ()


def family(architecture: str) -> str:
    """The name without its task suffix and without any mention of experts: `FooMoeForCausalLM` is of family `foo`."""
    return _EXPERTS.sub("", _SUFFIX.sub("", architecture)).lower()


def relatives_by_name(architectures: Iterable[str], supported: Iterable[str]) -> tuple[str, ...]:
    """Supported architectures whose family is that of one of `architectures`, by name."""
    wanted = {family(name) for name in architectures} - {""}
    return tuple(sorted(name for name in supported if family(name) in wanted))


def decide(
    *,
    architectures: tuple[str, ...],
    served: bool,
    fallback: bool,
    registered: bool,
    has_experts: bool,
    is_multimodal: bool,
    supported: Iterable[str],
) -> CaseDecision:
    """The case from what the engine registers and what the checkpoint is.

    A registered class that does not import is still case A: what is missing is a working import, not a model.
    """
    if served:
        return CaseDecision(case=Case.A, reason="the engine has a class for it that imports")
    if fallback:
        return CaseDecision(case=Case.A, reason="the engine runs it through its Transformers backend, not natively")
    if registered:
        return CaseDecision(case=Case.A, reason="the engine registers it; its class has to be made to import")
    relatives = relatives_by_name(architectures, supported)
    if is_multimodal:
        return CaseDecision(case=Case.D, reason="not registered, and the checkpoint is multimodal", relatives=relatives)
    if has_experts and relatives:
        names = ", ".join(relatives[:3])
        return CaseDecision(
            case=Case.C, reason=f"not registered, has experts, and the engine supports {names}", relatives=relatives
        )
    return CaseDecision(case=Case.B, reason="no architecture of this checkpoint is registered", relatives=relatives)
