"""`bench search` and `bench highest`: commands of the group in bench.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seatrial.cli.common import FiniteRange, err, json_option, leave, out, print_json
from seatrial.core.record import to_plain

if TYPE_CHECKING:
    from seatrial.workflow.bench import BenchJob

workspace_option = click.option(
    "--workspace", default=".", type=click.Path(path_type=Path), show_default=True, help="The folder of .seatrial."
)
workload_option = click.option(
    "--workload", required=True, type=click.Path(path_type=Path), help="The workload's TOML file."
)
ca_option = click.option(
    "--ca", type=click.Path(path_type=Path), help="Trust an https --service by this PEM file alone."
)
key_option = click.option(
    "--key-env", default="", metavar="NAME", help="The variable that holds the key of --service; it is kept nowhere."
)
framework_option = click.option(
    "--framework", type=click.Choice(["vllm", "sglang", "xllm"]), default="vllm", show_default=True, help="What serves."
)
program_option = click.option(
    "--program", type=click.Path(path_type=Path), help="SGLang's interpreter or xLLM's binary; vLLM is the target's."
)


def job_of(fields: dict[str, Any], where: str) -> BenchJob:
    """The job of a command line; what contradicts itself there is a mistake of the call, not of a file."""
    from seatrial.core.errors import FileFormatError, UsageError
    from seatrial.core.record import from_plain
    from seatrial.workflow.bench import BenchJob

    try:
        return from_plain(BenchJob, {"kind": "bench", **fields}, where=where)
    except FileFormatError as exc:
        raise UsageError(exc.message, mend=exc.mend or "Mend the options.") from exc


@click.command("search")
@workload_option
@click.option("--space", "space_file", required=True, type=click.Path(path_type=Path), help="The space's TOML file.")
@click.option("--checkpoint", type=click.Path(path_type=Path), required=True, help="The checkpoint that is served.")
@click.option("--target", default="cpu", show_default=True, help="The target to run on.")
@program_option
@click.option("--resume", metavar="RUN", help="Go on with this search.")
@workspace_option
@json_option
def search_command(
    workload: Path,
    space_file: Path,
    checkpoint: Path,
    target: str,
    program: Path | None,
    resume: str | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Measure the candidates of a space (tiers of 3, 10, 30), each on a fresh service, and rank them."""
    from seatrial.evidence import open_workspace
    from seatrial.measure.load.session import summary
    from seatrial.measure.load.workload import read_workload
    from seatrial.measure.search import read_space
    from seatrial.targets import find_overrides
    from seatrial.workflow.search import search

    done = search(
        read_space(space_file),
        read_workload(workload),
        checkpoint=checkpoint,
        target=target,
        workspace=open_workspace(workspace, write=True),
        overrides=find_overrides(Path.cwd()),
        program=str(program or ""),
        resume=resume,
        argv=tuple(sys.argv[1:]),
        say=lambda text: err().print(text, markup=False),
    )
    if as_json:
        print_json(done)
    for entry in [] if as_json else done.entries:
        place = f"{entry.place:3d}" if entry.place is not None else "  -"
        told = summary(entry.run.metrics) if entry.run is not None and not entry.failed else f"failed: {entry.failed}"
        front = " [Pareto front]" if entry.on_front else ""
        level = f" SLA {entry.run.sla.verdict.value}" if entry.run is not None and not entry.failed else ""
        out().print(f"{place}  {entry.name}{front}{level}: {told}", markup=False)
    leave(done.outcome.verdict)


@click.command("highest")
@workload_option
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Start this checkpoint on --target.")
@click.option("--service", default="", help="URL of a service that runs already.")
@click.option("--target", default="cpu", show_default=True, help="The target to run on.")
@click.option("--by", type=click.Choice(["concurrency", "rate"]), default="concurrency", show_default=True)
@click.option("--low", type=FiniteRange(min=0, min_open=True), default=1, show_default=True)
@click.option("--high", type=FiniteRange(min=0, min_open=True), required=True)
@click.option(
    "--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Runs a level; the most count."
)
@click.option("--arg", "extra", multiple=True, help="A further argument for the server; repeatable, kept in order.")
@click.option("--model", default="", help="The model's name at --service, if it serves several.")
@ca_option
@key_option
@framework_option
@program_option
@click.option("--resume", metavar="RUN", help="Go on with this search.")
@workspace_option
@json_option
def highest_command(
    workload: Path,
    checkpoint: Path | None,
    service: str,
    target: str,
    by: str,
    low: float,
    high: float,
    repeats: int,
    extra: tuple[str, ...],
    model: str,
    ca: Path | None,
    key_env: str,
    framework: str,
    program: Path | None,
    resume: str | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """The highest concurrency or rate that holds the workload's service level, by bisection with repeats."""
    from seatrial.core.errors import UsageError
    from seatrial.core.record import from_plain
    from seatrial.evidence import open_workspace
    from seatrial.measure.load.workload import read_workload
    from seatrial.measure.search.highest import told
    from seatrial.targets import find_overrides
    from seatrial.workflow.bench import Side
    from seatrial.workflow.highest import Bounds, highest_load

    if bool(service) == bool(checkpoint):
        raise UsageError("name what to measure", mend="Give either --service URL or --checkpoint FOLDER.")
    if checkpoint is not None and not checkpoint.is_dir():
        raise UsageError(f"the checkpoint {checkpoint} is not a folder", mend="Name a checkpoint's folder.")
    fields = {
        "sides": [to_plain(Side(label="A", args=extra, service=service))],
        "workload": to_plain(read_workload(workload)),
        "target": target,
        "checkpoint": str(checkpoint or ""),
        "model": model,
        "ca": str(ca.absolute()) if ca is not None else "",
        "key_env": key_env,
        "framework": framework,
        "program": str(program or ""),
        "smoke": False,
    }
    job = job_of(fields, "bench highest")
    limits = {"by": by, "low": low, "high": high, "repeats": repeats}
    done = highest_load(
        job,
        from_plain(Bounds, limits, where="--low and --high"),
        workspace=open_workspace(workspace, write=True),
        overrides=find_overrides(Path.cwd()),
        resume=resume,
        argv=tuple(sys.argv[1:]),
        say=lambda text: err().print(text, markup=False),
    )
    verdict = done.outcome.verdict
    if as_json:
        print_json({"verdict": verdict, **to_plain(done)})
        leave(verdict)
    out().print(told(done.highest, by), markup=False)
    out().print(f"kept: {done.run_id}, {len(done.trials)} trials, {done.reused} of them from before", markup=False)
    leave(verdict)
