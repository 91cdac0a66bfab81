"""From --target, --hardware and --memory to the device a plan is for, and to how the target serves."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from seatrial.core.quantity import Quantity, Source
from seatrial.estimate.device import Device, device_for
from seatrial.estimate.launch import read_launch
from seatrial.platforms.base import flags
from seatrial.targets import find_overrides, load_target


def device_of(target: str, hardware: str | None, memory_gib: float | None) -> Device:
    """The device; --memory wins over --hardware, which wins over what the target names."""
    # The default target is no choice of the user: with --hardware it does not contradict another platform.
    chosen = None if hardware and target == "cpu" else load_target(target, find_overrides(Path.cwd())).target
    memory = None
    if memory_gib is not None:
        memory = Quantity(value=int(memory_gib * 1024**3), unit="bytes", source=Source.DECLARED, note="--memory")
    return device_for(chosen, hardware, memory)


def served(target: str, options: dict[str, Any], given: Collection[str]) -> dict[str, Any]:
    """`options` with the target's own arguments where the command line says nothing (`given`: what it says).

    `requests` are those that are asked to fit: only the command line's; `notes` name what of the target is in no
    formula. The default target is no choice of the user where the device is named outright.
    """
    asked = {**options, "requests": options["max_num_seqs"], "dtype": "", "notes": (), "own_draft": True}
    if "target" not in given and (options["hardware"] or options["memory_gib"] is not None):
        return asked
    chosen = load_target(target, find_overrides(Path.cwd())).target
    read = read_launch(flags(chosen.serve.args), chosen.launch.env, chosen.platform)
    layout, serving = read.layout, read.serving
    own = {
        "tp": layout.tp,
        "pp": layout.pp,
        "dp": layout.dp,
        "ep": layout.ep,
        "max_model_len": serving.max_model_len,
        "max_num_seqs": serving.max_num_seqs,
        "max_num_batched_tokens": serving.max_num_batched_tokens,
        "utilization": serving.utilization,
        "kv_bytes": serving.kv_bytes,
        "kv_dtype": serving.kv_dtype,
        "block_size": serving.block_size,
        "no_prefix_caching": not serving.prefix_caching,
        "eager": serving.eager,
        "spec_tokens": serving.spec_tokens,
        "draft": Path(read.draft) if read.draft and Path(read.draft).is_dir() else None,
    }
    own = {k: v for k, v in own.items() if k not in given}
    return {**asked, **own, "dtype": read.dtype, "notes": read.notes, "own_draft": serving.own_draft}
