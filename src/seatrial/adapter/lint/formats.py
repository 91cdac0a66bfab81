"""A lint report for other programs: SARIF 2.1.0 and GitHub's workflow commands; and one line a problem for people.

SARIF: https://docs.oasis-open.org/sarif/sarif/v2.1.0; GitHub: "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from seatrial import __version__
from seatrial.adapter.lint.record import LintReport, Problem
from seatrial.adapter.lint.rule import Rule
from seatrial.adapter.lint.run import OWN

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def line(problem: Problem) -> str:
    """As compilers and ruff print it; `[*]` marks what `--fix` mends."""
    star = " [*]" if problem.fix else ""
    return f"{problem.path}:{problem.line}:{problem.column}: {problem.code}{star} {problem.message}"


def github(report: LintReport) -> list[str]:
    """One `::error` command a problem; what would end the command or a field is escaped."""
    out = []
    for p in report.problems:
        place = f"file={_field(p.path)},line={p.line},endLine={p.end_line},col={p.column},title={p.code}"
        if p.path.startswith("commit "):
            place = f"title={p.code}"
        out.append(f"::error {place}::{_data(f'{p.code} {p.message}')}")
    return out


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _field(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def sarif(report: LintReport, rules: Iterable[Rule]) -> dict[str, Any]:
    """One run. Rules that could not look, and what was not looked at, are notifications of the invocation."""
    described = [
        {
            "id": rule.code,
            "name": rule.name,
            "shortDescription": {"text": rule.summary},
            "fullDescription": {"text": rule.why},
            "help": {"text": rule.mend},
        }
        for rule in rules
    ]
    described += [{"id": c, "name": c, "shortDescription": {"text": t}} for c, t in sorted(OWN.items())]
    index = {str(d["id"]): n for n, d in enumerate(described)}
    notifications = [
        {
            "level": "note",
            "message": {"text": f"not run: {n.reason}"},
            "associatedRule": {"id": n.code, "index": index[n.code]},
        }
        for n in report.not_run
    ]
    notifications += [
        {"level": "note", "message": {"text": f"not looked at: {s.path}: {s.reason}"}} for s in report.skipped
    ]
    suppressed = [
        {
            "ruleId": i.code,
            "ruleIndex": index[i.code],
            "level": "error",
            "message": {"text": "ignored by a comment"},
            "locations": [_location(i.path, i.line, 1, i.line)],
            "suppressions": [{"kind": "inSource", "justification": i.reason}],
        }
        for i in report.ignored
    ]
    results = [
        {
            "ruleId": p.code,
            "ruleIndex": index[p.code],
            "level": "error",
            "message": {"text": p.message},
            "locations": [] if p.path.startswith("commit ") else [_location(p.path, p.line, p.column, p.end_line)],
        }
        for p in report.problems
    ]
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "seatrial", "semanticVersion": __version__, "rules": described}},
                "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notifications}],
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {"ROOT": {"description": {"text": "the plugin's root"}}},
                "results": results + suppressed,
            }
        ],
    }


def _location(path: str, start: int, column: int, end: int) -> dict[str, Any]:
    region = {"startLine": start, "startColumn": column, "endLine": max(start, end)}
    return {"physicalLocation": {"artifactLocation": {"uri": quote(path), "uriBaseId": "ROOT"}, "region": region}}
