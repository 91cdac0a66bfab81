"""List the known devices, show one with the source of every number, measure the machine at hand."""

from __future__ import annotations

from typing import Any

import click

from seatrial.cli.common import FiniteRange, json_option, out, print_json


@click.group()
def command() -> None:
    """Devices: what is known of them and from where."""


@command.command("list")
@json_option
def list_devices(as_json: bool) -> None:
    """All known devices."""
    from seatrial.targets.hardware import hardware_names, load_hardware

    found = [load_hardware(name) for name in hardware_names()]
    if as_json:
        print_json(found)
        return
    for device in found:
        memory = device.memory.value
        size = "memory unknown" if memory is None else f"{memory / 1024**3:.0f} GiB"
        out().print(f"{device.name:<18} {device.platform:<7} {size:<15} {device.description}", markup=False)


@command.command("show")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Every number of NAME with its source; unknown ones say so."""
    from seatrial.targets.hardware import load_hardware

    device = load_hardware(name)
    if as_json:
        print_json(device)
        return
    console = out()
    console.print(f"{device.description} ({device.platform}); {device.counted}", markup=False)
    rows = {
        "memory": device.memory, "memory bandwidth": device.memory_bandwidth, "link bandwidth": device.link_bandwidth,
        "network bandwidth": device.network_bandwidth, "devices per card": device.devices_per_card,
        "devices per server": device.devices_per_server,
        **{f"peak {k}": v for k, v in device.peak.items()}, **{f"measured {k}": v for k, v in device.measured.items()},
    }  # fmt: skip
    for title, quantity in rows.items():
        value = "unknown" if quantity.value is None else f"{quantity.value:.6g} {quantity.unit}"
        console.print(f"  {title:<20} {value:<24} {quantity.source.value}: {quantity.note}", markup=False)


@command.command("measure")
@click.option("--target", default="cpu", show_default=True, help="The target whose engine measures.")
@click.option("--seconds", default=1.0, show_default=True, type=FiniteRange(0.1, 60), help="Per figure.")
@click.option("--size", default=2048, show_default=True, type=click.IntRange(64, 65536), help="Of the square matrices.")
@click.option("--collective/--no-collective", default=True, show_default=True, help="Also all-reduce between devices.")
@click.option("--write", "file", type=click.Path(dir_okay=False), help="Write a whole hardware file for this machine.")
@json_option
def measure(target: str, seconds: float, size: int, collective: bool, file: str | None, as_json: bool) -> None:
    """Achievable peaks of this machine: matrix product, copy, read, collective; as lines for a hardware TOML file.

    They say what can be reached, not what cannot be passed: of a device with declared peaks the bounds keep using
    those. --write FILE.toml makes a file for `plan --hardware` whose peaks are the measured ones (for a CPU there are
    no others).
    """
    import tempfile
    from pathlib import Path

    from seatrial.cli._hardware_file import complete, lines
    from seatrial.cli.common import err
    from seatrial.core.errors import EngineError
    from seatrial.engine.border import ProbeSession
    from seatrial.engine.choose import target_python
    from seatrial.targets import find_overrides, load_target

    chosen = load_target(target, find_overrides(Path.cwd())).target
    request = {"seconds": seconds, "size": size}
    with (
        tempfile.TemporaryDirectory(prefix="seatrial-") as scratch,
        ProbeSession(target_python(chosen), log=Path(scratch) / "log", env=chosen.launch.env) as session,
    ):
        reply = session.call("estimate_peaks", request, progress=err().print)
        shared: dict[str, Any] = {"why": "not asked for (--no-collective)"}
        if collective and reply.status == "answered":
            asked = session.call("estimate_collective", {"seconds": seconds}, timeout_s=180, progress=err().print)
            shared = asked.answer if asked.status == "answered" else {"why": asked.trouble()}
    if reply.status != "answered":
        raise EngineError(f"nothing was measured: {reply.trouble()}", mend="See `seatrial engine doctor`.")
    found = {**reply.answer, "all_reduce": shared}
    if file is not None:
        from seatrial.core.atomic import write_atomic
        from seatrial.core.errors import UsageError

        try:
            write_atomic(Path(file), complete(found, chosen.platform).encode())
        except OSError as exc:
            raise UsageError(
                f"--write {file}: cannot be written: {exc.strerror}", mend="Name a writable file."
            ) from exc
    if as_json:
        print_json(found)
        return
    console = out()
    console.print("[measured]", markup=False)
    for line in lines(found):
        console.print(line, markup=False, soft_wrap=True)
