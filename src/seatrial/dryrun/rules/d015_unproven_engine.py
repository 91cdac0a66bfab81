"""D015: the engine version is not proven."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule


def find(account: DryAccount) -> Iterator[Finding]:
    engine = account.engine
    if engine is not None and not engine.adapter_proven:
        yield RULE.finding("vllm", f"no adapter was proven on vLLM {engine.vllm}; that of {engine.adapter} was tried")


RULE = Rule(
    code="D015",
    title="the engine version is not proven",
    kind="note",
    meaning=("No adapter of the dry run was proven on this engine version; the newest one was tried."),
    mend="Trust a pass less than usual, and compare one real load.",
    find=find,
)
