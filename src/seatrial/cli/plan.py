"""Will it fit, and with which flags: memory, KV capacity and verdict for a checkpoint on a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import STYLES, json_option, leave, out, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from seatrial.estimate.changes import Change
    from seatrial.estimate.plan import Answer, Plan

GIB = 1024**3


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--target", default="cpu", show_default=True, help="Whose engine and platform; see `seatrial targets list`.")
@click.option("--hardware", help="The device, by name or .toml file; see `seatrial hardware list`.")
@click.option("--memory", "memory_gib", type=click.FloatRange(0, min_open=True), help="Device memory in GiB instead.")
@click.option("--tp", default=1, show_default=True, type=click.IntRange(1), help="Tensor-parallel size.")
@click.option("--pp", default=1, show_default=True, type=click.IntRange(1), help="Pipeline-parallel size.")
@click.option("--dp", default=1, show_default=True, type=click.IntRange(1), help="Data-parallel size.")
@click.option("--ep", is_flag=True, help="Spread whole experts over the ranks (--enable-expert-parallel).")
@click.option("--max-model-len", type=click.IntRange(1), help="Tokens per request; the model's own if left out.")
@click.option("--max-num-seqs", type=click.IntRange(1), help="Requests at once; also how many are asked to fit.")
@click.option("--max-num-batched-tokens", type=click.IntRange(1), help="Tokens per step; the engine's default if left out.")
@click.option("--gpu-memory-utilization", "utilization", default=0.9, show_default=True, type=click.FloatRange(0.01, 1))
@click.option("--kv-cache-memory-bytes", "kv_bytes", type=click.IntRange(1), help="KV cache per device, set outright.")
@click.option("--kv-cache-dtype", "kv_dtype", default="auto", show_default=True)
@click.option("--block-size", type=click.IntRange(1), help="Tokens per block; the platform's default if left out.")
@click.option("--no-prefix-caching", is_flag=True)
@click.option("--enforce-eager", "eager", is_flag=True)
@click.option("--spec-tokens", default=0, show_default=True, type=click.IntRange(0), help="Drafted tokens per step.")
@click.option("--margin", default=0.03, show_default=True, type=click.FloatRange(0, 0.5), help="Share of the device kept.")
@click.option("--calibration", type=click.Path(path_type=Path), help="What earlier logs taught; see --from-log.")
@json_option
def command(
    checkpoint: Path,
    target: str,
    hardware: str | None,
    memory_gib: float | None,
    tp: int,
    pp: int,
    dp: int,
    ep: bool,
    max_model_len: int | None,
    max_num_seqs: int | None,
    max_num_batched_tokens: int | None,
    utilization: float,
    kv_bytes: int | None,
    kv_dtype: str,
    block_size: int | None,
    no_prefix_caching: bool,
    eager: bool,
    spec_tokens: int,
    margin: float,
    calibration: Path | None,
    as_json: bool,
) -> None:
    """Plan how CHECKPOINT would be served, without touching a device.

    Pass: the asked requests fit with the margin kept. A risk (fits only without the margin) counts as inconclusive.
    """
    from seatrial.cli._plan_inputs import device_of
    from seatrial.estimate import Layout, Serving, engine_rules, make_plan, read_model
    from seatrial.estimate.calibrate import Calibration, load_calibration
    from seatrial.estimate.changes import changes

    device = device_of(target, hardware, memory_gib)
    model = read_model(checkpoint)
    layout = Layout(tp=tp, pp=pp, dp=dp, ep=ep)
    serving = Serving(
        max_model_len=max_model_len, max_num_seqs=max_num_seqs, max_num_batched_tokens=max_num_batched_tokens,
        utilization=utilization, kv_bytes=kv_bytes, kv_dtype=kv_dtype, block_size=block_size,
        prefix_caching=not no_prefix_caching, eager=eager, spec_tokens=spec_tokens,
    )  # fmt: skip
    learnt = load_calibration(calibration, target) if calibration else Calibration()
    rules = engine_rules(device.platform)
    plan = make_plan(
        model, layout, serving, rules, device.memory, requests=max_num_seqs, margin_share=margin, calibration=learnt
    )
    helps: tuple[Change, ...] = ()
    if plan.level in ("fail", "risk"):
        helps = changes(
            model, plan, rules, device.memory, device.most_devices, margin_share=margin, calibration=learnt
        )
    if as_json:
        print_json({"plan": plan, "changes": helps, "device": device})
    else:
        show(out(), plan, helps, device.words)
    leave(plan.outcome.verdict)


def show(console: Console, plan: Plan, helps: tuple[Change, ...], device: str) -> None:
    """The buckets as bars, the capacity, the verdict, what could be changed."""
    asked = plan.asked
    console.print(f"{asked.layout.words()} on {device}; {asked.requests} requests of {asked.length} tokens")
    _buckets(console, plan)
    _cache(console, plan)
    for name, answer in (("asked", plan.answer), ("baseline 128k x 16", plan.baseline)):
        if answer is not None:
            console.print(f"{name}: {_answer(answer)}", markup=False)
    verdict = plan.outcome.verdict
    console.print(f"verdict: [{STYLES[verdict]}]{verdict.value}[/] ({plan.outcome.reason})")
    console.print(f"limiting: {plan.limiting}", markup=False)
    for change in helps:
        now = f"then {change.level}, {change.requests} requests, longest {change.length}, {change.devices} devices"
        console.print(f"  {change.flag}  [cost: {change.cost}]  {now}", markup=False)
    for note in plan.notes:
        console.print(f"note: {note}", markup=False)


def _buckets(console: Console, plan: Plan) -> None:
    if plan.memory is None:
        return
    total = plan.memory.device.value
    for bucket in plan.memory.buckets:
        value = bucket.amount.value
        if value is None:
            console.print(f"  {bucket.name:<12} {'unknown':>12}  {bucket.amount.note}", markup=False)
            continue
        bar = "#" * round(40 * value / total) if total else ""
        console.print(f"  {bucket.name:<12} {value / GIB:>8.2f} GiB  {bar:<40} {bucket.how}", markup=False)
    room = plan.memory.for_kv
    if room is not None:
        bar = "#" * round(40 * max(room, 0) / total) if total else ""
        console.print(f"  {'left for KV':<12} {room / GIB:>8.2f} GiB  {bar}", markup=False)


def _cache(console: Console, plan: Plan) -> None:
    if plan.cache is None or plan.pool is None:
        return
    kinds: dict[str, int] = {}
    for spec in plan.cache.specs:
        kinds[f"{spec.role} {spec.kind}: {spec.formula}"] = kinds.get(f"{spec.role} {spec.kind}: {spec.formula}", 0) + 1
    for text, count in kinds.items():
        console.print(f"  KV {count} x {text} bytes a block", markup=False)
    per_token = plan.cache.content_per_token()
    console.print(f"  KV per token {per_token:.0f} bytes a device; a block over all layers {plan.pool.block_bytes} bytes")
    most = plan.most
    console.print(f"most: {most.tokens} tokens, {most.requests} requests, longest context {most.length}", markup=False)


def _answer(answer: Answer) -> str:
    need = "unknown" if answer.needed is None else f"{answer.needed / GIB:.2f} GiB"
    share = f", at utilization {answer.utilization}" if answer.utilization is not None else ""
    return f"{answer.level}: {answer.requests} x {answer.length} tokens need {need} of KV cache per device{share}; {answer.why}"
