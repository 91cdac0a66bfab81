"""Start a checkpoint's server and let it run; look at it, read its log, stop it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli._gate_inputs import Place, demand_checkpoint
from seatrial.cli.common import err, json_option, leave, out, print_json
from seatrial.core.errors import UsageError
from seatrial.core.verdict import Verdict

if TYPE_CHECKING:
    from seatrial.gates.served import ServedState


@click.group()
def command() -> None:
    """Servers that outlive the command that started them, each under a keeper that can end all of it.

    A server is found again by its record and the token in its environment, never by the name of a process.
    """


@command.command()
@click.argument("checkpoint", type=Place())
@click.option("--target", default="cpu", show_default=True, help="The target to run on.")
@click.option("--stage", type=click.Choice(["dummy", "real"]), default="real", show_default=True)
@click.option("--name", help="What to call the server; the checkpoint's folder name if left out.")
@click.option("--tp", type=click.IntRange(min=1), help="Tensor parallel size instead of the target's.")
@click.option("--max-model-len", type=click.IntRange(min=1), help="Context length instead of the target's.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port instead of the target's; 0 is any free one.")
@click.option("--arg", "extra", multiple=True, help="A further argument for the server; repeatable, kept in order.")
@json_option
def start(
    checkpoint: Path,
    target: str,
    stage: str,
    name: str | None,
    tp: int | None,
    max_model_len: int | None,
    port: int | None,
    extra: tuple[str, ...],
    as_json: bool,
) -> None:
    """Start CHECKPOINT and return once its model is listed."""
    from seatrial.engine.choose import target_python
    from seatrial.gates import gate_plan, served
    from seatrial.gates.plan import served_name
    from seatrial.targets import find_overrides, load_target

    demand_checkpoint(checkpoint)
    chosen = load_target(target, find_overrides(Path.cwd())).target
    plan = gate_plan(
        checkpoint,
        chosen,
        python=target_python(chosen),
        stage="dummy" if stage == "dummy" else "real",
        tp=tp,
        max_model_len=max_model_len,
        extra_args=extra,
        port=port,
    )
    argv = plan.command.argv
    console = err()
    began = time.monotonic()
    state, readiness = served.start(
        plan,
        name=name if name is not None else served_name(checkpoint),
        model=served_name(checkpoint),
        checkpoint=checkpoint,
        target=chosen.name,
        host=chosen.serve.host,
        port=int(argv[argv.index("--port") + 1]),
        limits=chosen.limits,
        say=lambda text: console.print(f"{time.monotonic() - began:5.0f} s  {text}"),
    )
    verdict = Verdict.PASS if readiness.ending is None else Verdict.FAIL
    if as_json:
        print_json({"verdict": verdict, "server": state, "reason": readiness.reason})
    elif readiness.ending is None:
        record = state.record
        out().print(f"{record.name} lists its model on http://{record.host}:{record.port}/v1 (no request was sent yet)")
    else:
        out().print(f"{readiness.ending}: {readiness.reason}. Log: {state.log}", markup=False)
    leave(verdict)


@command.command()
@click.argument("name", required=False)
@json_option
def status(name: str | None, as_json: bool) -> None:
    """Say how the server NAME is, or all of them.

    Of NAME the exit code says it too: 0 serving, 3 starting, 1 not answering, ended or orphaned.
    """
    from seatrial.gates import served

    states = [served.look(r) for r in ([served.find(name)] if name is not None else served.every())]
    if as_json:
        print_json(states)
    elif not states:
        out().print("no server was started with `seatrial serve start`")
    for state in [] if as_json else states:
        out().print(_line(state), markup=False)
    if name is not None:
        known = {"serving": Verdict.PASS, "starting": Verdict.INCONCLUSIVE}
        leave(known.get(states[0].state, Verdict.FAIL))


@command.command()
@click.argument("name")
@click.option(
    "-n", "--lines", default=50, show_default=True, type=click.IntRange(min=1), help="The last so many lines."
)
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until the server ends.")
def logs(name: str, lines: int, follow: bool) -> None:
    """Print the end of a server's raw log."""
    from seatrial.gates import served

    record = served.find(name)
    file = served.servers_folder() / record.name / "server.log"
    if not file.is_file():
        raise UsageError(f"the log {file} is gone", mend=f"`seatrial serve status {name}` says what is left.")
    with file.open("rb") as stream:
        # Bounded: the last lines of a log are looked for in its last megabyte.
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - (1 << 20)))
        for line in stream.read().splitlines()[-lines:]:
            click.echo(line.decode(errors="replace"))
        while follow:
            data = stream.read(1 << 20)
            if data:
                click.echo(data.decode(errors="replace"), nl=False)
            elif served.look(record).state in ("ended", "orphaned"):
                return
            else:
                time.sleep(0.5)


@command.command()
@click.argument("name")
@json_option
def stop(name: str, as_json: bool) -> None:
    """Stop the server NAME and everything it started, also what a crash left of it."""
    from seatrial.gates import served

    state = served.stop(served.find(name))
    verdict = Verdict.PASS if state.state == "ended" else Verdict.FAIL
    if as_json:
        print_json({"verdict": verdict, "server": state})
    else:
        out().print(_line(state), markup=False)
    leave(verdict)


def _line(state: ServedState) -> str:
    record = state.record
    where = f"http://{record.host}:{record.port}"
    if state.state == "orphaned":
        what = f"orphaned: its keeper is gone, processes {', '.join(map(str, state.pids))} live on; "
        return f"{record.name}  {what}`seatrial serve stop {record.name}` ends them"
    if state.state == "ended":
        return f"{record.name}  ended {state.exit_text}".rstrip() + f"  log {state.log}"
    return f"{record.name}  {state.state}  {where}  {len(state.pids)} processes  {record.target}  {record.checkpoint}"
