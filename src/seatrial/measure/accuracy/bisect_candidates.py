"""What bisect tries: a commit in a work tree of its own, or a package's version in an environment of its own.

In: a repository and two commits, or a package and a version. Out: a folder or an interpreter for as long as the step
takes. Refuses (UsageError): ends that git does not know, a package that is no name; (EngineError): a work tree or an
environment that cannot be made, a command that cannot be run, which bisect counts as "cannot say".
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from seatrial.core.errors import EngineError, UsageError


def commits(repo: Path, good: str, bad: str) -> tuple[str, ...]:
    """From `good` to `bad` along first parents, both included.

    A good one beside that line (on another branch, merged or not) is refused: of the commit where the line leaves it
    nobody has said that it is good, and the first one after it would be blamed for what came before.
    """
    words = ("rev-parse", "--verify", "--end-of-options")
    ends = [_git(repo, *words, f"{name}^{{commit}}").strip() for name in (good, bad)]
    listed = _git(repo, "rev-list", "--first-parent", "--reverse", f"{ends[0]}..{ends[1]}").split()
    if not listed or listed[-1] != ends[1]:
        raise UsageError(f"{good} is not before {bad} in {repo}", mend="Exchange --good and --bad.")
    fork = _git(repo, "rev-parse", f"{listed[0]}^").strip()
    if fork != ends[0]:
        raise UsageError(
            f"{good} is not before {bad} along first parents in {repo}",
            mend=f"Try {fork[:12]}, where the line of {bad} leaves it, as --good.",
        )
    return (ends[0], *listed)


@contextmanager
def checkout(repo: Path, commit: str, folder: Path) -> Iterator[Path]:
    """A work tree of that commit for as long as the step takes; the user's own tree is not touched."""
    place = folder / commit[:12]
    try:
        _git(repo, "worktree", "add", "--detach", "--force", str(place), commit)
    except UsageError as exc:
        raise EngineError(f"the work tree cannot be made: {exc.message}", mend="See the repository.") from exc
    try:
        yield place
    finally:
        with suppress(UsageError):
            _git(repo, "worktree", "remove", "--force", str(place))


@contextmanager
def installed(
    package: str, version: str, folder: Path, *, base: Path | None, pip_args: Sequence[str], log: Path, timeout_s: float
) -> Iterator[Path]:
    """The interpreter of a new environment with `package==version`, which goes afterwards.

    `base` makes the environment by its venv and pip (default: this interpreter); `pip_args` go to `pip install` (an
    index, more packages).
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]+\])?", package):
        raise UsageError(f"{package!r} is no package name", mend="Name it as pip does, such as vllm.")
    place = folder / "environment"
    python = place / "bin" / "python"
    maker = str(base or sys.executable)
    pip = (maker, "-m", "pip", "--python", str(python), "install", "--disable-pip-version-check", "--no-input")
    shutil.rmtree(place, ignore_errors=True)
    try:
        for argv in (
            (maker, "-m", "venv", "--without-pip", str(place)),
            (*pip, *pip_args, f"{package}=={version}"),
        ):
            code = _run(argv, env=dict(os.environ), cwd=None, log=log, timeout_s=timeout_s)
            if code:
                how = "ran out of time" if code is None else f"exit code {code}"
                what = "venv" if "venv" in argv else "pip install"
                raise EngineError(
                    f"no environment with {package}=={version}: {what}: {how}: {_last(log)}", mend=f"See {log}."
                )
        yield python
    finally:
        shutil.rmtree(place, ignore_errors=True)


def command(
    text: str, *, candidate: str, cwd: Path | None, log: Path, timeout_s: float, python: Path | None = None
) -> int | None:
    """Run the user's command (words, no shell; `{candidate}` and `{python}` are replaced): its exit code, None on a
    time-out. `python` is the interpreter of the candidate's environment; its folder is first on the path.
    """
    words = {"{candidate}": candidate, **({"{python}": str(python)} if python is not None else {})}
    argv = shlex.split(text)
    for mark, value in words.items():
        argv = [word.replace(mark, value) for word in argv]
    env = {**os.environ, "SEATRIAL_BISECT": candidate}
    if python is not None:
        env |= {"PATH": f"{python.parent}{os.pathsep}{env.get('PATH', '')}", "VIRTUAL_ENV": str(python.parent.parent)}
    return _run(argv, env=env, cwd=cwd, log=log, timeout_s=timeout_s)


def _run(argv: Sequence[str], *, env: dict[str, str], cwd: Path | None, log: Path, timeout_s: float) -> int | None:
    with log.open("ab") as stream:
        try:
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        except OSError as exc:
            raise EngineError(f"{argv[0]} cannot be run: {exc.strerror or exc}", mend="Check --cmd.") from exc
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # What the command left behind (a service) must not answer for the next candidate.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _last(log: Path) -> str:
    """The last line that says something."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 4096))
        lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no words"


def _git(repo: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(repo), *words], capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no words"])[-1]
        raise UsageError(f"git {words[0]} in {repo}: {said}", mend="Check --repo, --good and --bad.")
    return done.stdout
