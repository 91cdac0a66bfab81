"""List the known devices, show one with the source of every number, measure the machine at hand."""

from __future__ import annotations

import click

from seatrial.cli.common import json_option, out, print_json


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
@click.option("--seconds", default=1.0, show_default=True, type=click.FloatRange(0.1, 60), help="Per figure.")
@click.option("--size", default=2048, show_default=True, type=click.IntRange(64, 65536), help="Of the square matrices.")
@json_option
def measure(target: str, seconds: float, size: int, as_json: bool) -> None:
    """Achievable peaks of this machine: matrix product, copy, collective; as lines for a hardware TOML file.

    They say what can be reached, not what cannot be passed: bounds keep using the declared peaks.
    """
    import tempfile
    from datetime import datetime, timezone
    from pathlib import Path

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
    if reply.status != "answered":
        raise EngineError(f"nothing was measured: {reply.trouble()}", mend="See `seatrial engine doctor`.")
    found = reply.answer
    if as_json:
        print_json(found)
        return
    console = out()
    today = datetime.now(timezone.utc).date().isoformat()
    note = f"seatrial hardware measure on {found['device']}, torch {found['versions']['torch']}, {today}"
    rows = {f"matmul_{name}": (value, "operations/s") for name, value in found["matmul"].items()}
    rows["copy"] = (found["copy"], "bytes/s")
    console.print("[measured]", markup=False)
    for name, (value, unit) in rows.items():
        if isinstance(value, str):
            console.print(f'{name} = {{ unit = "{unit}", source = "unknown", note = "{value[:200]}" }}', markup=False)
            continue
        figure = f'{{ value = {value:.6g}, unit = "{unit}", source = "measured", note = "{note}" }}'
        console.print(f"{name} = {figure}", markup=False)
    why = found["all_reduce"]["why"]
    console.print(f'all_reduce = {{ unit = "bytes/s", source = "unknown", note = "{why}" }}', markup=False)
