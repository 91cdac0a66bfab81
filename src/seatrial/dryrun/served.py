"""How a target's server would lay a model out: the part of its arguments that decides names, shapes and dtypes.

In: the arguments of `vllm serve` as a target has them (flag without dashes to value). Out: `ServedAs`.
"""

from __future__ import annotations

from collections.abc import Mapping

from seatrial.core.record import Record

# vLLM's other words for a dtype; "auto" is the checkpoint's own.
DTYPES = {"auto": "", "half": "float16", "float": "float32"}


class ServedAs(Record):
    """`dtype` and `quantization` are "" where the checkpoint's config decides."""

    tp: int = 1
    pp: int = 1
    ep: bool = False
    dtype: str = ""
    quantization: str = ""


def served_as(args: Mapping[str, str | int | float | bool]) -> ServedAs:
    """Sizes are whole numbers of at least 1: a target refuses others."""
    dtype = str(args.get("dtype", ""))
    return ServedAs(
        tp=int(args.get("tensor-parallel-size", 1)),
        pp=int(args.get("pipeline-parallel-size", 1)),
        ep=args.get("enable-expert-parallel", False) is True,
        dtype=DTYPES.get(dtype, dtype),
        quantization=str(args.get("quantization", "")),
    )
