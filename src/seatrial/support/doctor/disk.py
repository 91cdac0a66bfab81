"""Room on disk for what is still missing of a checkpoint."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from seatrial.checkpoint import human_bytes, read_card
from seatrial.core.errors import SeatrialError
from seatrial.core.finding import Severity
from seatrial.support.doctor.records import Check, checked, could_not_look, does_not_apply, finding

NAME = "disk"


def disk_check(checkpoint: Path | None, size: int | None = None) -> Check:
    """H060: less is free than the checkpoint still lacks. `size` in bytes is its whole size, for one not yet here.

    Without it, the index's `total_size` says how much there is to be.
    """
    if checkpoint is None:
        return does_not_apply(NAME, "no checkpoint was named (--checkpoint)")
    place = next((p for p in (checkpoint, *checkpoint.absolute().parents) if p.is_dir()), Path("/"))
    free = shutil.disk_usage(place).free
    here, whole = 0, size
    if (checkpoint / "config.json").is_file():
        try:
            card = read_card(checkpoint)
        except SeatrialError as exc:
            return could_not_look(NAME, f"the checkpoint cannot be read: {exc.message}")
        here = sum(shard.size for shard in card.weights.shards)
        complete = card.weights.known == "headers" and not _some_missing(s.file for s in card.weights.shards)
        whole = whole or card.weights.index_total_size or (here if complete else None)
    if whole is None:
        why = (
            f"how large {checkpoint} will be is not known (no index, not all shards in it; --checkpoint-bytes says it)"
        )
        return could_not_look(NAME, f"{why}; {human_bytes(free)} are free")
    lacking = max(0, whole - here)
    seen = f"{human_bytes(here)} of {human_bytes(whole)} are there, {human_bytes(free)} free"
    found = []
    if lacking > free:
        message = f"{human_bytes(lacking)} are still to come, {human_bytes(free)} are free"
        found.append(
            finding("H060", Severity.ERROR, str(place), message, "Free that much, or put the checkpoint elsewhere.")
        )
    return checked(NAME, seen, found)


def _some_missing(names: Iterable[str]) -> bool:
    """Whether the names (`model-00001-of-00004.safetensors`) count more shards than there are."""
    counted: dict[tuple[str, int], int] = {}
    for name in names:
        match = re.search(r"^(.*?)-\d+-of-(\d{1,6})\b", name)
        if match:
            key = (match[1], int(match[2]))
            counted[key] = counted.get(key, 0) + 1
    return any(there < of for (_, of), there in counted.items())
