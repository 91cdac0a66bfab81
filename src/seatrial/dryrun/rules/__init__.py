"""The rules of the dry run, one file each, in the order of their codes. A rule that fails to import is an error."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

from seatrial.core.finding import Finding
from seatrial.core.registry import Registry
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, limited


def rules() -> Registry[Rule]:
    """Every rule by its code."""
    found: Registry[Rule] = Registry("dry-run rule")
    for file in sorted(Path(__file__).parent.glob("d[0-9]*.py")):
        rule: Rule = importlib.import_module(f"{__name__}.{file.stem}").RULE
        found.add(rule.code, rule)
    return found


def findings(account: DryAccount) -> tuple[Finding, ...]:
    """What all rules find, worst first, in the order of their codes."""
    found: list[Finding] = []
    order = {"fail": 0, "unsure": 1, "note": 2}
    for rule in sorted(rules().values(), key=lambda r: (order[r.kind], r.code)):
        found.extend(limited(rule.find(account)))
    return tuple(found)


def page() -> str:
    """The docs page of all rules, Markdown."""
    words = {"fail": "fails the dry run", "unsure": "leaves it inconclusive", "note": "is a note"}
    lines = ["# Findings of the dry run", "", "Generated from `src/seatrial/dryrun/rules/`; do not edit.", ""]
    for rule in rules().values():
        lines += [
            f"## {rule.code}: {rule.title}",
            "",
            f"{rule.meaning} It {words[rule.kind]}.",
            "",
            f"Mend: {rule.mend}",
            "",
        ]
    return "\n".join(lines)


def kinds(found: Iterable[Finding]) -> set[str]:
    """The kinds ("fail", "unsure", "note") among findings."""
    table = rules()
    return {table.get(f.code).kind for f in found}


__all__ = ["Rule", "findings", "kinds", "page", "rules"]
