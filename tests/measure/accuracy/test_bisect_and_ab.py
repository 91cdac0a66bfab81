"""Bisect never takes an environment's failure for the fault; the matrix never takes a start that failed for one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from seatrial.cli.accuracy import command
from seatrial.core.errors import UsageError
from seatrial.core.verdict import Verdict
from seatrial.gates.agree import Greedy
from seatrial.measure.accuracy import bisect as work
from seatrial.measure.accuracy.ab import VARIANTS, MatrixFacts, conclude, judge

NAMES = [f"v{i}" for i in range(12)]


@given(st.integers(1, 11), st.sets(st.integers(1, 10)))
def test_the_first_bad_one_is_found_or_named_among_the_ones_that_could_not_be_judged(first_bad, skipped):
    skipped -= {0, 11}
    seen = []

    def run(name):
        number = NAMES.index(name)
        seen.append(number)
        return 125 if number in skipped else int(number >= first_bad)

    facts = work.bisect(NAMES, run).facts
    assert NAMES[first_bad] in {facts.first_bad, *facts.suspects}
    if not skipped:
        assert facts.first_bad == NAMES[first_bad]
        assert len(seen) <= 2 + 4
    assert all(t.judgement == "skip" for t in facts.trials if NAMES.index(t.candidate) in skipped)


@pytest.mark.parametrize("code", [2, 3, 4, 125, 137, -9, None])
def test_only_exit_code_one_is_bad(code):
    assert work.judge("v", [code]).judgement == "skip"


def test_repeats_decide_by_majority_and_a_draw_is_no_judgement():
    assert work.judge("v", [0, 1, 0]).judgement == "good"
    assert work.judge("v", [1, 1, 4]).judgement == "bad"
    assert work.judge("v", [0, 1]).judgement == "skip"
    # One run that could say does not stand for two that could not.
    assert work.judge("v", [1, 125, None]).judgement == "skip"
    assert work.judge("v", [0, 125, 125]).judgement == "skip"


def test_a_good_end_that_is_bad_is_told_and_nothing_else_is_tried():
    result = work.bisect(NAMES, lambda name: 1)
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "v0 was given as good" in result.outcome.reason
    assert len(result.facts.trials) == 1
    with pytest.raises(UsageError, match="fewer than two"):
        work.bisect(["v0"], lambda name: 0)


@pytest.fixture
def repository(tmp_path):
    """Eight commits; from the sixth on the file says `wrong`, the fourth cannot run at all."""
    repo = tmp_path / "repo"
    repo.mkdir()

    def git(*words):
        subprocess.run(
            ["git", "-C", str(repo), "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
            check=True,
            capture_output=True,
        )

    git("init", "-q", "-b", "main")
    for number in range(8):
        state = "broken" if number == 3 else ("wrong" if number >= 5 else "right")
        (repo / "state").write_text(f"{state} {number}")
        git("add", "state")
        git("commit", "-q", "-m", str(number))
    return repo


def test_commits_are_bisected_in_work_trees_of_their_own(repository, tmp_path):
    script = tmp_path / "look.py"
    script.write_text(
        "import sys, pathlib\nstate = pathlib.Path('state').read_text()\n"
        "sys.exit(4 if 'broken' in state else int('wrong' in state))\n"
    )
    before = (repository / "state").read_text()
    words = ["bisect", "--repo", str(repository), "--good", "HEAD~7", "--bad", "HEAD", "--json"]
    done = CliRunner().invoke(command, [*words, "--cmd", f"{sys.executable} {script}"], catch_exceptions=False)
    assert done.exit_code == 1, done.output
    facts = json.loads(done.stdout)["facts"]
    wanted = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD~2"], capture_output=True, text=True)
    assert facts["first_bad"] == wanted.stdout.strip()
    assert (repository / "state").read_text() == before
    trees = subprocess.run(["git", "-C", str(repository), "worktree", "list"], capture_output=True, text=True)
    assert len(trees.stdout.splitlines()) == 1


def test_ends_that_git_does_not_know_or_in_the_wrong_order_are_refused(repository):
    with pytest.raises(UsageError, match="rev-parse"):
        work.commits(repository, "nowhere", "HEAD")
    with pytest.raises(UsageError, match="is not before"):
        work.commits(repository, "HEAD", "HEAD~3")


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path):
    code = work.command(
        f"{sys.executable} -c 'import time; time.sleep(60)'", candidate="x", cwd=None, log=tmp_path / "l", timeout_s=0.5
    )
    assert code is None


def greedy(tokens, margin=5.0):
    top = tuple({t: -0.1, "other": -0.1 - margin} for t in tokens)
    return Greedy(tokens=tuple(tokens), logprobs=(-0.1,) * len(tokens), top=top)


def test_a_variant_that_agrees_rounds_breaks_or_does_not_run_is_told_apart():
    variant = VARIANTS[0]
    base = [greedy("abc")]
    assert judge(variant, base, base, "").state == "agrees"
    assert judge(variant, [greedy("abc", 0.01)], [greedy(["a", "other", "c"])], "").state == "rounding"
    broken = judge(variant, base, [greedy(["a", "other", "c"])], "")
    assert broken.state == "breaks"
    missing = judge(variant, base, [], "the engine refused --x")
    assert missing.state == "not-run"
    result = conclude(MatrixFacts(checkpoint="c", cells=(broken, missing)))
    assert result.outcome.verdict is Verdict.FAIL
    assert [f.code for f in result.findings] == ["A401"]
    alone = conclude(MatrixFacts(checkpoint="c", cells=(missing,)))
    assert alone.outcome.verdict is Verdict.INCONCLUSIVE
