"""Flags for an aim, as a target overlay that a gate can run, each with its reason.

In: a model, a device, how many of them, an aim. Out: `Recommendation`, or why there is none. Every candidate layout is
planned (does it fit?) and bounded (how fast can it be?); nothing is proposed that the plan does not pass.
"""

from __future__ import annotations

from typing import Literal

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.estimate.calibrate import Calibration
from seatrial.estimate.compute import lay_out
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.model import Lacking, Model, NotModelled, Uneven, altered
from seatrial.estimate.plan import Plan, make_plan
from seatrial.estimate.roofline import Speed, speed
from seatrial.targets.hardware import Hardware

Aim = Literal["longest-context", "most-throughput", "fewest-cards"]


class Candidate(Record):
    """One layout that passes: what it holds and its bounds (None where the hardware's peaks are unknown)."""

    layout: Layout
    devices: int
    length: int
    requests: int
    plan: Plan
    speed: Speed | None


class Recommendation(Record):
    """`flags` of `vllm serve` without dashes and why; `considered` layouts, of which `refused` with their reasons."""

    aim: Aim
    chosen: Candidate | None
    flags: dict[str, str | int | float | bool]
    reasons: dict[str, str]
    considered: int
    refused: dict[str, str]


def recommend(
    model: Model,
    hardware: Hardware,
    rules: EngineRules,
    serving: Serving,
    aim: Aim,
    *,
    devices: int,
    requests: int,
    output: int = 256,
    ttft_s: float | None = None,
    tpot_s: float | None = None,
    margin_share: float = 0.03,
    calibration: Calibration | None = None,
) -> Recommendation:
    """Choose among power-of-two TP, with PP 2 beyond a server and EP where there are experts."""
    found: list[Candidate] = []
    refused: dict[str, str] = {}
    layouts = _layouts(model, devices, replicas=aim == "most-throughput")
    for layout in layouts:
        try:
            plan = make_plan(
                model, layout, serving, rules, hardware.memory, requests=requests, margin_share=margin_share,
                calibration=calibration,
            )  # fmt: skip
        except UsageError as exc:
            refused[layout.words()] = exc.message
            continue
        candidate = _candidate(model, layout, serving, rules, hardware, plan, aim, requests, output)
        why = _short(candidate, plan, aim, ttft_s, tpot_s)
        if why or candidate is None:
            refused[layout.words()] = why
        else:
            found.append(candidate)
    chosen = _best(found, aim)
    typed = _flags(chosen, aim, serving, requests, model.given) if chosen else _Flags(flags={}, reasons={})
    return Recommendation(
        aim=aim, chosen=chosen, flags=typed.flags, reasons=typed.reasons, considered=len(layouts), refused=refused
    )


def _layouts(model: Model, devices: int, *, replicas: bool) -> list[Layout]:
    """With `replicas`, what devices are left hold further replicas (data parallelism)."""
    moe = model.card.feed_forward.moe is not None
    out: list[Layout] = []
    tp = 1
    while tp <= devices:
        for pp in (1, 2):
            if tp * pp > devices:
                continue
            dp = devices // (tp * pp) if replicas else 1
            out += [Layout(tp=tp, pp=pp, dp=dp, ep=ep) for ep in ((False, True) if moe and tp * dp > 1 else (False,))]
        tp *= 2
    return out


def _candidate(
    model: Model, layout: Layout, serving: Serving, rules: EngineRules, hardware: Hardware, plan: Plan, aim: Aim,
    requests: int, output: int,
) -> Candidate | None:  # fmt: skip
    if plan.answer is None:
        return None
    length = plan.most.length if aim == "longest-context" else plan.asked.length
    held = requests if aim == "longest-context" else plan.most.requests or 0
    try:
        work = lay_out(model, layout, altered(serving, max_model_len=plan.asked.length), rules)
    except (Lacking, NotModelled, Uneven):
        return Candidate(
            layout=layout, devices=layout.devices(), length=length or 0, requests=held, plan=plan, speed=None
        )
    batch = max(1, min(held, plan.asked.max_seqs))
    prompt = max(1, (length or 1) - output)
    bounds = speed(work, hardware, batch=batch, prompt=prompt, output=min(output, length or 1))
    return Candidate(
        layout=layout, devices=layout.devices(), length=length or 0, requests=held, plan=plan, speed=bounds
    )


