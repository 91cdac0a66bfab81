"""`seatrial accuracy parity` and `locate`: the engine against HF Transformers.

A little over 250 lines: a third of it is options.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seatrial.cli._accuracy_common import engine_options, kept_run, located_target, say
from seatrial.cli._accuracy_show import locate_lines, parity_lines, show
from seatrial.cli.common import json_option

if TYPE_CHECKING:
    from seatrial.core.step import StepResult
    from seatrial.measure.accuracy.answers import Answered, Asked
    from seatrial.targets import Target


@click.command()
@engine_options
@click.option("--tp", type=click.IntRange(min=1), help="Tensor parallel size.")
@click.option("--url", help="Ask this running server (http://HOST:PORT) instead of starting one.")
@click.option("--model", help="The model's name at --url; default: the folder's name.")
@click.option("--in-process", is_flag=True, help="Run the engine in its interpreter, without a server.")
@click.option("--dtype", help="Serving dtype, if not the target's or the checkpoint's.")
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
    workspace: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare the engine's tokens and log-probabilities with HF Transformers on the CPU.

    The reference scores the engine's own sequences in the serving dtype and one precision higher; the difference of
    the two is the noise the engine is measured by. From a served engine (started here, or at --url) or in-process.
    """
    from seatrial.core.errors import UsageError
    from seatrial.dryrun import served_as
    from seatrial.measure.accuracy.answers import Asked
    from seatrial.measure.accuracy.prompts import IMAGE, chosen
    from seatrial.measure.accuracy.serving import demand_own_server

    in_process, patch = options["in_process"], options["patch"]
    if patch and not in_process:
        raise UsageError("--patch needs --in-process", mend="Add --in-process.")
    if in_process and (options["tp"] or 1) > 1:
        raise UsageError("--in-process runs one rank", mend="Leave it out: a served engine may have several.")
    if in_process and options["url"]:
        raise UsageError("--in-process and --url exclude each other", mend="Give one of them.")
    demand_own_server(options["url"], tp=options["tp"], max_model_len=max_model_len, model=options["model"])
    _is_file(patch)
    located, python = located_target(target, checkpoint)
    size = served_as(located.target.serve.args).tp
    if in_process and options["tp"] is None and size > 1:
        raise UsageError(
            f"--in-process runs one rank, the target {target} serves with tensor-parallel size {size}",
            mend="Leave out --in-process, or give --tp 1 if one rank is what you want to see.",
        )
    asked = [Asked(text=t) for t in chosen(options["prompts"], options["seed"])]
    # A server is asked in messages and puts the picture's mark there itself.
    words = IMAGE if in_process else IMAGE.rpartition("\n")[2]
    asked += [Asked(text=words, image=True, chat=not in_process)] if options["image"] else []

    def work(_: str, folder: Path) -> tuple[StepResult, ...]:
        return _parity(checkpoint, located.target, python or Path(), folder, asked, max_model_len, **options)

    ended = kept_run(
        "parity",
        work,
        checkpoint=checkpoint,
        located=located,
        python=python,
        workspace=workspace,
        options={**options, "max_model_len": max_model_len},
        keep=keep,
        inputs={"patch": patch} if patch else None,
    )
    show(ended.results[-1], as_json, parity_lines, ended)


def _parity(
    checkpoint: Path,
    target: Target,
    python: Path,
    folder: Path,
    asked: list[Asked],
    max_model_len: int | None,
    *,
    in_process: bool,
    url: str | None,
    model: str | None,
    tp: int | None,
    dtype: str | None,
    tokens: int,
    patch: Path | None,
    **_: Any,
) -> tuple[StepResult, ...]:
    from seatrial.core.record import replace
    from seatrial.core.step import Attachment
    from seatrial.dryrun import served_as
    from seatrial.engine.border import ProbeSession
    from seatrial.measure.accuracy import answers, reference_dtype
    from seatrial.measure.accuracy.parity import parity as judge

    # What the target's server computes in; the reference is scored in the same.
    targets_own = served_as(target.serve.args).dtype if not url else ""

    before: tuple[StepResult, ...] = ()
    logs = {"engine.log": folder / "engine.log", "reference.log": folder / "reference.log"}
    with (
        ProbeSession(python, log=logs["engine.log"], env=target.launch.env) as session,
        ProbeSession(python, log=logs["reference.log"], env=target.launch.env) as reference,
    ):
        if in_process:
            setting = answers.Engine(
                checkpoint=str(checkpoint.absolute()),
                dtype=dtype or targets_own or "auto",
                max_model_len=max_model_len,
                patch=str(patch.absolute()) if patch else "",
            )
            there = answers.in_process(session, setting, asked, max_tokens=tokens, say=say)
            found, served_in, engine, how = there.answers, there.dtype, f"vllm {there.engine}", "in-process"
            session.rest()
        else:
            extra = ("--dtype", dtype) if dtype else ()
            found, engine, before = _served(
                checkpoint, target, python, folder, asked, tokens, url, model, tp, max_model_len, extra
            )
            served_in, how = dtype or targets_own or reference_dtype(checkpoint), url or "served"
        result = judge(reference, str(checkpoint.absolute()), found, dtype=served_in, how=how, engine=engine, say=say)
    kept = tuple(Attachment(name=name, path=str(file)) for name, file in logs.items() if file.is_file())
    return (*before, replace(result, attachments=(*result.attachments, *kept)))


