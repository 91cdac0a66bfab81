"""How `seatrial plan` looks on a terminal: buckets as bars, then capacity, verdict, bounds, log, flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatrial.cli.common import STYLES
from seatrial.report.words import logged

if TYPE_CHECKING:
    from rich.console import Console

    from seatrial.cli._plan_work import Found
    from seatrial.estimate.plan import Answer, Plan
    from seatrial.estimate.roofline import Bound

GIB = 1024**3


def show(console: Console, found: Found) -> None:
    """Everything that was computed."""
    plan, asked = found.plan, found.plan.asked
    replicas = f" in each of {asked.layout.dp} replicas" if asked.layout.dp > 1 else ""
    say(
        console,
        f"{asked.layout.words()} on {found.device.words}; {asked.requests} requests of {asked.length} tokens{replicas}",
    )
    _buckets(console, plan)
    _cache(console, plan)
    for name, answer in (("asked", plan.answer), ("baseline 128k x 16", plan.baseline)):
        if answer is not None:
            say(console, f"{name}: {_answer(answer)}")
    verdict = plan.outcome.verdict
    console.print(f"verdict: [{STYLES[verdict]}]{verdict.value}[/] ", end="")
    say(console, f"({plan.outcome.reason})")
    say(console, f"limiting: {plan.limiting}")
    for change in found.changes:
        now = f"then {change.level}: {change.requests} requests, longest {change.length}, {change.devices} devices"
        say(console, f"  {change.flag}  [cost: {change.cost}]  {now}")
    _bounds(console, found)
    _log(console, found)
    _flags(console, found)
    _table(console, found)
    for note in (*plan.notes, *found.unknown):
        say(console, f"note: {note}")


def say(console: Console, text: str) -> None:
    console.print(text, markup=False)


def _bar(value: float, total: float | None) -> str:
    """40 marks are the whole device; one more, and an arrow, stand for whatever is beyond it."""
    if not total:
        return ""
    return "#" * round(40 * max(value, 0) / total) if value <= total else "#" * 40 + ">"


def _buckets(console: Console, plan: Plan) -> None:
    if plan.memory is None:
        return
    total = plan.memory.device.value
    for bucket in plan.memory.buckets:
        value = bucket.amount.value
        if value is None:
            say(console, f"  {bucket.name:<12} {'unknown':>12}  {bucket.amount.note}")
            continue
        bar = _bar(value, total)
        say(console, f"  {bucket.name:<12} {value / GIB:>8.2f} GiB  {bar:<40} {bucket.how}")
    room = plan.memory.for_kv
    if room is not None:
        bar = _bar(room, total)
        say(console, f"  {'left for KV':<12} {room / GIB:>8.2f} GiB  {bar}")


def _cache(console: Console, plan: Plan) -> None:
    if plan.cache is None or plan.pool is None:
        return
    if not plan.pool.groups:
        say(console, "  KV none is kept")
        return
    kinds: dict[str, int] = {}
    for spec in plan.cache.specs:
        text = f"{spec.role} {spec.kind}: {spec.formula}"
        kinds[text] = kinds.get(text, 0) + 1
    for text, count in kinds.items():
        say(console, f"  KV {count} x {text} bytes a block")
    per_token = plan.cache.content_per_token()
    analytic = f"{per_token:.0f} bytes a token and device by formula"
    say(console, f"  KV {analytic}; the engine allocates {plan.pool.block_bytes} bytes a block over all layers")
    most = plan.most
    say(console, f"most: {most.tokens} tokens; with the margin {most.requests} requests, longest context {most.length}")


def _answer(answer: Answer) -> str:
    need = "unknown" if answer.needed is None else f"{answer.needed / GIB:.2f} GiB"
    share = f", at utilization {answer.utilization}" if answer.utilization is not None else ""
    asked = f"{answer.requests} x {answer.length} tokens need {need} of KV cache per device{share}"
    return f"{answer.level}: {asked}; {answer.why}"


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds * 1000:.3f} ms"


def _bounds(console: Console, found: Found) -> None:
    speed = found.speed
    if speed is not None:
        say(console, f"bounds, {speed.batch} requests, {speed.prompt} tokens in, {speed.output} out:")
        say(console, f"  TTFT at least {_time(speed.ttft_s)}, TPOT at least {_time(speed.tpot_s)}")
        if speed.tokens_per_s is not None:
            each = f"{speed.tokens_per_s_device:.0f} per device" if speed.tokens_per_s_device else ""
            say(console, f"  at most {speed.tokens_per_s:.0f} output tokens/s, {each}")
        _parts(console, "prefill of one prompt", speed.prefill)
        _parts(console, "decode step", speed.decode)
    if found.reached is not None:
        run, load = found.reached, found.run
        if load is not None:
            say(console, f"run: {load.batch} decoding at once, {load.prompt} tokens in, {load.output} out; {load.note}")
            for name, seen, least in (
                ("TTFT", load.ttft_s, run.bounds.ttft_s),
                ("TPOT", load.tpot_s, run.bounds.tpot_s),
            ):
                times = "" if not seen or not least else f", {seen / least:.2f} times the bound"
                say(console, f"  {name} measured {_time(seen)}, at least {_time(least)}{times}")
        shares = {"prefill MFU": run.prefill_mfu, "decode MFU": run.decode_mfu, "decode MBU": run.decode_mbu}
        say(
            console,
            "measured: " + ", ".join(f"{k} {'unknown' if v is None else f'{v:.1%}'}" for k, v in shares.items()),
        )
        for finding in run.findings:
            say(console, f"  {finding.one_line()}")


def _parts(console: Console, title: str, bound: Bound) -> None:
    say(
        console,
        f"  {title}: {bound.flops / 1e12:.3f} TFLOP, {bound.read_bytes / GIB:.3f} GiB, bound by {bound.binding}",
    )
    longest = max((x.seconds or 0.0 for x in bound.lines), default=0.0)
    for line in sorted(bound.lines, key=lambda x: -(x.seconds or 0.0)):
        bar = "#" * round(20 * (line.seconds or 0.0) / longest) if longest else ""
        say(console, f"    {line.part:<22} {_time(line.seconds):>14}  {line.binding:<8} {bar}")


def _log(console: Console, found: Found) -> None:
    for row in found.log:
        mine = "unknown" if row.estimated is None else logged(row.what, row.estimated)
        error = "" if row.error is None else "within rounding" if row.within_rounding else f"{row.error:+.2%}"
        theirs = logged(row.what, row.reported)
        say(console, f"log line {row.line}: {row.what:<12} reported {theirs}, estimated {mine} {error}")
    if found.calibration is not None:
        for name in ("activations", "graphs", "runtime"):
            learnt = getattr(found.calibration, name)
            if learnt is not None:
                say(console, f"calibration: {name} {logged(name, learnt.value)} ({learnt.note})")


def _table(console: Console, found: Found) -> None:
    """The what-if points: times in milliseconds; points no other beats in both TPOT and tokens/s per device have a
    *.
    """
    table = found.table
    if table is None:
        return
    columns = table.columns
    names = ("tp", "ep", "batch", "prompt", "output", "spec", "accept")
    say(console, "what if: " + "  ".join(f"{n:>6}" for n in (*names, "TTFT", "TPOT", "tok/s", "each")))
    tpot, rate = columns.get("tpot_s", []), columns.get("tokens_per_s_device", [])
    best: set[int] = set()
    most = 0.0
    for i in sorted(range(table.points), key=lambda n: (tpot[n], -rate[n])):
        if rate[i] > most:
            best.add(i)
            most = rate[i]
    for i in range(min(table.points, 200)):
        axes = "  ".join(f"{columns[n][i]:>6g}" for n in names)
        times = f"{columns['ttft_s'][i] * 1e3:>6.4g}  {tpot[i] * 1e3:>6.4g}"
        rates = f"{columns['tokens_per_s'][i]:>6.5g}  {rate[i]:>6.5g}"
        say(console, f"{'*' if i in best else ' ':>8} {axes}  {times}  {rates}")
    if table.points > 200:
        say(console, f"  … and {table.points - 200} more points, all in --json")
    for text in table.skipped:
        say(console, f"  left out: {text}")


def _flags(console: Console, found: Found) -> None:
    chosen = found.recommendation
    if chosen is None:
        return
    if chosen.chosen is None:
        say(console, f"recommend {chosen.aim}: none of {chosen.considered} layouts")
    else:
        say(console, f"recommend {chosen.aim}: {chosen.chosen.layout.words()}, of {chosen.considered} layouts")
        say(console, found.overlay)
    for layout, why in chosen.refused.items():
        say(console, f"  not {layout}: {why}")
