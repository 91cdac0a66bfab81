"""Bisect: the first bad commit or version, by a command of the user's that says 0 good, 1 bad, anything else: cannot
say.

In: candidates in order, the first known good, the last known bad. Out: a `StepResult` with `BisectFacts`. Only exit
code 1 is bad: 125, a signal, a time-out, seatrial's own 2 to 4 (usage, inconclusive, environment) are skipped, so a
service that does not start is never taken for the fault. Each step runs the command afresh, `repeats` times where it
samples. Refuses (UsageError): ends that git does not know, fewer than two candidates.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.core.step import StepResult
from seatrial.core.verdict import Outcome, failed, inconclusive

Judgement = Literal["good", "bad", "skip"]


class Trial(Record):
    """One candidate, the exit codes of its repeats (None: time-out), and what follows from them."""

    candidate: str
    codes: tuple[int | None, ...]
    judgement: Judgement
    reason: str


class BisectFacts(Record):
    """`first_bad` is sure if `suspects` (candidates that could not be judged just before it) is empty."""

    candidates: int
    trials: tuple[Trial, ...]
    first_bad: str
    last_good: str
    suspects: tuple[str, ...]


def judge(candidate: str, codes: Sequence[int | None]) -> Trial:
    """From the exit codes of the repeats: more than half of all must say the same; those that cannot say count too."""
    bad, good = sum(c == 1 for c in codes), sum(c == 0 for c in codes)
    verdict: Judgement
    if bad * 2 > len(codes):
        verdict, reason = "bad", f"{bad} of {len(codes)} runs are bad"
    elif good * 2 > len(codes):
        verdict, reason = "good", f"{good} of {len(codes)} runs are good"
    elif bad or good:
        verdict, reason = "skip", f"of {len(codes)} runs {bad} are bad, {good} good: more repeats are needed"
    else:
        odd = next(iter(codes), None)
        verdict, reason = "skip", "time-out" if odd is None else f"exit code {odd} is neither good nor bad"
    return Trial(candidate=candidate, codes=tuple(codes), judgement=verdict, reason=reason)


def bisect(
    candidates: Sequence[str],
    run: Callable[[str], int | None],
    *,
    repeats: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """`candidates[0]` is claimed good, the last bad; both are tried first. `run` gives an exit code or None."""
    if len(candidates) < 2:
        raise UsageError("there are fewer than two candidates", mend="--good must come before --bad.")
    trials: dict[int, Trial] = {}

    def look(number: int) -> Judgement:
        if number not in trials:
            say(f"trying {candidates[number]} ({len(trials) + 1} tried)")
            trials[number] = judge(candidates[number], [run(candidates[number]) for _ in range(repeats)])
        return trials[number].judgement

    low, high = 0, len(candidates) - 1
    ends = (("good", low), ("bad", high))
    for wanted, number in ends:
        if look(number) != wanted:
            trial = trials[number]
            reason = f"{trial.candidate} was given as {wanted}, but is not: {trial.reason}"
            return _result(candidates, trials, None, None, inconclusive(reason))
    while True:
        open_ = [n for n in range(low + 1, high) if n not in trials or trials[n].judgement != "skip"]
        if not open_:
            break
        middle = min(open_, key=lambda n: abs(n - (low + high) / 2))
        seen = look(middle)
        if seen == "good":
            low = middle
        elif seen == "bad":
            high = middle
    between = [candidates[n] for n in range(low + 1, high)]
    first = candidates[high]
    if between:
        reason = f"the first bad one is {first} or one of {len(between)} before it that could not be judged"
        return _result(candidates, trials, high, low, inconclusive(reason))
    return _result(candidates, trials, high, low, failed(f"the first bad one is {first}; {candidates[low]} is good"))


def _result(
    candidates: Sequence[str], trials: dict[int, Trial], high: int | None, low: int | None, outcome: Outcome
) -> StepResult:
    between: tuple[str, ...] = ()
    if low is not None and high is not None:
        between = tuple(candidates[low + 1 : high])
    facts = BisectFacts(
        candidates=len(candidates),
        trials=tuple(trials.values()),
        first_bad=candidates[high] if high is not None else "",
        last_good=candidates[low] if low is not None else "",
        suspects=between,
    )
    return StepResult(step="bisect", outcome=outcome, summary=outcome.reason, facts=facts)


def commits(repo: Path, good: str, bad: str) -> tuple[str, ...]:
    """From `good` to `bad` along first parents, both included."""
    words = ("rev-parse", "--verify", "--end-of-options")
    ends = [_git(repo, *words, f"{name}^{{commit}}").strip() for name in (good, bad)]
    listed = _git(repo, "rev-list", "--first-parent", "--reverse", f"{ends[0]}..{ends[1]}").split()
    if not listed or listed[-1] != ends[1]:
        raise UsageError(f"{good} is not before {bad} in {repo}", mend="Exchange --good and --bad.")
    return (ends[0], *listed)


@contextmanager
def checkout(repo: Path, commit: str, folder: Path) -> Iterator[Path]:
    """A work tree of that commit for as long as the step takes; the user's own tree is not touched."""
    place = folder / commit[:12]
    _git(repo, "worktree", "add", "--detach", "--force", str(place), commit)
    try:
        yield place
    finally:
        with suppress(UsageError):
            _git(repo, "worktree", "remove", "--force", str(place))


def command(text: str, *, candidate: str, cwd: Path | None, log: Path, timeout_s: float) -> int | None:
    """Run the user's command (words, no shell; `{candidate}` is replaced); its exit code, None on a time-out."""
    argv = [word.replace("{candidate}", candidate) for word in shlex.split(text)]
    with log.open("ab") as stream:
        try:
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SEATRIAL_BISECT": candidate},
                start_new_session=True,
            )
        except OSError as exc:
            raise UsageError(f"the command cannot be run: {exc.strerror or exc}", mend="Check --cmd.") from exc
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # What the command left behind (a service) must not answer for the next candidate.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _git(repo: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(repo), *words], capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no words"])[-1]
        raise UsageError(f"git {words[0]} in {repo}: {said}", mend="Check --repo, --good and --bad.")
    return done.stdout
