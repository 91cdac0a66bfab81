"""The linter: files in, a report out; fixes are bytes that the caller writes.

In: a file or folder, a platform, perhaps a vLLM source. Every file ends as looked at or as a problem of its own
(VLM902: it does not parse). A rule that could not look is in `not_run` with its reason.
"""

from __future__ import annotations

import ast
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from seatrial.adapter.lint.engine import EngineFacts
from seatrial.adapter.lint.file import LintFile
from seatrial.adapter.lint.fixes import apply
from seatrial.adapter.lint.ignores import Ignore, fault, plain_ignores, read_ignores
from seatrial.adapter.lint.plugin import PluginFacts
from seatrial.adapter.lint.record import SCHEMA_VERSION, Edit, Ignored, LintReport, NotRun, Problem
from seatrial.adapter.lint.rule import Rule
from seatrial.adapter.lint.walk import walk
from seatrial.checkpoint import read_card
from seatrial.core.collector import without_collector
from seatrial.core.errors import UsageError
from seatrial.support.modules import Package
from seatrial.support.source import open_source

# Reported by the linter itself, never silenced.
BAD_IGNORE, UNUSED_IGNORE, UNPARSED = "VLM900", "VLM901", "VLM902"
OWN = {
    BAD_IGNORE: "an ignore comment without codes, with an unknown one, or without a reason",
    UNUSED_IGNORE: "an ignore comment under which nothing fires",
    UNPARSED: "a file that does not parse, so no rule has looked at it",
}
LARGEST = 8 * 2**20
# Below this many files a second process costs more than it saves.
PARALLEL_FROM = 60
PASSES = 8
# A problem of a whole block is shown, and answered for, at its first line.
BLOCKS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.If, ast.Try, ast.ExceptHandler, ast.For)


class Choice(NamedTuple):
    """The rules that run, and those that do not with the reason."""

    rules: tuple[Rule, ...]
    not_run: tuple[NotRun, ...]


def choose(
    rules: Iterable[Rule], platform: str, has_engine: bool, select: Sequence[str], ignore: Sequence[str]
) -> Choice:
    """Rules by code or prefix (`VLM`, `VLM01`), as ruff's `--select` and `--ignore`; raises UsageError for no match."""
    every = list(rules)
    for prefix in (*select, *ignore):
        if not any(r.code.startswith(prefix) for r in every):
            raise UsageError(
                f"no rule's code begins with {prefix!r}", mend=f"Rules: {', '.join(r.code for r in every)}."
            )
    chosen, not_run = [], []
    for rule in every:
        if any(rule.code.startswith(p) for p in ignore):
            continue
        named = any(rule.code.startswith(p) for p in select)
        if select and not named:
            continue
        if rule.platforms and platform not in rule.platforms:
            if rule.code in select:
                not_run.append(NotRun(code=rule.code, reason=f"it is for {', '.join(rule.platforms)}: --platform"))
        elif rule.off_because and rule.code not in select:
            not_run.append(NotRun(code=rule.code, reason=f"off unless selected by its code: {rule.off_because}"))
        elif rule.needs_engine and not has_engine:
            not_run.append(NotRun(code=rule.code, reason="it asks vLLM's source: --engine SRC"))
        else:
            chosen.append(rule)
    return Choice(tuple(chosen), tuple(not_run))


def root_of(path: Path) -> Path:
    """The plugin's root: the folder above the outermost package that `path` is in or, for a folder, itself."""
    folder = path if path.is_dir() else path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def check_file(file: LintFile, rules: Sequence[Rule], known: set[str]) -> tuple[list[Problem], list[Ignored]]:
    """Problems of one file, and those a comment in it answers for."""
    if file.tree is None:
        message = f"does not parse: {file.error}"
        return [Problem(code=UNPARSED, path=file.path, line=1, column=1, end_line=1, message=message)], []
    problems: list[Problem] = []
    for rule in rules:
        if rule.check is None or (file.is_test and not rule.in_tests):
            continue
        if rule.needles and not any(n in file.source for n in rule.needles):
            continue
        for kind in rule.nodes:
            for node in file.by_type.get(kind, ()):
                for hit in rule.check(node, file):
                    fix = tuple(Edit(start=s, end=e, text=t) for s, e, t in hit.edits) if file.editable else ()
                    line: int = hit.node.lineno  # type: ignore[attr-defined]
                    end: int = getattr(hit.node, "end_lineno", None) or line
                    if isinstance(hit.node, BLOCKS):
                        end = line
                    problems.append(
                        Problem(
                            code=rule.code,
                            path=file.path,
                            line=line,
                            column=file.column(hit.node),
                            end_line=end,
                            message=hit.message,
                            fix=fix,
                        )
                    )
    problems = sorted(set(problems), key=lambda p: (p.line, p.column, p.code, p.message))
    return silenced(problems, read_ignores(file.source), file.path, {r.code for r in rules}, known)


