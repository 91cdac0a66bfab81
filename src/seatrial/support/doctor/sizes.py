"""How many processes and devices the target's arguments take on this machine."""

from __future__ import annotations

from seatrial.core.record import Record
from seatrial.targets import Target


class Sizes(Record):
    """`engines` data-parallel engine cores here, each with `workers` worker processes of a device each."""

    engines: int
    workers: int

    @property
    def devices(self) -> int:
        return self.engines * self.workers


def sizes_of(target: Target) -> Sizes:
    """vLLM starts all data-parallel ranks on this machine, or as many as --data-parallel-size-local says."""
    args = target.serve.args
    here = args.get("data-parallel-size-local")
    plain = isinstance(here, int) and not isinstance(here, bool) and here >= 0
    engines = here if plain and here is not None else args.get("data-parallel-size", 1)
    workers = int(args.get("tensor-parallel-size", 1)) * int(args.get("pipeline-parallel-size", 1))
    return Sizes(engines=int(engines), workers=workers)