def _served(
    checkpoint: Path,
    target: Target,
    python: Path,
    folder: Path,
    asked: list[Asked],
    tokens: int,
    url: str | None,
    model: str | None,
    tp: int | None,
    max_model_len: int | None,
    extra: tuple[str, ...],
) -> tuple[tuple[Answered, ...], str, tuple[StepResult, ...]]:
    """The answers, what gave them, and the gate that served them if one was started."""
    from seatrial.measure.accuracy import answers, serving

    if url:
        place = serving.address(url, model or checkpoint.absolute().name)
        client = serving.client_at(place)
        return answers.served(client, asked, max_tokens=tokens), f"the server at {place.url}", ()
    started = serving.during(
        checkpoint,
        target,
        lambda client, _: answers.served(client, asked, max_tokens=tokens),
        python=python,
        scratch=folder,
        tp=tp,
        max_model_len=max_model_len,
        extra_args=(*extra, "--no-enable-prefix-caching"),
        say=say,
    )
    return started.only(), f"a server of target {target.name}", (started.gate,)


@click.command()
@engine_options
@click.option("--tp", type=click.IntRange(min=1), help="Tensor parallel size instead of the target's.")
@click.option("--dtype", help="Serving dtype, if not the target's or the checkpoint's; float32 shows formulas sharply.")
@click.option("--prompt", help="The prompt; default: one of our own.")
@click.option("--patch", type=click.Path(path_type=Path), help="Python file with patch(model), to try a mend on.")
@click.option("--dump", type=click.Path(path_type=Path), help="Read the engine's side from this msProbe dump instead.")
@json_option
def locate(
    checkpoint: Path,
    target: str,
    max_model_len: int | None,
    keep: Path | None,
    workspace: Path,
    tp: int | None,
    dtype: str | None,
    prompt: str | None,
    patch: Path | None,
    dump: Path | None,
    as_json: bool,
) -> None:
    """Find the first module whose output leaves the noise, and what it looks like.

    Hooks watch one prefill and one decode step in the engine and in the reference; nothing of it is in a normal serve.
    """
    from seatrial.core.errors import UsageError
    from seatrial.core.record import replace
    from seatrial.core.step import Attachment
    from seatrial.dryrun import served_as
    from seatrial.engine.border import ProbeSession
    from seatrial.measure.accuracy import answers, reference_dtype, serving
    from seatrial.measure.accuracy.locate import against
    from seatrial.measure.accuracy.locate import locate as find
    from seatrial.measure.accuracy.msprobe import read_msprobe
    from seatrial.measure.accuracy.prompts import watched
    from seatrial.measure.accuracy.tensor_account import tensor_account
    from seatrial.platforms.stubs import load_stubs, local_root

    if patch is not None and dump is not None:
        raise UsageError("--patch and --dump exclude each other", mend="A dump is of an engine that ran elsewhere.")
    _is_file(patch)
    located, python = located_target(target, checkpoint)
    own = served_as(located.target.serve.args)
    size, dtype = tp or own.tp, dtype or own.dtype or "auto"
    asked = answers.Asked(text=prompt or watched())
    there = read_msprobe(dump) if dump is not None else None

    def work(_: str, folder: Path) -> tuple[StepResult, ...]:
        log = folder / "probe.log"
        chosen = located.target
        env = serving.rank_env(checkpoint, chosen, python=python or Path(), tp=size)
        say("dry run: which tensor goes into which module")
        with ProbeSession(python or Path(), log=folder / "dry.log", env=chosen.launch.env) as session:
            account = tensor_account(
                session,
                checkpoint.absolute(),
                tp=size,
                dtype=dtype if dtype != "auto" else "",
                stubs=load_stubs(chosen.platform, chosen.lineage),
                plugin_root=local_root(chosen.roots.plugin),
                timeout_s=float(chosen.limits.probe_s.value or 600),
            )
        with ProbeSession(python or Path(), log=log, env=env) as session:
            if there is not None:
                result = against(
                    session,
                    str(checkpoint.absolute()),
                    asked,
                    modules=there.modules,
                    watched={"prompt_ids": [], "tokens": []},
                    dtype=dtype if dtype != "auto" else reference_dtype(checkpoint),
                    account=account,
                    dropped=there.dropped,
                    passes=there.passes,
                    scratch=folder,
                    say=say,
                )
            else:
                setting = answers.Engine(
                    checkpoint=str(checkpoint.absolute()),
                    dtype=dtype,
                    tp=size,
                    max_model_len=max_model_len,
                    patch=str(patch.absolute()) if patch else "",
                )
                result = find(session, setting, asked, account=account, scratch=folder, say=say)
        logs = (Attachment(name=name, path=str(folder / name)) for name in ("probe.log", "dry.log"))
        return (replace(result, attachments=tuple(a for a in logs if Path(a.path).is_file())),)

    ended = kept_run(
        "locate",
        work,
        checkpoint=checkpoint,
        located=located,
        python=python,
        workspace=workspace,
        options={
            "tp": size,
            "dtype": dtype,
            "prompt": prompt,
            "patch": patch,
            "dump": dump,
            "max_model_len": max_model_len,
        },
        keep=keep,
        inputs={"patch": patch} if patch else None,
    )
    show(ended.results[-1], as_json, locate_lines, ended)


def _is_file(patch: Path | None) -> None:
    from seatrial.core.errors import UsageError

    if patch is not None and not patch.is_file():
        raise UsageError(f"--patch {patch} is no file", mend="Name a Python file that defines patch(model).")
