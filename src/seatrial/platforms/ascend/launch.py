"""Launch on Ascend as vllm-ascend's adapter workflow prescribes, with what newer plugin versions need.

The prescription (workflow checklist, section 7): from the work dir, `HCCL_OP_EXPANSION_MODE=AIV
VLLM_ASCEND_ENABLE_FLASHCOMM1=0 vllm serve MODEL --served-model-name … --trust-remote-code --dtype bfloat16
--max-model-len … --tensor-parallel-size … --max-num-seqs 16 [--load-format dummy] --port 8000`.
"""

from __future__ import annotations

from pathlib import Path

from seatrial.platforms.ascend.flashcomm import VARIABLE, flashcomm
from seatrial.platforms.base import Deviation, LaunchPlan, LaunchRequest, built, serve_entry

CHECKLIST = "vllm-ascend model-adapter workflow checklist, section 7"


def plan(request: LaunchRequest) -> LaunchPlan:
    """The prescribed command; what differs from it is a deviation, never silent."""
    without: tuple[str, ...] = ()
    deviations = []
    notes = []
    if "trust-remote-code" not in request.args and "--trust-remote-code" not in request.extra_args:
        deviations.append(
            Deviation(
                what="--trust-remote-code is left out",
                why="code from a checkpoint runs only if you say so; add --trust-remote-code if the model needs it",
                source=CHECKLIST,
            )
        )
    if request.host not in ("", "0.0.0.0"):  # noqa: S104 - vLLM's own default, compared with
        deviations.append(
            Deviation(
                what=f"--host {request.host} is added",
                why="a gate's server is for this machine alone; vLLM itself would listen on every interface",
                source=CHECKLIST,
            )
        )
    if serve_entry(request.python)[0] == request.python:
        deviations.append(
            Deviation(
                what="the module of `vllm serve` is run by its interpreter",
                why=f"there is no script `vllm` beside {request.python}",
                source=CHECKLIST,
            )
        )
    if VARIABLE in request.env:
        seen = flashcomm(Path(request.plugin_source) if request.plugin_source else None, request.plugin_version)
        if seen.variable in ("warns", "ignores"):
            without = (VARIABLE,)
            does = "only warns about it" if seen.variable == "warns" else "does not know it"
            deviations.append(
                Deviation(
                    what=f"{VARIABLE}={request.env[VARIABLE]} is left out",
                    why=f"the plugin {does} ({seen.why})",
                    source=CHECKLIST,
                )
            )
        elif seen.variable == "unknown":
            notes.append(
                f"whether {VARIABLE} has an effect is not known ({seen.why}): releases 0.11.0rc1 to 0.26 read it, main "
                "of 2026-08-21 only warns, later builds may switch vLLM's own sequence parallelism by it"
            )
    return built(request, without=without, deviations=tuple(deviations), notes=tuple(notes))
