"""Does the model answer as the reference does, how well, and where does it part?

Over 250 lines: one group of eight subcommands, each little more than its options; the work is in `measure/accuracy`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seatrial.cli._accuracy_show import ab_lines, compare_lines, locate_lines, parity_lines, show
from seatrial.cli.common import err, json_option, leave, out, print_json

if TYPE_CHECKING:
    from seatrial.targets import Target

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def command() -> None:
    """From one readable answer to a verdict that can be quoted, and from garbled output to the module that broke it."""


def engine_options(function: F) -> F:
    """Checkpoint, target, size, length, where to keep what was seen."""
    for option in (
        click.option("--keep", type=click.Path(path_type=Path), help="Keep logs and slices in this folder."),
        click.option("--max-model-len", type=click.IntRange(min=1), help="Context length instead of the target's."),
        click.option("--target", default="cpu", show_default=True, help="The target to run on."),
        click.argument("checkpoint", type=click.Path(path_type=Path)),
    ):
        function = option(function)
    return function


@command.command()
@engine_options
@click.option("--tp", type=click.IntRange(min=1), help="Tensor parallel size.")
@click.option("--url", help="Ask this running server (http://HOST:PORT) instead of starting one.")
@click.option("--model", help="The model's name at --url; default: the folder's name.")
@click.option("--in-process", is_flag=True, help="Run the engine in its interpreter, without a server.")
@click.option("--dtype", help="Serving dtype; default: the checkpoint's.")
@click.option("--prompts", default=6, show_default=True, type=click.IntRange(1, 64), help="How many prompts.")
@click.option("--tokens", default=16, show_default=True, type=click.IntRange(1, 256), help="Tokens of each answer.")
@click.option("--seed", default=0, show_default=True, help="Another seed, other prompts.")
@click.option("--image", is_flag=True, help="One more prompt with a picture.")
@click.option("--patch", type=click.Path(path_type=Path), help="Python file with patch(model), to try a mend on.")
@json_option
def parity(
    checkpoint: Path,
    target: str,
    max_model_len: int | None,
    keep: Path | None,
    tp: int | None,
    url: str | None,
    model: str | None,
    in_process: bool,
    dtype: str | None,
    prompts: int,
    tokens: int,
    seed: int,
    image: bool,
    patch: Path | None,
    as_json: bool,
) -> None:
    """Compare the engine's tokens and log-probabilities with HF Transformers on the CPU.

    The reference scores the engine's own sequences in the serving dtype and one precision higher; the difference of
    the two is the noise the engine is measured by. From a served engine (started here, or at --url) or in-process.
    """
    from seatrial.core.errors import UsageError
    from seatrial.engine.border import ProbeSession
    from seatrial.measure.accuracy import answers, reference_dtype
    from seatrial.measure.accuracy.parity import parity as judge
    from seatrial.measure.accuracy.prompts import IMAGE, chosen

    if patch and not in_process:
        raise UsageError("--patch needs --in-process", mend="Add --in-process.")
    if in_process and (tp or 1) > 1:
        raise UsageError("--in-process runs one rank", mend="Leave it out: a served engine may have several.")
    target_, python = _target(target, checkpoint)
    asked = [answers.Asked(text=t) for t in chosen(prompts, seed)]
    # A server is asked in messages and puts the picture's mark there itself.
    words = IMAGE if in_process else IMAGE.rpartition("\n")[2]
    asked += [answers.Asked(text=words, image=True, chat=not in_process)] if image else []
    say = _say
    with (
        _scratch(keep) as folder,
        ProbeSession(python, log=folder / "engine.log", env=target_.launch.env) as session,
        ProbeSession(python, log=folder / "reference.log", env=target_.launch.env) as reference,
    ):
        if in_process:
            setting = answers.Engine(
                checkpoint=str(checkpoint.absolute()),
                dtype=dtype or "auto",
                max_model_len=max_model_len,
                patch=str(patch.absolute()) if patch else "",
            )
            there = answers.in_process(session, setting, asked, max_tokens=tokens, say=say)
            found, served_in, engine, how = there.answers, there.dtype, f"vllm {there.engine}", "in-process"
            session.rest()
        else:
            extra = ("--dtype", dtype) if dtype else ()
            found, engine = _served(
                checkpoint, target_, python, folder, asked, tokens, url, model, tp, max_model_len, extra
            )
            served_in, how = dtype or reference_dtype(checkpoint), url or "served"
        result = judge(reference, str(checkpoint.absolute()), found, dtype=served_in, how=how, engine=engine, say=say)
    show(result, as_json, parity_lines)


def _served(
    checkpoint: Path,
    target: Target,
    python: Path,
    folder: Path,
    asked: list[Any],
    tokens: int,
    url: str | None,
    model: str | None,
    tp: int | None,
    max_model_len: int | None,
    extra: tuple[str, ...],
) -> tuple[tuple[Any, ...], str]:
    from seatrial.measure.accuracy import answers, serving

    if url:
        place = serving.address(url, model or checkpoint.absolute().name)
        client = serving.client_at(place)
        return answers.served(client, asked, max_tokens=tokens), f"the server at {place.url}"
    started = serving.during(
        checkpoint,
        target,
        lambda client, _: answers.served(client, asked, max_tokens=tokens),
        python=python,
        scratch=folder,
        tp=tp,
        max_model_len=max_model_len,
        extra_args=(*extra, "--no-enable-prefix-caching"),
        say=_say,
    )
    return started.only(), f"a server of target {target.name}"


@command.command()
@engine_options
@click.option("--dtype", default="auto", show_default=True, help="Serving dtype; float32 shows formulas more sharply.")
@click.option("--prompt", help="The prompt; default: one of our own.")
@click.option("--patch", type=click.Path(path_type=Path), help="Python file with patch(model), to try a mend on.")
@click.option("--dump", type=click.Path(path_type=Path), help="Read the engine's side from this msProbe dump instead.")
@json_option
def locate(
    checkpoint: Path,
    target: str,
    max_model_len: int | None,
    keep: Path | None,
    dtype: str,
    prompt: str | None,
    patch: Path | None,
    dump: Path | None,
    as_json: bool,
) -> None:
    """Find the first module whose output leaves the noise, and what it looks like.

    Hooks watch one prefill and one decode step in the engine and in the reference; nothing of it is in a normal serve.
    """
    from seatrial.engine.border import ProbeSession
    from seatrial.measure.accuracy import answers, reference_dtype
    from seatrial.measure.accuracy.locate import against
    from seatrial.measure.accuracy.locate import locate as find
    from seatrial.measure.accuracy.msprobe import read_msprobe
    from seatrial.measure.accuracy.prompts import chosen

    target_, python = _target(target, checkpoint)
    asked = answers.Asked(text=prompt or chosen(1)[0])
    with _scratch(keep) as folder, ProbeSession(python, log=folder / "probe.log", env=target_.launch.env) as session:
        if dump is not None:
            there = read_msprobe(dump)
            result = against(
                session,
                str(checkpoint.absolute()),
                asked,
                modules=there.modules,
                watched={"prompt_ids": [], "tokens": []},
                dtype=dtype if dtype != "auto" else reference_dtype(checkpoint),
                scratch=folder,
                say=_say,
            )
        else:
            setting = answers.Engine(
                checkpoint=str(checkpoint.absolute()),
                dtype=dtype,
                max_model_len=max_model_len,
                patch=str(patch.absolute()) if patch else "",
            )
            result = find(session, setting, asked, scratch=folder, say=_say)
    show(result, as_json, locate_lines)


@command.command()
@engine_options
@click.option("--level", type=click.Choice(["L0", "L1", "L2", "L3", "L4", "L5"]), default="L2", show_default=True)
@click.option("--url", help="Ask this running server instead of starting one.")
@click.option("--model", help="The model's name at --url; default: the folder's name.")
@click.option("--tp", type=click.IntRange(min=1), help="Tensor parallel size.")
@click.option("--dataset", type=click.Path(path_type=Path), help="JSON Lines with `question` and `answer` (L3 to L5).")
@click.option("--task", help="A task of --tool instead of --dataset (L3 to L5).")
@click.option("--task-path", type=click.Path(path_type=Path), help="Folder with the task's YAML and data.")
@click.option("--tool", type=click.Choice(["lm-eval", "evalscope"]), default="lm-eval", show_default=True)
@click.option("--tool-python", type=click.Path(path_type=Path), help="Interpreter of the environment with the tool.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N questions; L3 takes 8 if not given.")
@click.option("--fewshot", type=click.IntRange(min=0), help="Examples before the question (lm-eval).")
@click.option("--pattern", default="", help="Regular expression that takes the answer out (first group).")
@click.option("--max-tokens", default=256, show_default=True, type=click.IntRange(min=1))
@click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(0, 2))
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1, 32), help="Ask every question N times.")
@click.option("--seed", type=int, help="Seed of sampling.")
@click.option("--chat/--no-chat", default=None, help="Use the chat template; default: if there is one.")
@click.option("--out", "output", required=True, type=click.Path(path_type=Path), help="New folder for the five files.")
@json_option
def run(
    checkpoint: Path,
    target: str,
    max_model_len: int | None,
    keep: Path | None,
    output: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """One rung of the ladder L0 to L5 on CHECKPOINT: request and dataset settings, predictions, failed cases, score."""
    from seatrial.cli._accuracy_run import run_level

    target_, python = _target(target, checkpoint, needs_engine=not options["url"])
    with _scratch(keep) as folder:
        score = run_level(checkpoint, target_, python, folder, output, max_model_len=max_model_len, say=_say, **options)
    verdict = score_verdict(score)
    if as_json:
        print_json(score)
        leave(verdict)
    console = out()
    for s in score.scores:
        console.print(f"{s.task} {s.metric}: {s.value:.4f} over {s.n} ({s.tool} {s.tool_version})", markup=False)
    lost = f"{score.num_not_extracted} not extracted, {score.num_no_answer} without an answer"
    console.print(f"{score.level}: {score.num_correct} of {score.num_total} correct, {lost}", markup=False)
    console.print(f"{score.status}: {score.reason}" if score.reason else score.status, markup=False)
    console.print(f"files: {output}", markup=False)
    leave(verdict)


def score_verdict(score: Any) -> Any:
    """L0 to L2 fail on any wrong row; from L3 on a complete run passes (the figure is judged by `check`)."""
    from seatrial.core.verdict import Verdict

    if score.status == "partial":
        return Verdict.INCONCLUSIVE
    if score.status == "smoke":
        return Verdict.PASS if score.num_correct == score.num_total else Verdict.FAIL
    return Verdict.PASS


@command.command("compare")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--alpha", default=0.05, show_default=True, type=click.FloatRange(0.0001, 0.5))
@json_option
def compare_(first: Path, second: Path, alpha: float, as_json: bool) -> None:
    """Two runs over the same questions: McNemar's exact test, subsets, and what kind of failure each change is."""
    from seatrial.measure.accuracy.compare import compare
    from seatrial.measure.accuracy.run import read_run

    show(compare(read_run(first), read_run(second), alpha=alpha), as_json, compare_lines)


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--expected", required=True, type=float, help="The value that the repository's test holds.")
@click.option("--metric", help="Which score of the run, if it has several.")
@click.option("--rule", default="lm-eval", show_default=True, help="lm-eval, reward-model or asr.")
@click.option("--tolerance", type=float, help="Instead of the rule's own.")
@json_option
def check(folder: Path, expected: float, metric: str | None, rule: str, tolerance: float | None, as_json: bool) -> None:
    """Would the receiving repository's test accept the score of the run in FOLDER?"""
    from seatrial.core.errors import UsageError
    from seatrial.core.verdict import Verdict, inconclusive
    from seatrial.measure.accuracy.run import read_run
    from seatrial.measure.accuracy.tolerance import judge

    found = read_run(folder)
    scores = [s for s in found.score.scores if metric in (None, s.metric)]
    if len(scores) != 1:
        known = ", ".join(s.metric for s in found.score.scores) or f"none ({found.score.reason})"
        raise UsageError(f"--metric must name one score of {folder}", mend=f"There are: {known}.")
    outcome = judge(scores[0].value, expected, rule, tolerance)
    if outcome.verdict is Verdict.PASS and not scores[0].complete:
        outcome = inconclusive(f"{outcome.reason}, but the run is partial: {scores[0].partial_reason}")
    if as_json:
        print_json({"outcome": outcome, "score": scores[0], "conclusive": scores[0].conclusive})
    else:
        note = "" if scores[0].conclusive else f" (a run of {scores[0].level}, not the whole task)"
        out().print(f"{outcome.verdict.value}: {outcome.reason}{note}", markup=False)
    leave(outcome.verdict)


