"""A run for a CI service: a summary in Markdown, annotations for GitHub Actions, JUnit XML.

In: a `Gathered`. Out: text. A step that did not run is skipped with its reason, never passed; an inconclusive one is an
error of the test, not a success; and so is a run that did not come to its end or passed in its steps only.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as Xml

from seatrial.core.finding import Finding, Severity
from seatrial.evidence import ADVICE
from seatrial.report.gather import Gathered
from seatrial.report.markdown import text
from seatrial.report.overview import absent, order, step_tone
from seatrial.report.words import HIDDEN, plural, seconds

WORDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
MARKS = {"pass": "✅", "fail": "❌", "inconclusive": "❔", "not-applicable": "➖", "not-run": "⏭️"}
MAX_ANNOTATIONS = 50


def summary_of(run: Gathered) -> str:
    """The step summary: verdict, a table of the steps, what needs attention."""
    finished = run.told
    verdict = str(finished.get("verdict") or run.state)
    sealed = "signed off" if finished.get("signed_off") is True else "not signed off"
    lines = [f"## seatrial: {_cell(run.run_id)}", "", f"{MARKS.get(verdict, '❔')} **{_cell(verdict)}**, {sealed}"]
    if finished.get("reason"):
        lines += ["", _cell(str(finished["reason"]))]
    lines += ["", "| step | verdict | time | what was seen |", "|---|---|---:|---|"]
    for step in order(run):
        known = run.steps.get(step)
        if known is None:
            word, why = absent(step, run)
            lines.append(f"| {_cell(step)} | {MARKS['not-run']} {word} | – | {_cell(why)} |")
            continue
        tone, word = step_tone(known.stored)
        took = seconds(known.stored.duration_s) if tone != "not-run" else "–"
        mark = MARKS.get(tone, "❔")
        lines.append(f"| {_cell(step)} | {mark} {word} | {took} | {_cell(known.stored.summary)} |")
    found = list(_findings(run))
    if found:
        lines += ["", f"### {plural(len(found), 'finding')}", ""]
        for step, finding in found[:20]:
            lines.append(f"* **{finding.severity.value}** {_cell(step)} `{finding.code}` {_cell(finding.place)}: ")
            lines[-1] += _cell(finding.message) + (f" Next: {_cell(finding.next_step)}" if finding.next_step else "")
        if len(found) > 20:
            lines.append(f"* {len(found) - 20} more are in the report.")
    return "\n".join(lines) + "\n"


def annotations_of(run: Gathered) -> list[str]:
    """Workflow commands, one a line; errors first, as many as GitHub shows."""
    found = [_annotation(step, finding) for step, finding in _findings(run)]
    for step in order(run):
        known = run.steps.get(step)
        if known is not None and known.stored.outcome.verdict.value in ("fail", "inconclusive") and known.stored.inputs:
            word = "error" if known.stored.outcome.verdict.value == "fail" and step not in ADVICE else "warning"
            said = f"{known.stored.outcome.verdict.value}: {known.stored.outcome.reason}"
            found.insert(0, f"::{word} title={_property(f'seatrial {step}')}::{_message(said)}")
    return found[:MAX_ANNOTATIONS]


def junit_of(run: Gathered) -> str:
    """JUnit XML: a test suite with a test case a step."""
    cases = order(run)
    suite = Xml.Element("testsuite", name=_plain(f"seatrial {run.run_id}"), tests=str(len(cases)))
    counted = {"failure": 0, "error": 0, "skipped": 0}
    total = 0.0
    for step in cases:
        known = run.steps.get(step)
        took = known.stored.duration_s if known is not None else 0.0
        total += took
        name = _plain(run.manifest.checkpoint.rstrip("/").rsplit("/", 1)[-1])
        case = Xml.SubElement(suite, "testcase", classname=f"seatrial.{name}", name=_plain(step), time=f"{took:.3f}")
        if known is None or not known.stored.inputs:
            why = known.stored.outcome.reason if known is not None else ": ".join(absent(step, run))
            counted["skipped"] += 1
            Xml.SubElement(case, "skipped", message=_plain(why))
            continue
        outcome = known.stored.outcome
        kind = {"fail": "failure", "inconclusive": "error", "not-applicable": "skipped"}.get(outcome.verdict.value)
        if kind and step in ADVICE:
            kind = "skipped"  # an estimate: the job is not to fail for it
        if kind:
            counted[kind] += 1
            Xml.SubElement(case, kind, message=_plain(outcome.reason)).text = _plain(
                "\n".join(f"{f.one_line()}. {f.next_step}" for f in known.stored.findings[:50])
            )
        Xml.SubElement(case, "system-out").text = _plain(known.stored.summary)
    whole = _whole(run) if not counted["failure"] + counted["error"] else ""
    if whole:
        # No single step says it: without this case the suite would be green.
        counted["error"] += 1
        case = Xml.SubElement(suite, "testcase", classname="seatrial", name="verdict of the run", time="0.000")
        Xml.SubElement(case, "error", message=_plain(whole))
        suite.set("tests", str(len(cases) + 1))
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(attribute, str(counted[kind]))
    suite.set("time", f"{total:.3f}")
    suite.set("timestamp", _plain(run.manifest.created_at[:19]))
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(suite, encoding="unicode") + "\n"


def _whole(run: Gathered) -> str:
    """Why the run as a whole has not passed; empty if it has."""
    if run.state != "finished":
        return f"the run is {run.state}: it has no verdict"
    verdict = str(run.told.get("verdict"))
    return "" if verdict == "pass" else f"{verdict}: {run.told.get('reason') or 'no reason is recorded'}"


def _findings(run: Gathered) -> Iterator[tuple[str, Finding]]:
    found = [(step, f) for step, known in run.steps.items() for f in known.stored.findings]
    kept = [(step, f) for step, f in found if f.severity is not Severity.INFO]
    yield from sorted(kept, key=lambda row: list(WORDS).index(row[1].severity))


def _annotation(step: str, finding: Finding) -> str:
    title = _property(f"seatrial {step} {finding.code}")
    said = f"{finding.place}: {finding.message} {finding.next_step}".strip()
    return f"::{WORDS[finding.severity]} title={title}::{_message(said)}"


def _message(said: str) -> str:
    """Escaped as workflow commands demand, so that no text of a log can begin a command of its own."""
    clean = HIDDEN.sub(" ", said.replace("\r", " "))[:4000]
    return clean.replace("%", "%25").replace("\n", "%0A")


def _property(said: str) -> str:
    return _message(said).replace(":", "%3A").replace(",", "%2C")


def _cell(value: str) -> str:
    """One line of Markdown that is read as text: no cell, tag, link, image or mention comes of it."""
    return text(value)


def _plain(said: str) -> str:
    """Only characters that XML 1.0 can hold."""
    return "".join(c if c in "\t\n" or 0x20 <= ord(c) < 0xD800 or 0xE000 <= ord(c) <= 0xFFFD else "?" for c in said)
