"""Launch on Kunlun as the vLLM-Kunlun adaptation manual prescribes (its appendix: templates A dense, B MoE, C MLA).

What is common to all templates is in the target; what a kind of model adds is here.
"""

from __future__ import annotations

from seatrial.core.command import Command
from seatrial.platforms.base import (
    Deviation,
    LaunchPlan,
    LaunchRequest,
    Scalar,
    at_least,
    built,
    serve_arguments,
    tensor_parallel,
)

MANUAL = "vLLM-Kunlun new model adaptation manual, appendix"
MODULE = "vllm.entrypoints.openai.api_server"
# The module entry point says itself that it is deprecated in vLLM 0.32; older ones were not looked at.
SERVE_SINCE = "0.32"
CARDS = 8  # templates B and C


def plan(request: LaunchRequest) -> LaunchPlan:
    """Template A for one card, B for experts, C for latent attention; devices 0 to TP-1."""
    size = tensor_parallel(request)
    env: dict[str, str] = {}
    args: dict[str, Scalar] = {}
    if request.visible_env and request.visible_env not in request.env:
        env[request.visible_env] = ",".join(str(card) for card in range(size))
    if request.traits.mla:
        env |= {"XMLIR_ENABLE_MOCK_TORCH_COMPILE": "false", "USE_ORI_ROPE": "1"}
        args["gpu-memory-utilization"] = 0.98
    elif request.traits.moe:
        env |= {
            "XMLIR_FORCE_USE_XPU_GRAPH": "1",
            "KUNLUN_USE_MOE_FFN_BLOCK": "True",
            "XPU_USE_MOE_SORTED_THRES": "120",
        }
    if size > 1:
        args |= {
            "max-num-seqs": 4,
            "no-enable-chunked-prefill": True,
            "distributed-executor-backend": "mp",
            "no-enable-prefix-caching": True,
        }
    args = {name: value for name, value in args.items() if name not in request.args}
    env = {name: value for name, value in env.items() if name not in request.env}
    deviations = _deviations(request, size)
    notes = []
    if request.traits.moe is None or request.traits.mla is None:
        notes.append("the checkpoint was not looked at: settings for experts or latent attention may be missing")
    if env.get("XPU_USE_MOE_SORTED_THRES"):
        notes.append("XPU_USE_MOE_SORTED_THRES is 120 in the manual, 1 or 128 in other documents of the plugin")
    if at_least(request.vllm_version, SERVE_SINCE):
        why = f"vLLM {request.vllm_version} calls `python -m {MODULE}` deprecated"
        deviations.append(Deviation(what="`vllm serve MODEL` instead", why=why, source=MANUAL))
        return built(request, env=env, args=args, deviations=tuple(deviations), notes=tuple(notes))
    line = [request.python, "-m", MODULE, "--model", request.checkpoint, *serve_arguments(request, args)]
    standard = built(request, env=env, args=args, deviations=tuple(deviations), notes=tuple(notes))
    command = Command(
        purpose=standard.command.purpose, argv=tuple(line), env=standard.command.env, cwd=standard.command.cwd
    )
    return LaunchPlan(
        command=command,
        tp=standard.tp,
        max_model_len=standard.max_model_len,
        deviations=standard.deviations,
        notes=standard.notes,
    )


def _deviations(request: LaunchRequest, size: int) -> list[Deviation]:
    """What differs from the template of this kind of model: A for one card, B and C for eight."""
    found = []
    if "trust-remote-code" not in request.args and "--trust-remote-code" not in request.extra_args:
        why = "code from a checkpoint runs only if you say so; add --trust-remote-code if the model needs it"
        found.append(Deviation(what="--trust-remote-code is left out", why=why, source=MANUAL))
    why = "requests name the model by it; without it the checkpoint's whole path would be its name"
    found.append(Deviation(what=f"--served-model-name {request.served_name} is added", why=why, source=MANUAL))
    if request.host != "0.0.0.0":  # noqa: S104 - the manual's value, compared with
        why = "a gate's server is for this machine alone"
        found.append(Deviation(what=f"--host {request.host} instead of 0.0.0.0", why=why, source=MANUAL))
    port = 8806 if request.traits.mla else 8888
    if request.port != port:
        why = "it is the target's serve.port (0 stands for a free one), or was asked for"
        found.append(Deviation(what=f"--port {request.port} instead of {port}", why=why, source=MANUAL))
    many = bool(request.traits.mla or request.traits.moe)
    if many and size != CARDS:
        why = f"it is the target's or the command's; --tp {CARDS} is the template's"
        found.append(Deviation(what=f"--tensor-parallel-size {size} instead of {CARDS}", why=why, source=MANUAL))
    if request.max_model_len is None and "max-model-len" not in request.args:
        length = 32768 if many else 8192
        why = "the model's own length is tried; --max-model-len sets another"
        found.append(Deviation(what=f"--max-model-len {length} is left out", why=why, source=MANUAL))
    return found
