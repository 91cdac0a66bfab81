"""MFU and MBU of a measured run: how much of the device's peaks it reached, and that no bound was beaten.

In: figures of a run (`metrics.json`), the model laid out, the device. Out: `Reached`. A run faster than its lower bound
means that a number is wrong (the hardware's, the run's or the formula's): it is a finding, never passed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record, from_json
from seatrial.estimate.compute import Work
from seatrial.estimate.roofline import Speed, rates, speed
from seatrial.targets.hardware import Hardware

BEATEN = "P001"


class Run(Record):
    """`metrics.json`: the load and what was measured. Times in seconds (medians), rates in output tokens per second."""

    schema_version: int
    batch: int
    prompt: int
    output: int
    ttft_s: float | None = None
    tpot_s: float | None = None
    tokens_per_s: float | None = None
    spec: int = 0
    accept: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("batch", "prompt", "output"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("ttft_s", "tpot_s", "tokens_per_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0")


class Reached(Record):
    """Shares of the peaks, 0 to 1; None where the run or the hardware does not say. `ratio_*`: measured over bound."""

    bounds: Speed
    prefill_mfu: float | None
    decode_mfu: float | None
    decode_mbu: float | None
    ratio_ttft: float | None
    ratio_tpot: float | None
    findings: tuple[Finding, ...]
    lacking: tuple[str, ...]


def read_run(file: Path) -> Run:
    """Read metrics.json; raises FileFormatError naming file and key."""
    try:
        data = file.read_bytes()
    except OSError as exc:
        raise FileFormatError(f"{file}: cannot be read: {exc.strerror}") from exc
    run = from_json(Run, data, where=str(file))
    if run.schema_version != 1:
        raise FileFormatError(f"{file}: schema_version is {run.schema_version}, this seatrial reads 1")
    return run


def reached(run: Run, work: Work, hardware: Hardware) -> Reached:
    """Put the run beside its bounds."""
    given = rates(hardware, work)
    bounds = speed(
        work, hardware, batch=run.batch, prompt=run.prompt, output=run.output, spec=run.spec, accept=run.accept
    )
    peak = max(given.peak.values(), default=None)
    per_step = bounds.decode.seconds / bounds.tpot_s if bounds.decode.seconds and bounds.tpot_s else 1.0
    step_s = None if run.tpot_s is None else run.tpot_s * per_step
    return Reached(
        bounds=bounds,
        prefill_mfu=_share(bounds.prefill.flops, run.ttft_s, peak),
        decode_mfu=_share(bounds.decode.flops, step_s, peak),
        decode_mbu=_share(bounds.decode.read_bytes, step_s, given.memory),
        ratio_ttft=_ratio(run.ttft_s, bounds.ttft_s),
        ratio_tpot=_ratio(run.tpot_s, bounds.tpot_s),
        findings=tuple(_beaten(run, bounds)),
        lacking=given.lacking,
    )


def _share(amount: float, seconds: float | None, peak: float | None) -> float | None:
    return None if seconds is None or not peak else amount / seconds / peak


def _ratio(measured: float | None, least: float | None) -> float | None:
    return None if measured is None or not least else measured / least


def _beaten(run: Run, bounds: Speed) -> list[Finding]:
    pairs: list[tuple[str, Any, Any]] = [("ttft_s", run.ttft_s, bounds.ttft_s), ("tpot_s", run.tpot_s, bounds.tpot_s)]
    out: list[Finding] = []
    for name, measured, least in pairs:
        if measured is not None and least is not None and measured < least:
            out.append(
                Finding(
                    code=BEATEN, severity=Severity.ERROR, place=f"metrics.json: {name}",
                    message=f"measured {measured:.6g} s is below the lower bound of {least:.6g} s",
                    next_step="check the hardware's figures, the load and the measurement",
                )
            )  # fmt: skip
    return out
