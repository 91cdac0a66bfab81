"""The settings that `ab` changes one at a time, each with the root-cause class that a disagreement points to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from seatrial.core.errors import UsageError
from seatrial.core.record import Record

State = Literal["agrees", "rounding", "differs", "breaks", "not-run"]
# Token counts of the prompts: short ones, and ones beyond a block of the KV cache (16 to 128 tokens) or two, so that a
# prefix cache has something to hold and a chunk something to cut.
LENGTHS = (12, 27, 42, 57, 140, 150, 270, 280)


class Variant(Record):
    """`args` are added, `drop` left out of the target's; `at_once` requests in flight; `twice`: the second asking
    counts (what a prefix cache answers). `cause` is the root-cause class that a disagreement points to. `milder`:
    smaller settings of the same kind, the smallest first. `counter` on /metrics must rise while it is asked (with
    `above_base`: more than in the base run), else the setting did nothing. `lossy`: it rounds by design, so that
    answers part without a fault.
    """

    name: str
    says: str
    cause: str
    args: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    tp: int | None = None
    at_once: int = 1
    twice: bool = False
    milder: tuple[Variant, ...] = ()
    counter: str = ""
    above_base: bool = False
    lossy: bool = False


def _chunks(tokens: int, milder: tuple[Variant, ...] = ()) -> Variant:
    return Variant(
        name="chunked" if milder else f"chunked-{tokens}",
        says=f"prompts in chunks of {tokens} tokens",
        cause="KV cache",
        args=("--enable-chunked-prefill", "--max-num-batched-tokens", str(tokens)),
        milder=milder,
        # Each step of the engine is one observation: prompts that are cut take more of them.
        counter="vllm:iteration_tokens_total_count",
        above_base=True,
    )


def _graph(name: str, says: str, mode: str) -> Variant:
    config = json.dumps({"cudagraph_mode": mode})
    return Variant(name=name, says=says, cause="graph", args=("--compilation-config", config), drop=("enforce-eager",))


def _at_once(count: int, milder: tuple[Variant, ...] = ()) -> Variant:
    return Variant(
        name="batch" if milder else f"batch-{count}",
        says=f"{count} requests at once instead of one",
        cause="kernel",
        at_once=count,
        milder=milder,
    )


VARIANTS = (
    _at_once(8, (_at_once(2), _at_once(4))),
    Variant(
        name="graph",
        says="graph mode instead of eager",
        cause="graph",
        drop=("enforce-eager",),
        milder=(
            _graph("compiled", "compiled, without graphs", "NONE"),
            _graph("piecewise", "graphs of pieces around attention", "PIECEWISE"),
        ),
    ),
    _chunks(32, (_chunks(64),)),
    Variant(
        name="prefix-cache",
        says="the second asking, answered from the prefix cache",
        cause="KV cache",
        args=("--enable-prefix-caching",),
        twice=True,
        counter="vllm:prefix_cache_hits_total",
    ),
    Variant(name="tp2", says="two tensor-parallel ranks instead of one", cause="distributed", tp=2),
    Variant(
        name="kv-fp8",
        says="a KV cache of 8-bit floats",
        cause="KV cache",
        args=("--kv-cache-dtype", "fp8"),
        lossy=True,
    ),
    Variant(
        name="mtp",
        says="speculative decoding by the checkpoint's own draft layers",
        cause="sampling",
        args=("--speculative-config", '{"method": "mtp", "num_speculative_tokens": 1}'),
        counter="vllm:spec_decode_num_draft_tokens_total",
    ),
)


def chosen_variants(only: Sequence[str]) -> list[Variant]:
    """Those named, or all; raises UsageError for a name that is none."""
    names = [v.name for v in VARIANTS]
    for name in only:
        if name not in names:
            raise UsageError(f"there is no variant {name!r}", mend=f"Known: {', '.join(names)}.")
    return [v for v in VARIANTS if not only or v.name in only]
