"""Install, list, examine and remove embedded engines."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from seatrial.cli.common import err, json_option, leave, out, print_json
from seatrial.core.finding import errors
from seatrial.core.verdict import Verdict


@click.group()
def command() -> None:
    """The engines that seatrial installs for itself, each in an environment of its own under the cache folder.

    pip does the work, so indexes, find-links and proxies of your pip configuration are honoured.
    """


def _name_and_version(name: str, version: str | None) -> tuple[str, str]:
    from seatrial.engine.install import embedded_kind

    kind = embedded_kind(name)
    return kind.distribution, version or kind.default_version


@command.command()
@click.argument("name", default="cpu")
@click.option("--version", help="Version of the engine; the pinned one if left out.")
@click.option("--python", help="The Python to build the environment with.")
@click.option("--force", is_flag=True, help="Install again even if it is there.")
@json_option
def install(name: str, version: str | None, python: str | None, force: bool, as_json: bool) -> None:
    """Install the engine NAME (cpu), unless it is already there and complete."""
    from rich.markup import escape

    from seatrial.engine import install as work

    kind = work.embedded_kind(name)
    console = err()
    began = time.monotonic()
    if console.is_terminal:
        with console.status("starting") as status:

            def say(text: str) -> None:
                status.update(f"{escape(text)}  [dim]{time.monotonic() - began:.0f} s[/dim]")

            engine = work.install(kind, version or kind.default_version, python=python, force=force, say=say)
    else:
        last = [0.0]

        def say(text: str) -> None:
            # A line every few seconds is enough for a log file; milestones always.
            if time.monotonic() - last[0] > 5 or not text.startswith(("collecting", "downloading", "using")):
                last[0] = time.monotonic()
                console.print(f"{time.monotonic() - began:5.0f} s  {text}", markup=False)

        engine = work.install(kind, version or kind.default_version, python=python, force=force, say=say)
    if as_json:
        print_json(engine)
    else:
        mends = f", mended: {', '.join(engine.mends)}" if engine.mends else ""
        out().print(f"engine {engine.package} {engine.version} is ready: {engine.python}{mends}", markup=False)


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the engines in the cache folder."""
    from seatrial.engine.store import engines_folder, list_engines

    entries = list_engines()
    if as_json:
        print_json(entries)
        return
    console = out()
    if not entries:
        console.print(f"no engine in {engines_folder()}; `seatrial engine install cpu` makes one", markup=False)
    for entry in entries:
        what = f"ready, {entry.engine.python}" if entry.engine else f"unfinished: {entry.reason}"
        console.print(f"{entry.name}  {what}", markup=False)


@command.command()
@click.argument("name", default="cpu")
@click.option("--version", help="Version of the engine; the pinned one if left out.")
@json_option
def doctor(name: str, version: str | None, as_json: bool) -> None:
    """Import the engine and say which platform is active and what is wrong."""
    from seatrial.engine.border import ProbeSession
    from seatrial.engine.identity import Identity, examine
    from seatrial.engine.store import find_engine

    package, wanted = _name_and_version(name, version)
    engine = find_engine(package, wanted)
    with tempfile.TemporaryDirectory(prefix="seatrial-") as folder:
        log = Path(folder) / "probe.log"
        console = err()
        with ProbeSession(Path(engine.python), log=log) as session:
            if console.is_terminal:
                with console.status("importing the engine"):
                    reply = session.call("identity", {})
            else:
                reply = session.call("identity", {})
        findings = examine(reply, "cpu")
        identity = reply.decode(Identity) if reply.status == "answered" else None
        tail = log.read_text(errors="replace")[-2000:] if errors(findings) else ""
    verdict = Verdict.FAIL if errors(findings) else Verdict.PASS
    if as_json:
        print_json({"verdict": verdict, "engine": engine, "identity": identity, "findings": findings})
        leave(verdict)
    console = out()
    console.print(f"{package} {wanted}: {verdict.value}")
    if identity is not None:
        console.print(f"  Python {identity.python}, vLLM {identity.vllm_version}, platform {identity.device_type}")
        console.print("  " + ", ".join(f"{k} {v}" for k, v in identity.packages.items()))
        console.print(f"  torchvision usable: {'yes' if identity.torchvision_error is None else 'no'}")
    for finding in findings:
        console.print(f"  {finding.severity.value} {finding.one_line()}. {finding.next_step}", markup=False)
    if tail:
        click.echo(tail, err=True)
    leave(verdict)


@command.command()
@click.argument("name", default="cpu")
@click.option("--version", help="Version of the engine; the pinned one if left out.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, version: str | None, yes: bool) -> None:
    """Delete an engine's folder."""
    from seatrial.core.errors import UsageError
    from seatrial.engine.store import engine_folder, remove_engine

    package, wanted = _name_and_version(name, version)
    folder = engine_folder(package, wanted)
    if not folder.is_dir():
        raise UsageError(f"there is no engine in {folder}", mend="See `seatrial engine list`.")
    if not yes:
        click.confirm(f"delete {folder}?", abort=True)
    remove_engine(folder)
    out().print(f"removed {folder}", markup=False)
