"""Load a checkpoint's names and shapes through the real engine: no weights, no device."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seatrial.cli.common import STYLES, err, json_option, leave, out, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from seatrial.core.step import StepResult
    from seatrial.core.verdict import Verdict
    from seatrial.dryrun import DryAccount

# Beyond any server; a list is made of every rank.
MOST_RANKS = 100_000
# What a draft shares with its target; dtype and quantisation are its own.
DRAFT_OPTIONS = (
    "session",
    "tp",
    "pp",
    "ep",
    "ranks",
    "trust_remote_code",
    "stubs",
    "plugin_root",
    "chosen",
    "timeout_s",
)


def parse_ranks(text: str) -> list[int] | None:
    """`all` is None; `0,3` and `0-3` are lists of ranks."""
    if text == "all":
        return None
    ranks: list[int] = []
    try:
        for part in text.split(","):
            low, dash, high = part.partition("-")
            span = range(int(low), int(high) + 1) if dash else range(int(low), int(low) + 1)
            if not span or span.stop > MOST_RANKS:
                raise ValueError(part)
            ranks.extend(span)
    except ValueError as exc:
        raise click.BadParameter("give all, or ranks such as 0,3 or 0-3", param_hint="--ranks") from exc
    return ranks


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--target", default="cpu", show_default=True, help="The target whose engine loads it.")
@click.option("--tp", type=click.IntRange(1), help="Tensor-parallel size instead of the target's.")
@click.option("--pp", type=click.IntRange(1), help="Pipeline-parallel size instead of the target's.")
@click.option(
    "--ep/--no-ep", default=None, help="Experts in parallel over the tensor-parallel ranks; else the target's."
)
@click.option("--ranks", default="all", show_default=True, help="Ranks to load: all, 0,3 or 0-3.")
@click.option("--dtype", default="", help="dtype of the model, if not the target's or the config's.")
@click.option("--quantization", default="", help="Quantisation method, if not the target's or the config's.")
@click.option(
    "--draft", type=click.Path(path_type=Path), help="Also load this draft model; CHECKPOINT itself: its MTP."
)
@click.option("--draft-method", default="", help="eagle, eagle3, ...: the kind of draft, if vLLM cannot tell.")
@click.option(
    "--listing",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what became of each single tensor here (gzipped JSON lines).",
)
@click.option("--plugin", default="", help="Folder with the plugin's sources, if it is not installed.")
@click.option("--trust-remote-code", is_flag=True, help="Let the engine run the checkpoint's own Python code.")
@json_option
def command(
    checkpoint: Path,
    target: str,
    tp: int | None,
    pp: int | None,
    ep: bool | None,
    ranks: str,
    dtype: str,
    quantization: str,
    draft: Path | None,
    draft_method: str,
    listing: Path | None,
    plugin: str,
    trust_remote_code: bool,
    as_json: bool,
) -> None:
    """Feed the headers of CHECKPOINT to the engine's own loader on torch's meta device and account for every tensor.

    It passes only if every checkpoint tensor has a place (or the engine's own reason to be dropped) and every parameter
    is filled on every rank. Nothing is written into the checkpoint; nothing is fetched.
    """
    from seatrial.checkpoint import index_names, read_checkpoint
    from seatrial.dryrun import dry, dry_names, served_as
    from seatrial.engine.border import ProbeSession
    from seatrial.engine.choose import target_python
    from seatrial.platforms.stubs import load_stubs, local_root
    from seatrial.targets import find_overrides, load_target

    wanted = parse_ranks(ranks)
    if listing is not None and not is_place(listing, checkpoint):
        raise click.BadParameter(
            "name a file in a folder that exists and is not the checkpoint", param_hint="--listing"
        )
    chosen = load_target(target, find_overrides(Path.cwd())).target
    # What the target's server would be started with; another layout has other ranks, and other faults.
    served = served_as(chosen.serve.args)
    python = target_python(chosen)
    facts = read_checkpoint(checkpoint)
    console = err()
    with (
        tempfile.TemporaryDirectory(prefix="seatrial-") as scratch,
        ProbeSession(python, log=Path(scratch) / "dry.log", env=chosen.launch.env) as session,
    ):
        options: dict[str, Any] = {
            "session": session,
            "tp": served.tp if tp is None else tp,
            "pp": served.pp if pp is None else pp,
            "ep": served.ep if ep is None else ep,
            "ranks": wanted,
            "dtype": dtype or served.dtype,
            "quantization": quantization or served.quantization,
            "trust_remote_code": trust_remote_code,
            "stubs": load_stubs(chosen.platform, chosen.lineage),
            "chosen": chosen.name,
            "plugin_root": plugin or local_root(chosen.roots.plugin),
            "timeout_s": float(chosen.limits.probe_s.value or 600),
        }

        def run(say: object) -> StepResult:
            given = {**options, "listing": listing, "progress": say if callable(say) else None}
            if facts.card.weights.known == "names":
                return dry_names(checkpoint, index_names(checkpoint, facts.card), **given)
            return dry(checkpoint, facts.tensors, **given)

        def run_draft(say: object) -> StepResult | None:
            if draft is None:
                return None
            same = {key: options[key] for key in DRAFT_OPTIONS}
            same["progress"] = say if callable(say) else None
            tensors = read_checkpoint(draft).tensors
            return dry(draft, tensors, target=checkpoint, draft_method=draft_method, **same)

        if console.is_terminal:
            from rich.text import Text

            from seatrial.report.words import visible

            with console.status("starting") as status:
                # What the engine says is text: a bracket in it is no markup.
                result = run(lambda line: status.update(Text(visible(line))))
                drafted = run_draft(lambda line: status.update(Text(visible(line))))
        else:
            result = run(None)
            drafted = run_draft(None)
        tail = "" if result.facts is not None else (Path(scratch) / "dry.log").read_text(errors="replace")[-3000:]
    if as_json:
        print_json(result if drafted is None else {"model": result, "draft": drafted})
    else:
        show(result, out())
        if drafted is not None:
            out().print("draft:")
            show(drafted, out())
        if tail:
            click.echo(tail, err=True)
    leave(worst([r.outcome.verdict for r in (result, drafted) if r is not None]))


def is_place(file: Path, checkpoint: Path) -> bool:
    """Whether the file can be written beside the checkpoint, never into it."""
    folder = file.resolve().parent
    return os.access(folder, os.W_OK) and not folder.is_relative_to(checkpoint.resolve())


def worst(verdicts: list[Verdict]) -> Verdict:
    """Of the model and its draft: a failure before what is unsure, and that before a pass."""
    from seatrial.core.verdict import Verdict

    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return verdicts[0]


def show(result: StepResult, console: Console) -> None:
    """The verdict, the account's table and the findings."""
    from rich.markup import escape

    verdict = result.outcome.verdict
    console.print(f"[{STYLES[verdict]}]{verdict.value}[/]  {escape(result.summary)}")
    if result.facts is not None:
        show_account(result.facts, console)
    for finding in result.findings:
        console.print(f"{finding.severity.value:<8}{escape(finding.one_line())}")
        if finding.next_step:
            console.print(f"        [dim]{escape(finding.next_step)}[/dim]")


def show_account(account: DryAccount, console: Console) -> None:
    """Tensors by kind, parameters that no tensor fills, sums and times."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("tensors", "count", "bytes", "state", "into or why"):
        table.add_column(heading, justify="right" if heading in ("count", "bytes") else "left", overflow="fold")
    for line in account.tensors:
        where = ", ".join(line.into)
        if line.shards and any(line.shards):
            where += f" (shard {', '.join(s for s in line.shards if s)})"
        if line.rule is not None:
            where = f"{line.reason} [{line.rule.file}:{line.rule.line}]"
        table.add_row(escape(line.kind), f"{line.count:,}", f"{line.bytes:,}", line.state, escape(where or line.reason))
    console.print(table)
    for parameter in account.parameters:
        if parameter.state in ("tied", "initialised by design"):
            console.print(escape(f"{parameter.kind} ×{parameter.count}: {parameter.state}: {parameter.reason}"))
    sums = account.sums
    console.print(
        f"bytes: {sums.bytes_in:,} in = {sums.bytes_placed:,} placed + {sums.bytes_dropped:,} dropped"
        f"{f' + {sums.bytes_elsewhere:,} on other ranks' if sums.bytes_elsewhere else ''}"
        f" + {sums.bytes_unexplained:,} unexplained{'' if sums.exact else ' (estimated)'}"
    )
    for cache in account.cache:
        what = (
            f"{cache.spec}, {cache.page_bytes:,} bytes a block of {cache.block_size} tokens"
            if cache.spec
            else "no cache"
        )
        text = f"KV cache {cache.kind} ×{cache.count}: {cache.backend}, {cache.error or what}"
        console.print(escape(text))
    if account.calls:
        states = Counter(call.state for call in account.calls.values())
        said = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        console.print(f"operators that the forward calls: {said} (seatrial op coverage lists them)")
    for group in account.rank_classes:
        console.print(escape(f"ranks {_range(group.ranks)}: loaded {_range(group.loaded)}; {group.why}"))
    if account.stubs is not None and account.platform is not None:
        console.print(
            f"through {account.platform.class_}, plugin {account.stubs.plugin_version or 'of unknown version'}; "
            f"stood in for: {', '.join(account.stubs.stubbed)}"
        )
    if account.timing is not None and account.engine is not None:
        t = account.timing
        console.print(
            f"vLLM {account.engine.vllm}: import {t.import_s:.1f} s, build {t.build_s:.1f} s, load {t.load_s:.1f} s, "
            f"skip rules {t.drops_s:.1f} s, account {t.account_s:.1f} s; {t.peak_kib / 1048576:.2f} GiB a rank"
        )


def _range(ranks: tuple[int, ...]) -> str:
    if len(ranks) > 2 and ranks == tuple(range(ranks[0], ranks[-1] + 1)):
        return f"{ranks[0]}-{ranks[-1]}"
    return ", ".join(map(str, ranks))