def check_text(path: str, data: bytes, rules: Sequence[Rule], known: set[str]) -> tuple[list[Problem], list[Ignored]]:
    """Problems of a script, configuration or document. A `#` comment at the line's end answers, as in Python."""
    problems = []
    ran = [r for r in rules if r.texts is not None and any(n in data for n in r.needles)]
    for rule in ran:
        for hit in rule.texts(data) if rule.texts is not None else ():
            line = data.count(b"\n", 0, hit.start) + 1
            before = data[data.rfind(b"\n", 0, hit.start) + 1 : hit.start]
            problems.append(
                Problem(
                    code=rule.code,
                    path=path,
                    line=line,
                    column=len(before.decode("utf-8", "replace")) + 1,
                    end_line=line,
                    message=hit.message,
                    fix=(Edit(start=hit.start, end=hit.end, text=hit.text),),
                )
            )
    return silenced(problems, plain_ignores(data) if ran else [], path, {r.code for r in ran}, known)


def silenced(
    problems: list[Problem], ignores: list[Ignore], path: str, ran: set[str], known: set[str]
) -> tuple[list[Problem], list[Ignored]]:
    """Take out what a well-formed comment on the problem's first or last line answers for; report bad comments."""
    kept: list[Problem] = []
    answered: list[Ignored] = []
    used: set[tuple[int, str]] = set()
    good = [i for i in ignores if not fault(i, known)]
    for problem in problems:
        ignore = next((i for i in good if problem.code in i.codes and i.line in (problem.line, problem.end_line)), None)
        if ignore is None:
            kept.append(problem)
        else:
            used.add((ignore.line, problem.code))
            answered.append(Ignored(code=problem.code, path=path, line=problem.line, reason=ignore.reason))
    for ignore in ignores:
        wrong = fault(ignore, known)
        idle = [] if wrong else [c for c in ignore.codes if c in ran and (ignore.line, c) not in used]
        code, message = (BAD_IGNORE, wrong) if wrong else (UNUSED_IGNORE, f"nothing to ignore here: {', '.join(idle)}")
        if wrong or idle:
            at = ignore.line
            kept.append(Problem(code=code, path=path, line=at, column=1, end_line=at, message=message))
    return kept, answered


class Result(NamedTuple):
    """Of one file. `fixed` is the new content if fixes were asked for and changed it."""

    problems: list[Problem]
    ignored: list[Ignored]
    fixed: bytes | None


class Work:
    """Everything a worker process needs to judge files."""

    def __init__(
        self,
        root: Path,
        files: Sequence[str],
        rules: Sequence[Rule],
        known: set[str],
        engine: Path | None,
        fix: bool,
        architectures: tuple[str, ...] = (),
    ) -> None:
        self.root, self.rules, self.known, self.engine_source, self.fix = root, rules, known, engine, fix
        self.plugin = PluginFacts(files, self.read, architectures)
        self._engine: EngineFacts | None = None

    def read(self, path: str) -> bytes:
        data = (self.root / path).read_bytes()
        if len(data) > LARGEST:
            raise UsageError(f"{path} is over {LARGEST // 2**20} MiB", mend="It is no source file; leave it out.")
        return data

    @property
    def engine(self) -> EngineFacts | None:
        """Opened when the first file asks, so that each worker has its own."""
        if self._engine is None and self.engine_source is not None:
            tops = sorted({p.split("/")[0] for p in self.plugin.files if "/" in p})
            top = next((t for t in tops if t.startswith("vllm")), tops[0] if tops else "")
            package = Package(top, open_source(self.root)) if top else None
            self._engine = EngineFacts.open(self.engine_source, plugin=package)
        return self._engine

    def judge_text(self, path: str) -> Result:
        data = self.read(path) if (self.root / path).stat().st_size <= LARGEST else b""
        problems, ignored = check_text(path, data, self.rules, self.known)
        fixed = apply(data, problems, python=False) if self.fix else data
        if fixed == data:
            return Result(problems, ignored, None)
        return Result(*check_text(path, fixed, self.rules, self.known), fixed)

    def judge(self, path: str) -> Result:
        source = self.read(path)
        problems, ignored = check_file(LintFile(path, source, self.plugin, self.engine), self.rules, self.known)
        if not self.fix or not any(p.fix for p in problems):
            return Result(problems, ignored, None)
        fixed = source
        for _ in range(PASSES):
            after = apply(fixed, problems)
            if after == fixed:
                break
            fixed = after
            problems, ignored = check_file(LintFile(path, fixed, self.plugin, self.engine), self.rules, self.known)
        return Result(problems, ignored, fixed if fixed != source else None)


