"""What `seatrial plan` computes from its options: one record with every part that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.cli._plan_dry import dry_weights
from seatrial.cli._plan_measured import measured_run
from seatrial.core.errors import EngineError, FileFormatError, UsageError
from seatrial.core.record import Record
from seatrial.estimate import Layout, Plan, Serving, engine_rules, make_plan, read_model
from seatrial.estimate.calibrate import Calibration, forget_calibration, keep_calibration, load_calibration
from seatrial.estimate.changes import Change, changes
from seatrial.estimate.compute import Part
from seatrial.estimate.compute_audio import clip_parts
from seatrial.estimate.curves import Curves, curves
from seatrial.estimate.device import Device
from seatrial.estimate.engine_answer import EngineAnswer, read_answer, request
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.facts import Roof
from seatrial.estimate.from_log import MOST_BYTES, Comparison, compare, learn, read_log
from seatrial.estimate.measured import Reached, Run, reached
from seatrial.estimate.model import Lacking, Model, NotModelled, altered
from seatrial.estimate.recommend import Recommendation, overlay, recommend
from seatrial.estimate.roofline import Speed, rates, speed
from seatrial.estimate.whatif import Axes, Table, what_if

# Of a value of --what-if: no cluster, batch or prompt comes near it.
MOST = 1_000_000_000
# Prompt tokens of the charts' load where --prompt names none.
CHART_PROMPT = 1024


class Found(Record):
    """`unknown` says why a part that was asked for is not there."""

    plan: Plan
    device: Device
    changes: tuple[Change, ...] = ()
    speed: Speed | None = None
    reached: Reached | None = None
    run: Run | None = None
    log: tuple[Comparison, ...] = ()
    recommendation: Recommendation | None = None
    overlay: str = ""
    table: Table | None = None
    calibration: Calibration | None = None
    curves: Curves | None = None
    roof: Roof | None = None
    unknown: tuple[str, ...] = ()


def answer(checkpoint: Path, target: str, device: Device, options: dict[str, Any]) -> Found:
    """Everything that was asked for."""
    file: Path | None = options["calibration"]
    if (options["learn"] or options["forget"]) and file is None:
        raise UsageError("--learn and --forget need --calibration FILE", mend="Name the file to keep it in.")
    if options["learn"] and options["from_log"] is None:
        raise UsageError("--learn needs --from-log LOG", mend="Name the engine's log.")
    if file is not None and options["forget"]:
        forget_calibration(file, target)
    if not options["aim"] and (options["ttft"] is not None or options["tpot"] is not None):
        raise UsageError("--ttft and --tpot are limits of --recommend", mend="Name an aim with --recommend.")
    if options["aim"] and options["draft"]:
        raise UsageError("--recommend does not count the memory of a --draft", mend="Leave out one of them.")
    learnt = load_calibration(file, target) if file else Calibration()
    model = altered(read_model(checkpoint), given=options["dtype"])
    layout = Layout(tp=options["tp"], pp=options["pp"], dp=options["dp"], ep=options["ep"])
    serving = Serving(
        max_model_len=options["max_model_len"], max_num_seqs=options["max_num_seqs"],
        max_num_batched_tokens=options["max_num_batched_tokens"], utilization=options["utilization"],
        kv_bytes=options["kv_bytes"], kv_dtype=options["kv_dtype"], block_size=options["block_size"],
        prefix_caching=not options["no_prefix_caching"], eager=options["eager"], spec_tokens=options["spec_tokens"],
        own_draft=options["own_draft"],
    )  # fmt: skip
    rules = engine_rules(device.platform)
    engine = ask_engine(checkpoint, target, layout, serving) if options["ask_engine"] else None
    exact = dry_weights(options["dry"], model, layout) if options["dry"] else None
    if exact is not None and engine is not None:
        raise UsageError("--dry and --ask-engine both answer for the weights", mend="Leave one of them out.")
    plan = make_plan(
        model, layout, serving, rules, device.memory, requests=options["requests"],
        margin_share=options["margin"], calibration=learnt, engine=engine, exact=exact,
        draft=read_model(options["draft"]) if options["draft"] else None,
    )  # fmt: skip
    most = options["devices"] or device.most_devices
    helps: tuple[Change, ...] = ()
    if plan.level in ("fail", "risk"):
        helps = changes(model, plan, rules, device.memory, most, margin_share=options["margin"], calibration=learnt)
    log: tuple[Comparison, ...] = ()
    if options["from_log"] is not None:
        source: Path = options["from_log"]
        readings = read_log(_text(source))
        if not readings.any():
            raise FileFormatError(
                f"{source}: holds none of the engine's start-up figures",
                mend="Give the log of a start that reached its KV cache.",
            )
        log = compare(readings, plan)
        if options["learn"] and file is not None:
            learnt = learn(readings, plan, source.name, learnt)
            keep_calibration(file, target, learnt)
    unknown: list[str] = list(options["notes"])
    # Charts need a load; it is shown on the page.
    prompt = options["prompt"] or (min(CHART_PROMPT, plan.asked.length) if options["page"] is not None else None)
    speeds = _speeds(model, plan, layout, rules, device, options, prompt, unknown)
    drawn = None
    if options["page"] is not None and device.hardware is not None and prompt is not None:
        drawn = curves(
            model, device.hardware, rules, serving, plan, devices=most, prompt=prompt, output=options["output"],
            margin_share=options["margin"], calibration=learnt, spec=options["spec_tokens"], accept=options["accept"],
        )  # fmt: skip
    chosen, text = None, ""
    if options["aim"]:
        if device.hardware is None:
            raise UsageError("--recommend needs --hardware", mend="Name the device; see `seatrial hardware list`.")
        chosen = recommend(
            model, device.hardware, rules, serving, options["aim"], devices=most,
            requests=options["requests"] or 1, output=options["output"], ttft_s=options["ttft"],
            tpot_s=options["tpot"], margin_share=options["margin"], calibration=learnt,
        )  # fmt: skip
        text = overlay(chosen, target, f"{target}-{options['aim']}")
    table = None
    if options["axes"]:
        if device.hardware is None:
            raise UsageError("--what-if needs --hardware", mend="Name the device; see `seatrial hardware list`.")
        axes = parse_axes(options["axes"], layout, options)
        try:
            table = what_if(model, device.hardware, rules, plan.asked.serving, axes)
        except Lacking as exc:
            unknown.append(f"what-if: {exc.field}: {exc.why}")
        except NotModelled as exc:
            unknown.append(f"what-if: no formula for {exc}")
    return Found(
        table=table,
        plan=plan, device=device, changes=helps, speed=speeds.bounds, reached=speeds.run, run=speeds.load, log=log,
        recommendation=chosen, overlay=text, calibration=learnt if file else None, curves=drawn, roof=speeds.roof,
        unknown=tuple(unknown),
    )  # fmt: skip


def parse_axes(given: tuple[str, ...], layout: Layout, options: dict[str, Any]) -> Axes:
    """`tp=1,2,4` and the like; axes that are not named keep the command's own value."""
    found: dict[str, Any] = {
        "tp": (layout.tp,), "ep": (layout.ep,), "batch": (options["requests"] or 1,),
        "prompt": (options["prompt"] or 1024,), "output": (options["output"],), "spec": (options["spec_tokens"],),
        "accept": (options["accept"],),
    }  # fmt: skip
    seen: set[str] = set()
    for text in given:
        name, _, values = text.partition("=")
        if name in seen:
            raise UsageError(f"--what-if {text!r}: {name} is named twice", mend=f"Write {name}=V,V once.")
        seen.add(name)
        if name not in found or not values:
            raise UsageError(f"--what-if {text!r}: no such axis", mend=f"Write AXIS=V,V with {', '.join(found)}.")
        try:
            numbers = [float(v) for v in values.split(",")]
        except ValueError:
            raise UsageError(f"--what-if {text!r}: not numbers", mend="Write numbers, such as tp=1,2,4.") from None
        least = 0 if name in ("ep", "spec", "accept") else 1
        most = 1 if name in ("ep", "accept") else MOST
        # Written so that not-a-number is out of range too.
        if any(not least <= v <= most or (name != "accept" and v != int(v)) for v in numbers):
            raise UsageError(
                f"--what-if {text!r}: out of range",
                mend=f"{'Numbers' if name == 'accept' else 'Whole numbers'} from {least} to {most}.",
            )
        found[name] = tuple(v if name == "accept" else bool(v) if name == "ep" else int(v) for v in numbers)
    return Axes(**found, pp=layout.pp, dp=layout.dp)


