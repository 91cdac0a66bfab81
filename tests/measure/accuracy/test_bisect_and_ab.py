"""Bisect never takes an environment's failure for the fault; the matrix never takes a start that failed for one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from seatrial.cli.accuracy import command
from seatrial.core.errors import UsageError
from seatrial.core.record import replace
from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict, passed
from seatrial.gates.agree import Greedy
from seatrial.measure.accuracy import bisect as work
from seatrial.measure.accuracy import bisect_candidates as candidates
from seatrial.measure.accuracy.ab import MatrixFacts, conclude, judge, matrix
from seatrial.measure.accuracy.ab_variants import VARIANTS
from seatrial.measure.accuracy.serving import Started
from seatrial.targets import load_target

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
    words += ["--workspace", str(tmp_path)]
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
        candidates.commits(repository, "nowhere", "HEAD")
    with pytest.raises(UsageError, match="is not before"):
        candidates.commits(repository, "HEAD", "HEAD~3")


def test_a_good_commit_of_another_branch_is_refused(repository):
    def git(*words):
        more = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(repository), *more, *words], check=True, capture_output=True)

    # The good one mends what was wrong before the branches parted: the first after that is not to blame.
    git("checkout", "-q", "-b", "release", "HEAD~1")
    (repository / "state").write_text("right")
    git("commit", "-q", "-a", "-m", "mended here")
    with pytest.raises(UsageError, match="release is not before main"):
        candidates.commits(repository, "release", "main")
    git("checkout", "-q", "main")
    git("merge", "-q", "-s", "ours", "release")
    # Merged, it is before it, though not along first parents.
    with pytest.raises(UsageError, match="release is not before main along first parents"):
        candidates.commits(repository, "release", "main")


@pytest.mark.parametrize(
    ("codes", "judgement"),
    [((1,), "good"), ((), "good"), ((0,), "good"), ((0, 0, 0, 0), "good"), ((4, 4, 0), "bad")],
)
def test_a_kept_trial_whose_codes_do_not_say_what_it_says_is_made_again(codes, judgement):
    seen = []

    def run(name):
        seen.append(name)
        return int(NAMES.index(name) >= 3)

    known = [work.Trial(candidate="v0", codes=codes, judgement=judgement, reason="")]
    assert work.bisect(NAMES, run, repeats=3, known=known).facts.first_bad == "v3"
    assert seen.count("v0") == 3


def test_versions_named_twice_are_no_order(tmp_path):
    words = ["bisect", "--versions", "1,2,1,3", "--good", "1", "--bad", "3", "--cmd", "true"]
    with pytest.raises(UsageError, match="1 is named twice"):
        CliRunner().invoke(command, [*words, "--workspace", str(tmp_path)], catch_exceptions=False)


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path):
    hanging = f"{sys.executable} -c 'import time; time.sleep(3600)'"
    code = candidates.command(hanging, candidate="x", cwd=None, log=tmp_path / "l", timeout_s=0.5)
    assert code is None


def greedy(tokens, margin=5.0):
    top = tuple({t: -0.1, "other": -0.1 - margin} for t in tokens)
    return Greedy(tokens=tuple(tokens), logprobs=(-0.1,) * len(tokens), top=top)


def test_a_variant_that_agrees_rounds_breaks_or_does_not_run_is_told_apart():
    variant = VARIANTS[0]
    base = [greedy("abc")]
    assert judge(variant, base, base, "").state == "agrees"
    near = ({"a": -0.1}, {"other": -0.1, "b": -0.11}, {"c": -0.1})
    close = Greedy(tokens=("a", "other", "c"), logprobs=(-0.1,) * 3, top=near)
    assert judge(variant, [greedy("abc", 0.01)], [close], "").state == "rounding"
    broken = judge(variant, base, [greedy(["a", "other", "c"])], "")
    assert broken.state == "breaks"
    missing = judge(variant, base, [], "the engine refused --x")
    assert missing.state == "not-run"
    result = conclude(MatrixFacts(checkpoint="c", cells=(broken, missing)))
    assert result.outcome.verdict is Verdict.FAIL
    assert [f.code for f in result.findings] == ["A401"]
    alone = conclude(MatrixFacts(checkpoint="c", cells=(missing,)))
    assert alone.outcome.verdict is Verdict.INCONCLUSIVE


def test_a_setting_that_rounds_by_design_differs_and_breaks_only_where_its_tokens_are_foreign():
    lossy = next(v for v in VARIANTS if v.lossy)
    base = [greedy("abc", 0.8), greedy("abc", 0.8)]
    other = [greedy(["a", "other", "c"]), greedy("abc")]
    seen = judge(lossy, base, other, "")
    assert (seen.state, "0.800 nats" in seen.reason) == ("differs", True)
    result = conclude(MatrixFacts(checkpoint="c", cells=(seen,)))
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert [f.code for f in result.findings] == ["A402"]
    foreign = judge(lossy, base, [greedy(["x", "y", "z"])] * 2, "")
    assert foreign.state == "breaks"
    assert judge(lossy, base, base, "").state == "agrees"


class Served:
    """Stands in for `during`: what each variant answers by its name, and what its server counts."""

    def __init__(self, answers, counted=lambda name, asked: asked * (1.0 if name == "base" else 2.0)):
        self.answers, self.counted, self.started = answers, counted, []

    def __call__(self, checkpoint, target, use, *, scratch, **_):
        served, name = self, scratch.name
        self.started.append(name)
        asked = []

        class Client:
            def get(self, path):
                return SimpleNamespace(json=lambda: {"data": [{"max_model_len": 64}]})

            def number(self, counter):
                return served.counted(name, len(asked))

        def greedy_(client, *, at_once, lengths):
            asked.append(lengths)
            return self.answers.get(name, self.answers["base"])

        with mock.patch("seatrial.measure.accuracy.ab.greedy", greedy_):
            kept = [use(Client(), None)]
        assert max(asked[0]) + 24 < 64
        return Started(gate=StepResult(step="real", outcome=passed(), summary="", facts=None), kept=kept)


def run_matrix(served, only, tmp_path):
    seen = []
    with mock.patch("seatrial.measure.accuracy.ab.during", served):
        target = load_target("cpu").target
        result = matrix(Path("c"), target, python=Path("p"), scratch=tmp_path, only=only, seen=seen.append)
    return result, seen


def coarse(tokens, margin=5.0):
    """As `greedy`, by logits in steps of 1/16: four candidates, all distances whole steps."""
    top = tuple({t: -0.0625, "other": -0.0625 - margin, "y": -6.125, "z": -7.125} for t in tokens)
    return Greedy(tokens=tuple(tokens), logprobs=(-0.0625,) * len(tokens), top=top)


@pytest.mark.parametrize(
    ("exact", "state", "says"),
    [
        ("abc", "rounding", "in float32 they agree, so it is rounding of the format"),
        (["a", "other", "c"], "breaks", "in float32 too: 1 of 1 prompts part"),
        (None, "breaks", "could not be asked"),
    ],
)
def test_what_parts_by_a_little_in_a_coarse_format_is_asked_again_in_float32(tmp_path, exact, state, says):
    base = [coarse("abc", 0.25)]
    parted = Greedy(tokens=("a", "other", "c"), logprobs=(-0.0625,) * 3, top=coarse("abc", -0.25).top)
    served = Served({"base": base, "batch": [parted], "base-float32": [greedy("abc")]})
    served.answers["batch-float32"] = (
        [greedy(exact)] if exact else [Greedy(tokens=(), logprobs=(), top=(), trouble="HTTP 500")]
    )
    _, (cell,) = run_matrix(served, ("batch",), tmp_path)
    assert served.started[:4] == ["base", "batch", "base-float32", "batch-float32"]
    assert cell.state == state
    assert "0.250 nats apart" in cell.reason
    assert says in cell.reason
    assert (cell.exact is None) == (exact is None)
    # A wide difference is no question of rounding: nothing more is asked.
    wide = Served({"base": [coarse("abc", 2.0)], "tp2": [replace(parted, top=coarse("abc", -2.0).top)]})
    run_matrix(wide, ("tp2",), tmp_path)
    assert wide.started == ["base", "tp2"]


def test_the_smallest_setting_that_breaks_is_looked_for_from_the_mildest_on(tmp_path):
    right, wrong = [greedy("abc")], [greedy("axc")]
    served = Served({"base": right, "batch": wrong, "batch-4": wrong})
    result, seen = run_matrix(served, ("batch", "chunked"), tmp_path)
    assert served.started == ["base", "batch", "batch-2", "batch-4", "chunked"]
    assert [(c.variant.name, c.state, c.smallest) for c in seen] == [
        ("batch", "breaks", "batch-4"),
        ("chunked", "agrees", ""),
    ]
    assert "the smallest that breaks is batch-4" in result.findings[0].message
    assert result.outcome.verdict is Verdict.FAIL


def test_a_setting_that_did_nothing_by_the_servers_own_count_has_not_run(tmp_path):
    right = [greedy("abc")]
    idle = Served({"base": right}, counted=lambda name, asked: 3.0)
    result, (cell,) = run_matrix(idle, ("prefix-cache",), tmp_path)
    assert cell.state == "not-run"
    assert "prefix_cache_hits_total did not rise" in cell.reason
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    silent = Served({"base": right}, counted=lambda name, asked: None)
    assert "does not count" in run_matrix(silent, ("mtp",), tmp_path)[1][0].reason
    uncut = Served({"base": right}, counted=lambda name, asked: 5.0 * asked)
    assert "in the base run by 5" in run_matrix(uncut, ("chunked",), tmp_path)[1][0].reason
    busy = Served({"base": right})
    assert run_matrix(busy, ("prefix-cache",), tmp_path)[0].outcome.verdict is Verdict.PASS
