"""What `seatrial hardware measure` found, as the TOML of a hardware file.

In: the answers of the probes `estimate_peaks` and `estimate_collective`. Out: TOML lines, or a whole file. What was not
measured is unknown, with the reason.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

# A round that had less of the cores shows what was left of the machine, not what it can do.
UNDISTURBED = 0.9
PEAKS = {"bf16": ("bfloat16", "float32"), "fp16": ("float16", "float32"), "fp32": ("float32",)}


def lines(found: dict[str, Any]) -> list[str]:
    """The table `[measured]`, without its head."""
    note = _note(found)
    rows = {f"matmul_{name}": (value, "operations/s", note) for name, value in found["matmul"].items()}
    rows["copy"] = (found["copy"], "bytes/s", note)
    rows["read"] = (found["read"], "bytes/s", note)
    shared = found["all_reduce"]
    if "why" in shared:
        rows["all_reduce"] = (shared["why"], "bytes/s", "")
    else:
        how = f"{shared['processes']} processes by {shared['backend']}, {shared['size']} bytes, sent by each; {note}"
        rows["all_reduce"] = (shared["bandwidth"], "bytes/s", how)
    return [f"{name} = {_quantity(*row)}" for name, row in rows.items()]


def complete(found: dict[str, Any], platform: str) -> str:
    """A file for `--hardware FILE`: its peaks are the best that was measured.

    A narrow product never needs longer than the same one in float32, so the better of both is the peak; reading alone
    is what a decode step does, so the better of read and copy is the bandwidth.
    """
    note = _note(found)
    memory = max(found["copy"], found["read"])
    shared = found["all_reduce"]
    link = (shared["why"], "") if "why" in shared else (shared["bandwidth"], f"all-reduce; {note}")
    count = found["count"]
    whole = "all cores together are one device" if found["device"] == "cpu" else "as torch counts devices"
    ask = "not measured; name it with --memory"
    here = [
        "# Measured, not declared: a bound from these is what this machine reached elsewhere, not what it cannot pass.",
        "schema_version = 1",
        f"description = {_text('Measured: ' + note)}",
        f"platform = {_text(platform)}",
        f"counted = {_text(whole)}",
        f"memory = {_quantity(ask, 'bytes', '')}",
        f"memory_bandwidth = {_quantity(memory, 'bytes/s', 'better of read and copy; ' + note)}",
        f"link_bandwidth = {_quantity(link[0], 'bytes/s', link[1])}",
        f"network_bandwidth = {_quantity('not measured', 'bytes/s', '')}",
        f"devices_per_card = {_quantity('not measured', 'devices', '')}",
        f"devices_per_server = {_quantity(count, 'devices', note)}",
        "",
        "[peak]",
    ]
    for name, dtypes in PEAKS.items():
        if dtypes[0] not in found["matmul"]:
            continue  # nobody asked for it; a key that is absent is unknown
        known = [v for v in (found["matmul"].get(d) for d in dtypes) if not isinstance(v, str) and v]
        how = f"matrix product, better of {' and '.join(d for d in dtypes if d in found['matmul'])}; {note}"
        here.append(f"{name} = {_quantity(max(known) if known else 'not measured', 'operations/s', how)}")
    return "\n".join([*here, "", "[measured]", *lines(found), ""])


def least_held(found: dict[str, Any]) -> float | None:
    """The smallest share of the cores that a figure's best round had; None where nobody looked (a device)."""
    return min((h for h in found.get("held", {}).values() if h is not None), default=None)


def _note(found: dict[str, Any]) -> str:
    today = datetime.now(timezone.utc).date().isoformat()
    held = least_held(found)
    beside = f", while other work held {1 - held:.0%} of the cores" if held is not None and held < UNDISTURBED else ""
    return f"seatrial hardware measure on {found['device']}, torch {found['versions']['torch']}, {today}{beside}"


def _quantity(value: float | str, unit: str, note: str) -> str:
    if isinstance(value, str):
        return f'{{ unit = {_text(unit)}, source = "unknown", note = {_text(value[:200])} }}'
    return f'{{ value = {value:.6g}, unit = {_text(unit)}, source = "measured", note = {_text(note)} }}'


def _text(value: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's too."""
    return json.dumps(" ".join(value.split()), ensure_ascii=False)
