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
