"""Write a custom op in its three pieces, or say which ops of a model a platform has."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from seatrial.cli._workbench import (
    RootPath,
    engine_source,
    known_platform,
    need,
    print_findings,
    take_back,
    write_files,
    writing_options,
)
from seatrial.cli.common import STYLES, err, json_option, leave, out, print_json
from seatrial.core.record import replace, to_plain
from seatrial.core.verdict import Verdict, failed


@click.group()
def command() -> None:
    """Custom operators of a plugin: write one (`op new`), count those a model calls (`op coverage`)."""


@command.command("new")
@click.argument("name", required=False, default="")
@click.option("--into", "root", type=RootPath(path_type=Path), help="The plugin's root.")
@click.option("--platform", default="cpu", show_default=True, help="cpu, cuda, ascend or kunlun.")
@click.option("--target", default="cpu", show_default=True, help="The target whose vLLM it is written for.")
@click.option("--engine", type=click.Path(path_type=Path), help="This vLLM instead: tree, sdist, wheel, environment.")
@click.option("--signature", default="x: torch.Tensor -> torch.Tensor", show_default=True, help="Types and result.")
@click.option("--mutates", multiple=True, help="A tensor that the op writes to; repeatable.")
@click.option("--reference", default="", help="The op in plain torch, as an expression.")
@writing_options
@json_option
def new(
    name: str,
    root: Path | None,
    platform: str,
    target: str,
    engine: Path | None,
    signature: str,
    mutates: tuple[str, ...],
    reference: str,
    dry_run: bool,
    allow_dirty: bool,
    undo: bool,
    as_json: bool,
) -> None:
    """Write the op NAME: reference, implementation, fake, registration, and a test with torch.library.opcheck.

    Exit code 3 while something is left to write.
    """
    need(root, "--into", "--into PLUGIN_ROOT")
    if root is None:
        return
    if undo:
        take_back(root, as_json)
        return
    known_platform(platform)
    need(name, "NAME", "seatrial op new fused_scale --into PLUGIN_ROOT")
    from seatrial.adapter.op.new import new_op

    made = new_op(
        name,
        root=root,
        engine=engine_source(target, engine),
        platform=platform,
        signature=signature,
        mutates=mutates,
        reference=reference,
    )
    written = write_files(
        root, made.files, f"seatrial op new {name}", dry_run=dry_run, allow_dirty=allow_dirty, quiet=as_json
    )
    if as_json:
        print_json({**to_plain(made), "written": to_plain(written), "dry_run": dry_run})
    else:
        print_findings(made.findings)
        out().print(f"Import {made.module} where the plugin registers its ops.", markup=False)
    leave(Verdict.INCONCLUSIVE if made.findings else Verdict.PASS)


@command.command("coverage")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--target", default="cpu", show_default=True, help="The target whose engine builds the model.")
@click.option("--platform", default="", help="Judge for this platform, if not the target's.")
@click.option("--plugin", type=click.Path(path_type=Path), help="The plugin's source, if it is not installed there.")
@json_option
def coverage(checkpoint: Path, target: str, platform: str, plugin: Path | None, as_json: bool) -> None:
    """List the custom ops that the model of CHECKPOINT holds, by the dry run, and who runs each on the platform.

    Below them stand the operators that its forward calls, as read from the source of what was built. Exit codes: 0 each
    has a runner, 1 one has none or an operator that every forward calls is missing, 3 one could not be judged.
    """
    from seatrial.adapter.op.coverage import coverage as judge
    from seatrial.checkpoint import read_checkpoint
    from seatrial.core.errors import EngineError
    from seatrial.dryrun import dry, served_as
    from seatrial.engine.border import ProbeSession
    from seatrial.engine.choose import target_python
    from seatrial.platforms.stubs import load_stubs, local_root
    from seatrial.targets import find_overrides, load_target

    chosen = load_target(target, find_overrides(Path.cwd())).target
    known_platform(platform)
    # Another quantisation or dtype has other ops.
    served = served_as(chosen.serve.args)
    python = target_python(chosen)
    facts = read_checkpoint(checkpoint)
    note = err()
    with tempfile.TemporaryDirectory(prefix="seatrial-op-") as scratch:
        log = Path(scratch) / "dry.log"
        with ProbeSession(python, log=log, env=chosen.launch.env) as session:
            result = dry(
                checkpoint,
                facts.tensors,
                session=session,
                dtype=served.dtype,
                quantization=served.quantization,
                stubs=load_stubs(chosen.platform, chosen.lineage),
                plugin_root=str(plugin) if plugin is not None else local_root(chosen.roots.plugin),
                timeout_s=float(chosen.limits.probe_s.value or 600),
                progress=lambda line: None if as_json else note.print(line, style="dim", markup=False),
            )
    if result.facts is None:
        raise EngineError(f"the dry run gave no account: {result.outcome.reason}", mend="Run `seatrial dry` on it.")
    if plugin is None and chosen.roots.plugin and Path(chosen.roots.plugin).is_dir():
        plugin = Path(chosen.roots.plugin)
    source = Path(chosen.roots.vllm) if chosen.roots.vllm and Path(chosen.roots.vllm).is_dir() else python
    done = judge(result.facts.ops, source, platform or chosen.platform, plugin)
    backends = sorted({f"{c.backend} ×{c.count}" for c in result.facts.cache})
    # What the forward calls was asked of the platform that built the model; another one is judged by its source alone.
    calls = result.facts.calls if platform in ("", chosen.platform) else {}
    absent = [name for name, call in calls.items() if call.state == "missing" and call.certain]
    if absent and done.outcome.verdict is not Verdict.FAIL:
        done = replace(done, outcome=failed(f"every forward calls {', '.join(absent)}, which nothing registers"))
    if as_json:
        plain = {**to_plain(done), "calls": to_plain(calls), "attention_backends": backends}
        print_json({**plain, "dry": result.outcome.verdict.value})
        leave(done.outcome.verdict)
    _show(done.outcome.verdict, done.outcome.reason, [(x.op, x.count, x.state, x.by) for x in done.lines])
    for name, call in calls.items():
        place = f" at {call.at.file}:{call.at.line}" if call.at else ""
        how = "" if call.certain else "perhaps "
        out().print(f"     {call.state:<8} {name}: {how}called{place}; {call.why}", markup=False, highlight=False)
    out().print(f"attention backends: {', '.join(backends) or 'none'}", markup=False)
    for path, why in done.not_read.items():
        out().print(f"not read: {path}: {why}", markup=False)
    leave(done.outcome.verdict)


def _show(verdict: Verdict, reason: str, rows: list[tuple[str, int, str, str]]) -> None:
    from rich.markup import escape

    console = out()
    console.print(f"[{STYLES[verdict]}]{verdict.value}[/] {escape(reason)}")
    for op, count, state, by in rows:
        console.print(f"{count:>4} {state:<8} {op}\n              by {by}", markup=False)