def ask_engine(checkpoint: Path, target: str, layout: Layout, serving: Serving) -> EngineAnswer:
    """The probe's answer; raises EngineError where the engine cannot give one."""
    import tempfile

    from seatrial.cli.common import err
    from seatrial.engine.border import ProbeSession
    from seatrial.engine.choose import target_python
    from seatrial.targets import find_overrides, load_target

    chosen = load_target(target, find_overrides(Path.cwd())).target
    with tempfile.TemporaryDirectory(prefix="seatrial-") as scratch:
        log = Path(scratch) / "probe.log"
        with ProbeSession(target_python(chosen), log=log, env=chosen.launch.env) as session:
            asked = request(str(checkpoint.resolve()), layout, serving)
            reply = session.call("kv_spec", asked, timeout_s=600, progress=err().print)
    if reply.status != "answered":
        raise EngineError(f"the engine gave no answer: {reply.trouble()}", mend="Plan without --ask-engine.")
    return read_answer(reply.answer)


class _Speeds(Record):
    bounds: Speed | None = None
    run: Reached | None = None
    load: Run | None = None
    roof: Roof | None = None


def _speeds(
    model: Model, plan: Plan, layout: Layout, rules: EngineRules, device: Device, options: dict[str, Any],
    prompt: int | None, unknown: list[str],
) -> _Speeds:  # fmt: skip
    """The bounds and the run beside them, where asked for."""
    from seatrial.estimate.compute import lay_out

    if prompt is None and options["measured"] is None:
        return _Speeds()
    if device.hardware is None:
        unknown.append("bounds: no --hardware is named")
        return _Speeds()
    try:
        work = lay_out(model, layout, plan.asked.serving, rules)
    except Lacking as exc:
        unknown.append(f"bounds: {exc.field}: {exc.why}")
        return _Speeds()
    except NotModelled as exc:
        unknown.append(f"bounds: no formula for {exc}")
        return _Speeds()
    bounds = run = load = None
    if prompt is not None:
        tower = clip_parts(model, layout) + _tower(model, layout, options["images"], options["patches"], unknown)
        bounds = speed(
            work, device.hardware, batch=plan.asked.requests, prompt=prompt, output=options["output"],
            spec=options["spec_tokens"], accept=options["accept"], tower=tower,
        )  # fmt: skip
        unknown += [f"bounds: hardware {device.hardware.name}: {x} is unknown" for x in bounds.decode.lacking]
    if options["measured"] is not None:
        load = measured_run(options["measured"])
        run = reached(load, work, device.hardware)
    given = rates(device.hardware, work)
    roof = Roof(peak=max(given.peak.values()), bandwidth=given.memory) if given.peak and given.memory else None
    return _Speeds(bounds=bounds, run=run, load=load, roof=roof)


def _tower(model: Model, layout: Layout, images: int, patches: int | None, unknown: list[str]) -> tuple[Part, ...]:
    """What the prompt's images take; what is not in the bound is named."""
    from seatrial.estimate.compute_towers import tower_parts

    if not images:
        return ()
    if not patches:
        raise UsageError("--images without --patches: how large they are is unknown", mend="Add --patches N.")
    if not model.vision():
        unknown.append("bounds: images are not in them, config.json describes no image tower")
        return ()
    try:
        return tower_parts(model, layout, images, patches)
    except Lacking as exc:
        unknown.append(f"bounds: images are not in them, {exc.field}: {exc.why}")
    except NotModelled as exc:
        unknown.append(f"bounds: images are not in them, no formula for {exc}")
    return ()


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(MOST_BYTES).decode("utf-8", errors="replace")
    except OSError as exc:
        raise UsageError(f"{file}: cannot be read: {exc.strerror}", mend="Name a readable log.") from exc