def _short(candidate: Candidate | None, plan: Plan, aim: Aim, ttft_s: float | None, tpot_s: float | None) -> str:
    """Why a candidate is out; "" if it is in."""
    if candidate is None:
        return plan.outcome.reason
    if aim != "longest-context" and plan.level != "pass":
        return plan.outcome.reason
    if aim == "longest-context" and not candidate.length:
        return "holds no context at all"
    speed_ = candidate.speed
    lacking = ", ".join(speed_.decode.lacking if speed_ else ()) or "none, the FLOPs are not modelled"
    if aim == "most-throughput" and (speed_ is None or speed_.tokens_per_s is None):
        return f"its throughput is unknown: hardware field {lacking}"
    for name, most, least in (
        ("TTFT", ttft_s, speed_.ttft_s if speed_ else None),
        ("TPOT", tpot_s, speed_.tpot_s if speed_ else None),
    ):
        if most is not None and least is None:
            # Nothing says that the limit is met.
            return f"its {name} is unknown: hardware field {lacking}"
        if most is not None and least is not None and least > most:
            return f"{name} is at least {least:.3g} s"
    return ""


def _best(found: list[Candidate], aim: Aim) -> Candidate | None:
    if not found:
        return None
    if aim == "longest-context":
        return max(found, key=lambda c: (c.length, -c.devices))
    if aim == "fewest-cards":
        return min(found, key=lambda c: (c.devices, -(c.requests)))
    return max(found, key=lambda c: (c.speed.tokens_per_s or 0.0) if c.speed else 0.0)


class _Flags(Record):
    flags: dict[str, str | int | float | bool]
    reasons: dict[str, str]


def _flags(chosen: Candidate, aim: Aim, serving: Serving, requests: int, dtype: str) -> _Flags:
    """All that the plan counted with: a flag left out would serve something else."""
    layout = chosen.layout
    held = min(chosen.requests, chosen.plan.asked.max_seqs) if aim != "longest-context" else requests
    flags: dict[str, str | int | float | bool] = {
        "tensor-parallel-size": layout.tp,
        "max-model-len": chosen.length,
        "max-num-seqs": max(1, held),
        "gpu-memory-utilization": serving.utilization,
    }
    why = {
        "tensor-parallel-size": f"of {chosen.devices} devices; the best for {aim} among those that fit",
        "max-model-len": f"what the KV cache holds for {requests} at once" if aim == "longest-context" else "as asked",
        "max-num-seqs": f"the KV cache holds {chosen.requests} of that length",
        "gpu-memory-utilization": "as asked; the margin is kept within it",
    }
    if layout.pp > 1:
        flags["pipeline-parallel-size"], why["pipeline-parallel-size"] = (
            layout.pp,
            "each stage holds half of the layers",
        )
    if layout.dp > 1:
        flags["data-parallel-size"], why["data-parallel-size"] = layout.dp, "replicas on the remaining devices"
    if layout.ep:
        flags["enable-expert-parallel"], why["enable-expert-parallel"] = True, "experts whole on their ranks"
    given: dict[str, str | int | bool | None] = {
        "dtype": dtype or None,
        "kv-cache-dtype": serving.kv_dtype if serving.kv_dtype != "auto" else None,
        "kv-cache-memory-bytes": serving.kv_bytes,
        "block-size": serving.block_size,
        "max-num-batched-tokens": serving.max_num_batched_tokens,
        "no-enable-prefix-caching": None if serving.prefix_caching else True,
        "enforce-eager": serving.eager or None,
    }
    for flag, value in given.items():
        if value is not None:
            flags[flag], why[flag] = value, "as asked"
    return _Flags(flags=flags, reasons=why)


def overlay(recommendation: Recommendation, target: str, name: str) -> str:
    """A `seatrial.toml` table that extends `target` with the flags and their reasons; "" where nothing is
    recommended.
    """
    if recommendation.chosen is None:
        return ""

    def shown(value: str | int | float | bool) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        return f'"{value}"' if isinstance(value, str) else str(value)

    lines = [f"[targets.{name}]", f'extends = "{target}"', "", f"[targets.{name}.serve.args]"]
    lines += [f"{flag} = {shown(value)}" for flag, value in recommendation.flags.items()]
    lines += ["", f"[targets.{name}.serve.reasons]"]
    lines += [f'{flag} = "{why}"' for flag, why in recommendation.reasons.items()]
    return "\n".join(lines) + "\n"
