"""Will it fit, how fast can it be, and with which flags: memory, capacity and bounds for a checkpoint on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from seatrial.cli.common import FiniteRange, json_option, leave, out, print_json

AIMS = ("longest-context", "most-throughput", "fewest-cards")

# --memory in GiB: above any device.
MOST_GIB = 1 << 20


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--target", default="cpu", show_default=True, help="Whose engine and platform; see `seatrial targets list`."
)
@click.option("--hardware", help="The device, by name or .toml file; see `seatrial hardware list`.")
@click.option(
    "--memory", "memory_gib", type=FiniteRange(0, MOST_GIB, min_open=True), help="Device memory in GiB instead."
)
@click.option("--tp", default=1, show_default=True, type=click.IntRange(1), help="Tensor-parallel size.")
@click.option("--pp", default=1, show_default=True, type=click.IntRange(1), help="Pipeline-parallel size.")
@click.option("--dp", default=1, show_default=True, type=click.IntRange(1), help="Data-parallel size.")
@click.option("--ep/--no-ep", default=False, help="Spread whole experts over the ranks (--enable-expert-parallel).")
@click.option("--max-model-len", type=click.IntRange(1), help="Tokens per request; the model's own if left out.")
@click.option("--max-num-seqs", type=click.IntRange(1), help="Requests at once; so many are asked to fit.")
@click.option(
    "--max-num-batched-tokens", type=click.IntRange(1), help="Tokens per step; the engine's default if left out."
)
@click.option("--gpu-memory-utilization", "utilization", default=0.9, show_default=True, type=FiniteRange(0.01, 1))
@click.option("--kv-cache-memory-bytes", "kv_bytes", type=click.IntRange(1), help="KV cache per device, set outright.")
@click.option("--kv-cache-dtype", "kv_dtype", default="auto", show_default=True)
@click.option("--block-size", type=click.IntRange(1), help="Tokens per block; the platform's default if left out.")
@click.option("--no-prefix-caching", is_flag=True)
@click.option("--enforce-eager", "eager", is_flag=True)
@click.option("--spec-tokens", default=0, show_default=True, type=click.IntRange(0), help="Drafted tokens per step.")
@click.option("--draft", type=click.Path(path_type=Path), help="The checkpoint of a separate draft model.")
@click.option("--accept", default=0.0, show_default=True, type=FiniteRange(0, 1), help="Their acceptance rate.")
@click.option("--ask-engine", is_flag=True, help="Let the target's engine build the model: exact for any it knows.")
@click.option("--dry", metavar="FACTS|RUN", help="Exact weights: a dry run's facts (or `dry --json`), or a run's id.")
@click.option("--margin", default=0.03, show_default=True, type=FiniteRange(0, 0.5), help="Share of the device kept.")
@click.option("--prompt", type=click.IntRange(1), help="Prompt tokens: gives bounds of TTFT, TPOT and throughput.")
@click.option("--images", type=click.IntRange(0), default=0, show_default=True, help="Images in the prompt.")
@click.option("--patches", type=click.IntRange(1), help="Patches of each image, before the tower merges them.")
@click.option("--output", default=256, show_default=True, type=click.IntRange(1), help="Output tokens, for the bounds.")
@click.option("--measured", type=click.Path(path_type=Path), help="metrics.json of a run: gives MFU and MBU.")
@click.option(
    "--from-log", type=click.Path(path_type=Path), help="An engine's start-up log: gives each bucket's error."
)
@click.option("--calibration", type=click.Path(path_type=Path), help="File of what logs taught; used if it is there.")
@click.option("--learn", is_flag=True, help="Keep what --from-log teaches in --calibration.")
@click.option("--forget", is_flag=True, help="Remove the target's entry from --calibration first.")
@click.option(
    "--what-if", "axes", multiple=True, metavar="AXIS=V,V", help="tp, ep, batch, prompt, output, spec, accept."
)
@click.option("--recommend", "aim", type=click.Choice(AIMS), help="Propose flags for this aim, as a target overlay.")
@click.option("--devices", type=click.IntRange(1), help="How many may be used; a server's if left out.")
@click.option("--ttft", type=FiniteRange(0, min_open=True), help="Limit in seconds, for --recommend.")
@click.option("--tpot", type=FiniteRange(0, min_open=True), help="Limit in seconds, for --recommend.")
@click.option("--html", "page", type=click.Path(path_type=Path, dir_okay=False), help="Write charts to this file too.")
@json_option
def command(checkpoint: Path, target: str, as_json: bool, **options: Any) -> None:
    """Plan how CHECKPOINT would be served, without touching a device.

    Sizes, lengths and switches that are not given are those of the target's server (with --hardware or --memory and no
    --target: the defaults below).
    Pass: the asked requests fit with the margin kept. A risk (fits only without the margin) counts as inconclusive.
    """
    from seatrial.cli._plan_inputs import device_of, served
    from seatrial.cli._plan_page import write_page
    from seatrial.cli._plan_show import show
    from seatrial.cli._plan_work import answer

    device = device_of(target, options["hardware"], options["memory_gib"])
    context = click.get_current_context()
    given = [n for n in context.params if context.get_parameter_source(n) is click.core.ParameterSource.COMMANDLINE]
    options = served(target, options, given)
    found = answer(checkpoint, target, device, options)
    if options["page"] is not None:
        write_page(options["page"], found)
    if as_json:
        print_json(found)
    else:
        show(out(), found)
    leave(found.plan.outcome.verdict)
