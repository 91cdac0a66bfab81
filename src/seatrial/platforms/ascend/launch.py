"""Launch on Ascend as vllm-ascend's adapter workflow prescribes, with what newer plugin versions need.

The prescription (workflow checklist, section 7): from the work dir, `HCCL_OP_EXPANSION_MODE=AIV
VLLM_ASCEND_ENABLE_FLASHCOMM1=0 vllm serve MODEL --served-model-name … --trust-remote-code --dtype bfloat16
--max-model-len … --tensor-parallel-size … --max-num-seqs 16 [--load-format dummy] --port 8000`.
"""

from __future__ import annotations

from seatrial.platforms.base import Deviation, LaunchPlan, LaunchRequest, at_least, built

CHECKLIST = "vllm-ascend model-adapter workflow checklist, section 7"
FLASHCOMM = "VLLM_ASCEND_ENABLE_FLASHCOMM1"
# vllm-ascend 92616f3a64 (2026-08-21) removed FlashComm; the releases up to v0.26.0rc still read the variable.
FLASHCOMM_GONE = "0.27"


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
    if FLASHCOMM in request.env:
        gone = at_least(request.plugin_version, FLASHCOMM_GONE)
        if gone:
            without = (FLASHCOMM,)
            deviations.append(
                Deviation(
                    what=f"{FLASHCOMM}={request.env[FLASHCOMM]} is left out",
                    why=f"vllm-ascend {request.plugin_version} has no FlashComm any more and only warns about the "
                    "variable; its successor is vLLM's own sequence parallelism for MoE",
                    source=CHECKLIST,
                )
            )
        elif gone is None:
            notes.append(f"the plugin's version is unknown: from {FLASHCOMM_GONE} on, {FLASHCOMM} has no effect")
    return built(request, without=without, deviations=tuple(deviations), notes=tuple(notes))
