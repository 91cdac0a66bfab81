"""What the charts of a plan show: bounds over batch sizes, and latency against throughput per card over layouts.

In: a model, a device whose peaks are known, how it is served. Out: `Curves`. A batch counts only as far as the plan
says that it fits; layouts that do not divide, do not fit or have no bound are named in `refused`, each with its reason.
"""

from __future__ import annotations

from math import isclose

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.estimate.calibrate import Calibration
from seatrial.estimate.compute import lay_out
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.model import Lacking, Model, NotModelled, Uneven, altered
from seatrial.estimate.plan import Plan, make_plan
from seatrial.estimate.roofline import speed
from seatrial.targets.hardware import Hardware


class Reach(Record):
    """One point: `batch` requests per replica. `tpot_s` at least, output tokens per second and device at most.

    `fits`: so many requests of the planned length are held with the margin kept. `best`: no other fitting point is
    better in both.
    """

    layout: str
    devices: int
    batch: int
    tpot_s: float
    tokens_per_s_device: float
    binding: str
    fits: bool
    best: bool = False


class Curves(Record):
    """`by_batch` for the planned layout; `pareto` over layouts, fitting points only, in order of TPOT."""

    prompt: int
    output: int
    by_batch: tuple[Reach, ...]
    pareto: tuple[Reach, ...]
    refused: dict[str, str]


def curves(
    model: Model,
    hardware: Hardware,
    rules: EngineRules,
    serving: Serving,
    plan: Plan,
    *,
    devices: int,
    prompt: int,
    output: int,
    margin_share: float = 0.03,
    calibration: Calibration | None = None,
    spec: int = 0,
    accept: float = 0.0,
) -> Curves:
    """Powers of two up to the scheduler's limit; TP in powers of two up to `devices`, with and without EP."""
    refused: dict[str, str] = {}
    load = _Load(prompt, output, spec, accept)
    own = plan.asked.layout
    here = _reach(model, hardware, rules, plan, load, refused)
    every = [r for r in here if r.fits]
    for layout in _layouts(own, devices, model.card.feed_forward.moe is not None):
        if layout == own:
            continue
        try:
            other = make_plan(
                model, layout, serving, rules, hardware.memory, margin_share=margin_share, calibration=calibration
            )
        except UsageError as exc:
            refused[layout.words()] = exc.message
            continue
        every += [r for r in _reach(model, hardware, rules, other, load, refused) if r.fits]
    return Curves(
        prompt=prompt, output=output, by_batch=tuple(here), pareto=frontier(every), refused=refused,
    )  # fmt: skip


class _Load:
    def __init__(self, prompt: int, output: int, spec: int, accept: float) -> None:
        self.prompt, self.output, self.spec, self.accept = prompt, output, spec, accept


def _layouts(own: Layout, devices: int, moe: bool) -> list[Layout]:
    made = []
    tp = 1
    while tp <= max(devices, own.tp):
        made += [Layout(tp=tp, ep=ep) for ep in ((False, True) if moe and tp > 1 else (False,))]
        tp *= 2
    return made


def _reach(
    model: Model, hardware: Hardware, rules: EngineRules, plan: Plan, load: _Load, refused: dict[str, str]
) -> list[Reach]:
    """The points of one layout; none, with the reason in `refused`, where there is no bound."""
    words = plan.asked.layout.words()
    held = plan.most.requests
    if held is None:
        refused[words] = plan.outcome.reason
        return []
    if held < 1:
        refused[words] = f"not one request of {plan.asked.length} tokens fits"
    try:
        work = lay_out(model, plan.asked.layout, altered(plan.asked.serving, max_model_len=plan.asked.length), rules)
    except (Lacking, NotModelled, Uneven) as exc:
        refused[words] = str(exc)
        return []
    most = max(plan.asked.max_seqs, plan.asked.requests)
    batches = sorted({2**i for i in range(most.bit_length()) if 2**i <= most} | {most, plan.asked.requests})
    if 1 <= held < most:
        batches = sorted({*batches, held})
    made: list[Reach] = []
    for batch in batches:
        found = speed(
            work, hardware, batch=batch, prompt=load.prompt, output=load.output, spec=load.spec, accept=load.accept
        )
        if found.tpot_s is None or found.tokens_per_s_device is None or found.decode.binding is None:
            refused[words] = f"hardware field {', '.join(found.decode.lacking)} is unknown"
            return []
        made.append(
            Reach(
                layout=words, devices=found.devices, batch=batch, tpot_s=found.tpot_s,
                tokens_per_s_device=found.tokens_per_s_device, binding=found.decode.binding, fits=batch <= held,
            )
        )  # fmt: skip
    return made


def frontier(points: list[Reach]) -> tuple[Reach, ...]:
    """In order of TPOT; `best` where more tokens per second and device than at any lower TPOT, or equal in both."""
    made: list[Reach] = []
    most, least = 0.0, 0.0
    for point in sorted(points, key=lambda r: (r.tpot_s, -r.tokens_per_s_device)):
        rate = point.tokens_per_s_device
        best = rate > most or (isclose(rate, most) and isclose(point.tpot_s, least))
        if rate > most:
            most, least = rate, point.tpot_s
        made.append(altered(point, best=best))
    return tuple(made)
