"""What if: bounds over many points at once, as numpy arrays; one pass per layout, no loop over points.

In: a model, a device, axes (TP, EP, batch, output length, draft depth, acceptance). Out: `Table`, plain columns.
Layouts that the model does not divide into are left out and counted.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from seatrial.core.errors import SeatrialError
from seatrial.core.record import Record
from seatrial.estimate.compute import Part, Work, lay_out
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.model import Model, Uneven
from seatrial.estimate.roofline import Rates, rates
from seatrial.targets.hardware import Hardware

if TYPE_CHECKING:
    import numpy as np


class Axes(Record):
    """What is varied; every combination is a point. `pp` and `dp` are the same for all of them."""

    pp: int = 1
    dp: int = 1
    tp: tuple[int, ...] = (1,)
    ep: tuple[bool, ...] = (False,)
    batch: tuple[int, ...] = (1,)
    prompt: tuple[int, ...] = (1024,)
    output: tuple[int, ...] = (256,)
    spec: tuple[int, ...] = (0,)
    accept: tuple[float, ...] = (0.0,)


class Table(Record):
    """Columns of equal length; times in seconds, rates in output tokens per second. `skipped` names refused layouts."""

    columns: dict[str, list[float]]
    points: int
    skipped: tuple[str, ...]
    lacking: tuple[str, ...]


def what_if(model: Model, hardware: Hardware, rules: EngineRules, serving: Serving, axes: Axes) -> Table:
    """Evaluate every point. Raises SeatrialError where numpy, an extra, is not installed."""
    try:
        import numpy as np
    except ImportError as exc:
        mend = "Install it: pip install 'seatrial[plan]'."
        raise SeatrialError("what-if tables need numpy, which is not installed", mend=mend) from exc

    columns: dict[str, list[Any]] = {}
    skipped: list[str] = []
    lacking: dict[str, None] = {}
    inner = np.array(list(product(axes.batch, axes.prompt, axes.output, axes.spec, axes.accept)), dtype=float)
    for tp, ep in product(axes.tp, axes.ep):
        layout = Layout(tp=tp, pp=axes.pp, dp=axes.dp, ep=ep)
        try:
            work = lay_out(model, layout, serving, rules)
        except Uneven as exc:
            skipped.append(f"{layout.words()}: {exc}")
            continue
        given = rates(hardware, work)
        lacking.update(dict.fromkeys(given.lacking))
        for name, values in _points(work, given, inner).items():
            columns.setdefault(name, []).append(values)
    joined = {name: np.concatenate(values).tolist() for name, values in columns.items()}
    return Table(
        columns=joined,
        points=len(next(iter(joined.values()), [])),
        skipped=tuple(skipped),
        lacking=tuple(lacking),
    )


def _points(work: Work, given: Rates, inner: np.ndarray) -> dict[str, Any]:
    """All inner points of one layout."""
    import numpy as np

    batch, prompt, output, spec, accept = inner.T
    ttft = _seconds(work.step(np.ones_like(prompt), prompt, np.zeros_like(prompt)), given, len(inner))
    step = _seconds(work.step(batch, 1 + spec, prompt + output // 2, decode=True), given, len(inner))
    sure = accept >= 1
    safe = np.where(sure, 0.0, accept)
    per_step = np.where(sure, spec + 1, (1 - safe ** (spec + 1)) / (1 - safe))
    tpot = step / per_step
    devices = work.layout.devices()
    # As `roofline.speed`: every replica answers, and the stages work at once.
    rate = batch * work.layout.dp * work.layout.pp / tpot
    full = np.ones(len(inner))
    return {
        "tp": full * work.layout.tp, "ep": full * work.layout.ep, "batch": batch, "prompt": prompt, "output": output,
        "spec": spec, "accept": accept, "ttft_s": ttft, "tpot_s": tpot, "tokens_per_s": rate,
        "tokens_per_s_device": rate / devices,
    }  # fmt: skip


def _seconds(parts: tuple[Part, ...], given: Rates, points: int) -> Any:
    """As `roofline.bound`, on arrays; not a number where a peak is unknown."""
    import numpy as np

    busy = np.zeros(points)
    sent = np.zeros(points)
    nothing = float("nan")
    for part in parts:
        if np.any(part.wire_bytes):
            sent = sent + part.wire_bytes / (given.wire or nothing)
            continue
        peak = given.peak.get(part.precision) or nothing
        read = part.weight_bytes + part.cache_bytes
        busy = busy + np.maximum(part.flops / peak, read / (given.memory or nothing))
    return np.maximum(busy, sent)