@command.command()
@engine_options
@click.option("--only", multiple=True, help="Only this variant; repeatable.")
@json_option
def ab(
    checkpoint: Path,
    target: str,
    max_model_len: int | None,
    keep: Path | None,
    only: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change one setting at a time (batch, graph, chunks, prefix cache, TP, KV dtype, MTP) and compare answers."""
    from seatrial.measure.accuracy.ab import matrix

    target_, python = _target(target, checkpoint)
    with _scratch(keep) as folder:
        result = matrix(
            checkpoint, target_, python=python, scratch=folder, only=only, max_model_len=max_model_len, say=_say
        )
    show(result, as_json, ab_lines)


@command.command()
@click.option("--good", required=True, help="A commit (or version) that is good.")
@click.option("--bad", required=True, help="A later one that is bad.")
@click.option("--cmd", required=True, help="Ends with 0 good, 1 bad, else: cannot say. {candidate} is replaced.")
@click.option("--repo", type=click.Path(path_type=Path), help="Bisect this git repository, in work trees of its own.")
@click.option("--versions", help="Bisect these instead, comma-separated, oldest first.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1, 15), help="Runs of each, by majority.")
@click.option("--timeout-s", default=3600.0, show_default=True, type=click.FloatRange(1), help="Limit of one run.")
@click.option("--log", type=click.Path(path_type=Path), help="Where the command's output goes.")
@json_option
def bisect(
    good: str,
    bad: str,
    cmd: str,
    repo: Path | None,
    versions: str | None,
    repeats: int,
    timeout_s: float,
    log: Path | None,
    as_json: bool,
) -> None:
    """Find the first bad commit or version; a service that does not start is never taken for bad."""
    from seatrial.core.errors import UsageError
    from seatrial.measure.accuracy import bisect as work

    if (repo is None) == (versions is None):
        raise UsageError("give either --repo or --versions", mend="--repo DIR for commits, --versions A,B,C.")
    with _scratch(None) as folder:
        written = log or folder / "bisect.log"

        def once(candidate: str) -> int | None:
            if repo is None:
                return work.command(cmd, candidate=candidate, cwd=None, log=written, timeout_s=timeout_s)
            with work.checkout(repo, candidate, folder) as tree:
                return work.command(cmd, candidate=candidate, cwd=tree, log=written, timeout_s=timeout_s)

        candidates = work.commits(repo, good, bad) if repo is not None else _between(versions or "", good, bad)
        result = work.bisect(candidates, once, repeats=repeats, say=_say)
    show(result, as_json, lambda facts: [f"{t.candidate}  {t.judgement}  {t.reason}" for t in facts.trials])


def _between(versions: str, good: str, bad: str) -> tuple[str, ...]:
    from seatrial.core.errors import UsageError

    known = [v.strip() for v in versions.split(",") if v.strip()]
    if good not in known or bad not in known or known.index(good) >= known.index(bad):
        raise UsageError("--good and --bad must be among --versions, in that order", mend="List them oldest first.")
    return tuple(known[known.index(good) : known.index(bad) + 1])


@command.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--tool", type=click.Choice(["lm-eval", "evalscope", "aisbench"]), required=True)
@click.option("--task", default="", help="The task's name (lm-eval, evalscope).")
@click.option("--level", type=click.Choice(["L3", "L4", "L5"]), required=True)
@click.option("--limit", type=click.IntRange(min=1), help="If only the first N questions were asked.")
@click.option("--model", required=True, help="The model's name.")
@click.option("--url", default="unknown", help="Where it was served.")
@click.option("--out", "output", required=True, type=click.Path(path_type=Path), help="New folder for the five files.")
@json_option
def import_(
    folder: Path,
    tool: str,
    task: str,
    level: str,
    limit: int | None,
    model: str,
    url: str,
    output: Path,
    as_json: bool,
) -> None:
    """Read what an evaluation tool left in FOLDER into the five files."""
    from seatrial.measure.accuracy.outside import keep
    from seatrial.measure.accuracy.read_aisbench import read_aisbench
    from seatrial.measure.accuracy.read_evalscope import read_evalscope
    from seatrial.measure.accuracy.read_lm_eval import read_lm_eval
    from seatrial.measure.accuracy.records import RequestConfig

    read = {"lm-eval": read_lm_eval, "evalscope": read_evalscope}
    found = read[tool](folder, task) if tool in read else read_aisbench(folder)
    request = RequestConfig(api_url=url, model=model, num_fewshot=found.num_fewshot)
    score = keep(output, found, request=request, level=level, limit=limit, source=str(folder))  # type: ignore[arg-type]
    if as_json:
        print_json(score)
    else:
        out().print(f"{score.status}: {score.num_correct} of {score.num_total}; files: {output}", markup=False)
    leave(score_verdict(score))


def _say(text: str) -> None:
    err().print(text, markup=False)


def _target(name: str, checkpoint: Path, *, needs_engine: bool = True) -> tuple[Target, Path]:
    from seatrial.core.errors import UsageError
    from seatrial.engine.choose import target_python
    from seatrial.targets import find_overrides, load_target

    if not (checkpoint / "config.json").is_file() and needs_engine:
        raise UsageError(f"{checkpoint} has no config.json", mend="Name a checkpoint's folder.")
    target = load_target(name, find_overrides(Path.cwd())).target
    return target, target_python(target) if needs_engine else Path()


@contextmanager
def _scratch(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            from seatrial.core.errors import UsageError

            raise UsageError(
                f"--keep {keep} cannot be made: {exc.strerror or exc}", mend="Name another folder."
            ) from exc
        yield keep.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="seatrial-accuracy-"))
    try:
        yield folder
    except BaseException:
        # An error's message names the log: it stays.
        for big in ("engine", "reference"):
            shutil.rmtree(folder / big, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
