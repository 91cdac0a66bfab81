"""Launch on the CPU: each rank needs cores of its own, named in VLLM_CPU_OMP_THREADS_BIND."""

from __future__ import annotations

import os

from seatrial.core.errors import UsageError
from seatrial.platforms.base import LaunchPlan, LaunchRequest, built, tensor_parallel, whole_number_in

BIND = "VLLM_CPU_OMP_THREADS_BIND"


def plan(request: LaunchRequest) -> LaunchPlan:
    """As the target says; the cores this process may use are shared out when there is more than one rank."""
    size = tensor_parallel(request) * pipeline_parallel(request)
    if size == 1 or BIND in request.env:
        return built(request)
    cores = sorted(os.sched_getaffinity(0))
    if size > len(cores):
        raise UsageError(
            f"{size} ranks need as many cores, and this machine offers {len(cores)}",
            mend=f"Use --tp {len(cores)} or less, fewer pipeline stages, or set launch.env.{BIND} of the target.",
        )
    return built(
        request,
        env={BIND: bind(cores, size)},
        notes=(f"{BIND}: without it the CPU platform takes no more ranks than it sees NUMA nodes",),
    )


def pipeline_parallel(request: LaunchRequest) -> int:
    """The number of pipeline stages among the extra arguments, else the target's, else 1."""
    given = whole_number_in(request.extra_args, "--pipeline-parallel-size", "-pp")
    return given if given is not None else int(request.args.get("pipeline-parallel-size", 1))


def bind(cores: list[int], size: int) -> str:
    """`0,1|2,3` for four cores and two ranks; cores left over go unused."""
    each = len(cores) // size
    return "|".join(",".join(str(c) for c in cores[rank * each : (rank + 1) * each]) for rank in range(size))
