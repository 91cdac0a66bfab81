"""Bisect as a user runs it: versions from an index of a folder, a stop half-way, what was tried taken up again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import seatrial
from seatrial.cli.accuracy import command
from seatrial.cli.report import command as report
from seatrial.core.errors import UsageError
from seatrial.evidence import Run, open_workspace, verify_run

SOURCE = str(Path(seatrial.__file__).parents[1])


def wheel(folder, version, value):
    """A package of one module, as an index holds it."""
    info = f"keel-{version}.dist-info"
    with zipfile.ZipFile(folder / f"keel-{version}-py3-none-any.whl", "w") as made:
        made.writestr("keel.py", f"DEPTH = {value}\n")
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: keel\nVersion: {version}\n")
        made.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{info}/RECORD", "")


def test_versions_are_installed_into_environments_of_their_own_and_one_that_cannot_be_is_not_bad(tmp_path):
    index = tmp_path / "index"
    index.mkdir()
    for version, value in (("1.0", 3), ("1.2", 4)):
        wheel(index, version, value)
    look = tmp_path / "look.py"
    look.write_text("import sys, keel\nsys.exit(int(keel.DEPTH != 3))\n")
    words = ["bisect", "--package", "keel", "--versions", "1.0,1.1,1.2", "--good", "1.0", "--bad", "1.2"]
    words += ["--cmd", f"{{python}} {look}", "--pip-arg=--no-index", f"--pip-arg=--find-links={index}"]
    done = CliRunner().invoke(command, [*words, "--workspace", str(tmp_path), "--json"], catch_exceptions=False)
    document = json.loads(done.stdout)
    trials = {t["candidate"]: (t["judgement"], t["reason"]) for t in document["facts"]["trials"]}
    assert {k: v[0] for k, v in trials.items()} == {"1.0": "good", "1.2": "bad", "1.1": "skip"}
    assert "no environment with keel==1.1: pip install: exit code 1: ERROR: No matching" in trials["1.1"][1]
    # 1.1 could not be judged, so it may be the first bad one as well as 1.2.
    assert (done.exit_code, document["facts"]["first_bad"], document["facts"]["suspects"]) == (3, "1.2", ["1.1"])
    run = Run.read(open_workspace(tmp_path, write=False).run_folder(document["run_id"]))
    (stored,) = run.steps().values()
    assert {a.name for a in stored.artifacts} == {"bisect.log", "trials.jsonl"}
    assert verify_run(run.folder).verdict.value == "pass"


@pytest.fixture
def stopped(tmp_path):
    """A search over eight versions whose command interrupts seatrial at the first middle one, once."""
    script = tmp_path / "look.py"
    script.write_text(
        "import os, signal, sys, time\nfrom pathlib import Path\n"
        f"home = Path({str(tmp_path)!r})\nname = os.environ['SEATRIAL_BISECT']\n"
        "with (home / 'asked').open('a') as stream:\n    print(name, file=stream)\n"
        "if name == '4' and not (home / 'again').exists():\n"
        "    (home / 'again').write_text(str(os.getpid()))\n"
        "    os.kill(os.getppid(), getattr(signal, sys.argv[1]))\n    time.sleep(3600)\n"
        "sys.exit(int(int(name) >= 6))\n"
    )

    def start(how):
        words = [sys.executable, "-m", "seatrial", "accuracy", "bisect", "--versions", "1,2,3,4,5,6,7,8", "--good", "1"]
        words += ["--bad", "8", "--cmd", f"{sys.executable} {script} {how}", "--workspace", str(tmp_path)]
        env = {**os.environ, "PYTHONPATH": SOURCE}
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=500)

    return start


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_search_that_was_stopped_half_way_goes_on_where_it_was(stopped, tmp_path, how):
    first = stopped(how)
    assert first.returncode not in (0, 1), first.stderr
    hanging = int((tmp_path / "again").read_text())
    if how == "SIGKILL":
        os.kill(hanging, signal.SIGKILL)  # nobody is left to end it
    else:
        with pytest.raises(ProcessLookupError):
            os.kill(hanging, 0)
    words = ["bisect", "--resume", "last", "--workspace", str(tmp_path), "--json"]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    document = json.loads(done.stdout)
    assert (done.exit_code, document["facts"]["first_bad"], document["facts"]["suspects"]) == (1, "6", [])
    assert {t["candidate"]: t["earlier"] for t in document["facts"]["trials"]} == {
        "1": True,
        "8": True,
        "4": False,
        "6": False,
        "5": False,
    }
    assert (tmp_path / "asked").read_text().split() == ["1", "8", "4", "4", "6", "5"]
    before, after = sorted(
        open_workspace(tmp_path, write=False).run_folders(), key=lambda f: f.name == document["run_id"]
    )
    assert Run.read(after).manifest.arguments["options"]["resumes"] == before.name


def test_the_page_of_a_bisect_has_a_title_and_its_trials(tmp_path):
    at = ["--workspace", str(tmp_path)]
    words = [
        "bisect",
        "--versions",
        "1,2",
        "--good",
        "1",
        "--bad",
        "2",
        "--cmd",
        "sh -c 'exit $((SEATRIAL_BISECT - 1))'",
    ]
    done = CliRunner().invoke(command, [*words, *at, "--json"], catch_exceptions=False)
    document = json.loads(done.stdout)
    assert (done.exit_code, document["facts"]["first_bad"]) == (1, "2")
    assert CliRunner().invoke(report, ["last", *at]).exit_code == 0
    text = (Path(document["folder"]) / "report.md").read_text()
    assert text.startswith("# " + document["run_id"].replace("-", "\\-"))
    assert "| 2 | 1 | bad | 1 of 1 runs are bad | no |" in text


def test_what_cannot_be_taken_up_again_is_refused(tmp_path):
    at = ["--workspace", str(tmp_path)]
    with pytest.raises(UsageError, match="takes the question from the run"):
        CliRunner().invoke(command, ["bisect", "--resume", "x", "--good", "1", *at], catch_exceptions=False)
    with pytest.raises(UsageError, match="--good, --cmd must be given"):
        CliRunner().invoke(command, ["bisect", "--bad", "1", *at], catch_exceptions=False)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--cmd", "echo 'x"], "--cmd cannot be read"),
        (["--cmd", " "], "--cmd is empty"),
        (["--cmd", "{python} x"], "no environment is made"),
        (["--cmd", "x", "--repo", "."], "either --repo or --versions"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_before_anything_is_tried(more, says, tmp_path):
    words = ["bisect", "--good", "1", "--bad", "2", "--versions", "1,2", *more, "--workspace", str(tmp_path)]
    with pytest.raises(UsageError, match=says):
        CliRunner().invoke(command, words, catch_exceptions=False)
    assert not (tmp_path / ".seatrial").exists()


def test_a_command_that_is_not_there_at_one_commit_says_nothing_about_it(tmp_path):
    script = tmp_path / "look"
    words = ["bisect", "--good", "1", "--bad", "2", "--versions", "1,2", "--cmd", str(script), "--json"]
    done = CliRunner().invoke(command, [*words, "--workspace", str(tmp_path)], catch_exceptions=False)
    document = json.loads(done.stdout)
    assert done.exit_code == 3
    assert "1 was given as good, but is not" in document["outcome"]["reason"]
    assert "cannot be run: No such file" in document["outcome"]["reason"]
