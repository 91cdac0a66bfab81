"""What CI is told of a run: never more than it proved, in forms that hostile text cannot break."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree as Xml

import pytest
from report_runs import recorded

from seatrial.report.ci import annotations_of, junit_of, summary_of
from seatrial.report.gather import gather

HOSTILE = (
    "::error::owned\n::set-output name=x::1 | <script>alert(1)</script> \x00\x1b[31m ]]> & % \u202e [a](javascript:b)"
)


def test_a_good_run_is_a_suite_of_passed_cases_and_no_annotation_of_error(make):
    found = gather(make("good"))
    suite = Xml.fromstring(junit_of(found))
    assert suite.get("tests") == str(len(suite.findall("testcase"))) == "6"
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "0")
    assert "signed off" in summary_of(found)
    assert not [a for a in annotations_of(found) if a.startswith("::error")]


def test_a_broken_run_fails_its_case_and_skips_what_was_not_run(make):
    found = gather(make("broken"))
    suite = Xml.fromstring(junit_of(found))
    cases = {c.get("name"): [e.tag for e in c if e.tag != "system-out"] for c in suite.findall("testcase")}
    assert cases["dry"] == ["failure"]
    assert cases["real"] == ["skipped"]
    failed = [
        k.stored.step for k in found.steps.values() if k.stored.inputs and k.stored.outcome.verdict.value == "fail"
    ]
    assert suite.get("failures") == str(len(failed))
    assert "not signed off" in summary_of(found)
    assert any(a.startswith("::error title=seatrial dry") for a in annotations_of(found))


def test_an_inconclusive_step_is_no_success(make):
    steps = recorded("good")
    steps["dry"]["outcome"] = {"verdict": "inconclusive", "reason": "nobody knows"}
    suite = Xml.fromstring(junit_of(gather(make(steps))))
    assert suite.get("errors") == "1"


def test_hostile_text_becomes_no_command_no_markup_and_no_broken_xml(make):
    steps = recorded("good")
    steps["dry"]["summary"] = HOSTILE
    steps["dry"]["outcome"] = {"verdict": "fail", "reason": HOSTILE}
    steps["dry"]["findings"] = [
        {"code": "D001", "severity": "error", "place": HOSTILE, "message": HOSTILE, "next_step": HOSTILE}
    ]
    found = gather(make(steps))
    Xml.fromstring(junit_of(found))
    for line in annotations_of(found):
        assert "\n" not in line
        assert line.startswith(("::error title=", "::warning title="))
        assert "\x1b" not in line
    text = summary_of(found)
    assert "<script>" not in text
    assert "](javascript" not in text
    assert all(line.count("|") - line.count("\\|") == 5 for line in text.splitlines() if line.startswith("| dry"))


@pytest.mark.parametrize(("steps", "code"), [("good", 0), ("broken", 1)])
def test_the_command_writes_where_the_service_wants_it_and_exits_with_the_verdict(steps, code, make, place, tmp_path):
    make(steps).close()
    summary, junit = tmp_path / "summary.md", tmp_path / "junit.xml"
    summary.write_text("before\n")
    done = subprocess.run(
        [sys.executable, "-m", "seatrial", "ci", "last", "--workspace", str(place.parent), "--junit", str(junit)],
        capture_output=True,
        text=True,
        env={**__import__("os").environ, "GITHUB_STEP_SUMMARY": str(summary)},
    )
    assert done.returncode == code, done.stderr
    assert summary.read_text().startswith("before\n## seatrial: ")
    assert Xml.parse(junit).getroot().tag == "testsuite"
    assert ("::error" in done.stdout) == bool(code)


def test_a_run_whose_records_were_changed_is_not_green(make, place):
    run = make("broken")
    run.close()
    file = run.folder / "records.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    lines[-1] = lines[-1].replace('"verdict":"fail"', '"verdict":"pass"')
    file.write_text("".join(lines))
    words = [sys.executable, "-m", "seatrial", "ci", "last", "--workspace", str(place.parent)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    assert "are damaged" in done.stderr


@pytest.mark.parametrize("artifact", ["facts", "other"])
def test_a_run_whose_files_were_changed_is_green_nowhere(artifact, make, place, tmp_path):
    run = make("good")
    step = run.steps()["real"]
    ref = step.facts if artifact == "facts" else step.artifacts[0]
    run.close()
    run.artifact(ref).write_text("{}")
    summary, junit = tmp_path / "summary.md", tmp_path / "junit.xml"
    words = [sys.executable, "-m", "seatrial", "ci", "last", "--workspace", str(place.parent), "--junit", str(junit)]
    done = subprocess.run([*words, "--summary", str(summary)], capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    assert "are damaged" in done.stderr
    assert "**fail**, not signed off" in summary.read_text()
    assert Xml.parse(junit).getroot().get("errors") == "1"


def test_a_run_without_an_end_or_whose_verdict_no_step_tells_is_no_green_suite(make):
    killed = Xml.fromstring(junit_of(gather(make("good", finish=False))))
    assert killed.get("errors") == "1"
    assert killed.get("tests") == str(len(killed.findall("testcase")))
    run = make("good", name="20260131-120000-tiny-0002")
    run.append("finished", {"verdict": "inconclusive", "signed_off": False, "reason": "the model was cut"})
    run.close()
    cut = Xml.fromstring(junit_of(gather(run)))
    assert [c.find("error").get("message") for c in cut.findall("testcase") if c.find("error") is not None] == [
        "inconclusive: the model was cut"
    ]