class Linted(NamedTuple):
    """The report, and the new content of files that fixes changed (by path relative to the report's root)."""

    report: LintReport
    fixed: dict[str, bytes]


def lint(
    path: Path,
    rules: Sequence[Rule],
    *,
    platform: str = "",
    engine: Path | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    fix: bool = False,
    since: str = "",
    checkpoint: Path | None = None,
    jobs: int = 0,
) -> Linted:
    """Look at every Python file at `path`. `platform` "": told by the package's name, else only common rules.

    `since`: commits after this revision are looked at; by default those that the tracked branch does not have.
    `checkpoint`: the folder whose config.json says what a registered name must be.
    `jobs`: processes; 0 is one a core, at most four.
    """
    if not path.exists():
        raise UsageError(f"{path} does not exist", mend="Name a Python file or the folder of a plugin.")
    path = path.absolute()
    root = root_of(path)
    walked = walk(path, root)
    files, texts = list(walked.files), list(walked.texts)
    if not files and not texts:
        raise UsageError(f"{path} holds no Python file", mend="Name a Python file or the folder of a plugin.")
    every = files if path == root else _package_files(root, files)
    platform = platform or guess_platform(every)
    choice = choose(rules, platform, engine is not None, select, ignore)
    known = {r.code for r in rules}
    work = Work(root, every, choice.rules, known, engine, fix, architectures_of(checkpoint) if checkpoint else ())
    version = work.engine.version if work.engine is not None else ""
    if any(r.texts is not None for r in choice.rules):
        results = [*_all(work, files, jobs), *(work.judge_text(t) for t in texts)]
    else:
        results, texts = _all(work, files, jobs), []
    problems = [p for r in results for p in r.problems]
    not_run = list(choice.not_run)
    for rule in choice.rules:
        if rule.commits is not None:
            told = rule.commits(root, since)
            if since and isinstance(told, str):
                raise UsageError(f"--since {since}: {told}", mend="Name a commit, branch or tag of that repository.")
            if isinstance(told, str):
                not_run.append(NotRun(code=rule.code, reason=told))
                continue
            for commit, message in told:
                place = f"commit {commit}"
                problems.append(Problem(code=rule.code, path=place, line=1, column=1, end_line=1, message=message))
    report = LintReport(
        schema_version=SCHEMA_VERSION,
        path=str(path),
        root=str(root),
        platform=platform,
        engine=str(engine or ""),
        engine_version=version,
        files=len(files) + len(texts),
        rules=tuple(r.code for r in choice.rules if r.code not in {n.code for n in not_run}),
        problems=tuple(sorted(problems, key=lambda p: (p.path, p.line, p.column, p.code))),
        ignored=tuple(i for r in results for i in r.ignored),
        not_run=tuple(not_run),
        skipped=walked.skipped,
    )
    fixed = {name: r.fixed for name, r in zip([*files, *texts], results, strict=True) if r.fixed is not None}
    return Linted(report, fixed)


def architectures_of(checkpoint: Path) -> tuple[str, ...]:
    """`architectures` of a checkpoint's config.json; UsageError if it says none."""
    names = read_card(checkpoint).architecture.architectures
    if not names:
        raise UsageError(
            f"{checkpoint}/config.json: `architectures` names no class",
            mend="Name a checkpoint's folder with a readable config.json.",
        )
    return names


def guess_platform(files: Iterable[str]) -> str:
    tops = {part for f in files for part in f.split("/")[:2]}
    return "ascend" if "vllm_ascend" in tops else "kunlun" if "vllm_kunlun" in tops else ""


def _package_files(root: Path, files: Sequence[str]) -> list[str]:
    """All files of the packages that the looked-at files belong to: rules ask them too."""
    tops = {f.split("/")[0] for f in files}
    return [f for top in sorted(tops) for f in walk(root / top, root).files]


# What a forked worker finds of its parent: the function to call.
_set_up: list[Callable[[str], Result]] = []


def _plain_signals() -> None:
    """A worker ends at a signal; the parent's handlers are not its own."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _in_worker(path: str) -> Result:
    return _set_up[-1](path)


def _all(work: Work, files: Sequence[str], jobs: int) -> list[Result]:
    """Results in the order of the files. Workers are forked, so what was read before is theirs too."""
    jobs = jobs or min(4, os.cpu_count() or 1)
    with without_collector():
        if jobs < 2 or len(files) < PARALLEL_FROM or "fork" not in multiprocessing.get_all_start_methods():
            return [work.judge(f) for f in files]
        _set_up.append(work.judge)
        pool = multiprocessing.get_context("fork").Pool(jobs, initializer=_plain_signals)
        try:
            results = pool.map(_in_worker, files, chunksize=8)
            pool.close()
        except BaseException:
            pool.terminate()
            raise
        finally:
            pool.join()
            _set_up.clear()
        return results
