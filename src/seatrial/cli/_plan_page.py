"""`seatrial plan --html FILE`: the plan's charts as one page."""

from __future__ import annotations

from pathlib import Path

from seatrial.cli._plan_work import Found
from seatrial.core.atomic import write_atomic
from seatrial.core.errors import UsageError
from seatrial.report.plan_page import PlanPage, plan_html


def write_page(file: Path, found: Found) -> None:
    """Write the page; raises UsageError where it cannot be."""
    page = PlanPage(
        plan=found.plan, device=found.device.words, speed=found.speed, curves=found.curves,
        peak=found.roof.peak if found.roof else None, bandwidth=found.roof.bandwidth if found.roof else None,
        unknown=found.unknown,
    )  # fmt: skip
    try:
        write_atomic(file, plan_html(page).encode())
    except OSError as exc:
        raise UsageError(f"--html {file}: cannot be written: {exc.strerror}", mend="Name a writable file.") from exc
