"""The commands deliver and verify as a person calls them, and the list of their findings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from checkouts import git

from seatrial.delivery.codes import CODES

SRC = Path(__file__).resolve().parents[2] / "src" / "seatrial" / "delivery"


def seatrial(*words):
    return subprocess.run([sys.executable, "-m", "seatrial", *map(str, words)], capture_output=True, text=True)


def test_every_code_in_the_source_is_listed_and_every_listed_one_is_used():
    used = set()
    for file in SRC.rglob("*.py"):
        if file.name != "codes.py":
            used |= set(re.findall(r'"(Y\d{3})"', file.read_text(encoding="utf-8")))
    assert used == set(CODES)


def test_deliver_check_and_verify_end_with_the_codes_they_promise(run, repo, workspace, tmp_path):
    folder = repo("sphinx")
    root = workspace.root.parent
    done = seatrial("deliver", "last", "--repo", folder, "--workspace", root, "--lang", "zh", "--lang", "en")
    assert done.returncode == 0, done.stderr
    assert "one signed-off commit" in done.stdout
    assert "not written: accuracy test" in done.stdout
    checked = seatrial("deliver", "--check", folder, "--workspace", root, "--json")
    assert checked.returncode == 0, checked.stdout
    assert json.loads(checked.stdout)["verdict"] == "pass"
    assert seatrial("verify", run.folder).returncode == 0
    git(folder, "commit", "-q", "--amend", "-m", "[Doc] no sign-off")
    assert seatrial("deliver", "--check", folder, "--workspace", root).returncode == 1
    (run.folder / "records.jsonl").write_text("")
    assert seatrial("verify", run.folder).returncode == 1
    refused = seatrial("deliver", "last", "--repo", folder, "--workspace", root, "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["state"] == "refused"


def test_a_foreign_pull_request_can_be_linted_without_a_run_but_never_passes_that_way(repo, tmp_path):
    folder = repo("sphinx")
    git(folder, "checkout", "-q", "-b", "theirs")
    (folder / "tests/e2e/models/configs/New.yaml").write_text('model_name: "o/New"\nserve:\n  block_size: 1\n')
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-s", "-m", "[Doc] Add New")
    done = seatrial("deliver", "--check", folder, "--workspace", tmp_path, "--json")
    assert done.returncode == 1
    assert {"Y111", "Y112", "Y115", "Y100"} <= {f["code"] for f in json.loads(done.stdout)["findings"]}
    git(folder, "commit", "-q", "--amend", "-s", "--allow-empty", "-m", "[Doc] Nothing")
    (folder / "tests/e2e/models/configs/New.yaml").unlink()
    (folder / "docs/source/faqs.md").write_text("# FAQs\n\nMore.\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--amend", "-s", "-m", "[Doc] Words")
    assert seatrial("deliver", "--check", folder, "--workspace", tmp_path).returncode == 3


def test_usage_errors_are_one_line_with_a_mend(tmp_path):
    for words in (
        ("deliver",),
        ("deliver", "--repo", tmp_path, "--workspace", tmp_path),
        ("deliver", "--check", tmp_path, "--workspace", tmp_path),
        ("verify", tmp_path / "nothing"),
        ("verify", tmp_path),
    ):
        done = seatrial(*words)
        assert done.returncode == 2, (words, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1
        assert "Traceback" not in done.stderr
