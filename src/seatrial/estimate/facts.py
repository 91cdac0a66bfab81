"""A plan as the facts of a run: what was planned for, the answer, and the bounds that its charts are drawn from.

In: a checkpoint's model, a device, a launch. Out: `PlanFacts`. What could not be computed is named in `unknown`; sizes
that do not divide raise UsageError with the numbers.
"""

from __future__ import annotations

from seatrial.core.record import Record
from seatrial.estimate.compute import lay_out
from seatrial.estimate.compute_audio import clip_parts
from seatrial.estimate.curves import Curves, curves
from seatrial.estimate.device import Device
from seatrial.estimate.engine_rules import EngineRules, engine_rules
from seatrial.estimate.launch import Launch
from seatrial.estimate.model import Lacking, Model, NotModelled, Uneven, altered
from seatrial.estimate.plan import Plan, make_plan
from seatrial.estimate.roofline import Speed, rates, speed
from seatrial.targets.hardware import Hardware

# The load of the charts, where the plan's length allows it.
PROMPT, OUTPUT = 1024, 256


class Roof(Record):
    """The highest peak among the model's precisions (operations per second) and the bandwidth (bytes per second)."""

    peak: float
    bandwidth: float


class PlanFacts(Record):
    """`device` in words; `hardware` the name of its file, "" for none. `dtype` as `Launch.dtype`.

    `prompt` and `output`: the load of `speed`. `unknown` says why a part is not there.
    """

    plan: Plan
    device: str
    hardware: str
    dtype: str
    prompt: int
    output: int
    speed: Speed | None
    curves: Curves | None
    roof: Roof | None
    unknown: tuple[str, ...]
    schema_version: int = 1


def plan_facts(model: Model, device: Device, launch: Launch, draft: Model | None = None) -> PlanFacts:
    """The plan of one launch. One request of the full length must fit, as the engine demands at its start; how many of
    `--max-num-seqs` are held at once is in `plan.most`. The bounds are those of that many requests of `prompt` tokens.
    """
    rules = engine_rules(device.platform)
    serving = launch.serving
    model = altered(model, given=launch.dtype)
    plan = make_plan(model, launch.layout, serving, rules, device.memory, draft=draft)
    plan = altered(plan, notes=(*plan.notes, *launch.notes))
    prompt = min(PROMPT, plan.asked.length)
    hardware = device.hardware
    unknown: list[str] = []
    drawn = _drawn(model, plan, rules, hardware, prompt, device.most_devices, unknown) if hardware else _Drawn()
    if hardware is None:
        unknown.append("bounds: the target names no device (`device` in its file; see `seatrial hardware list`)")
    return PlanFacts(
        plan=plan, device=device.words, hardware=hardware.name if hardware else "", dtype=launch.dtype,
        prompt=prompt, output=OUTPUT, speed=drawn.speed, curves=drawn.curves, roof=drawn.roof, unknown=tuple(unknown),
    )  # fmt: skip


class _Drawn(Record):
    speed: Speed | None = None
    curves: Curves | None = None
    roof: Roof | None = None


def _drawn(
    model: Model, plan: Plan, rules: EngineRules, hardware: Hardware, prompt: int, devices: int, unknown: list[str]
) -> _Drawn:
    """The bounds at the planned layout, and what the charts show beside it."""
    asked = plan.asked
    try:
        work = lay_out(model, asked.layout, asked.serving, rules)
        clip = clip_parts(model, asked.layout)
        batch = asked.serving.max_num_seqs or 1
        bounds = speed(work, hardware, batch=batch, prompt=prompt, output=OUTPUT, tower=clip)
    except Lacking as exc:
        unknown.append(f"bounds: {exc.field}: {exc.why}")
        return _Drawn()
    except (NotModelled, Uneven) as exc:
        unknown.append(f"bounds: no formula for {exc}")
        return _Drawn()
    given = rates(hardware, work)
    if given.lacking:
        fields = ", ".join(given.lacking)
        how = "; `seatrial hardware measure` fills them on the machine at hand" if rules.platform == "cpu" else ""
        unknown.append(f"bounds: hardware {hardware.name}: {fields} unknown{how}")
        return _Drawn(speed=bounds)
    many = curves(model, hardware, rules, asked.serving, plan, devices=devices, prompt=prompt, output=OUTPUT)
    roof = Roof(peak=max(given.peak.values()), bandwidth=given.memory) if given.peak and given.memory else None
    return _Drawn(speed=bounds, curves=many, roof=roof)
