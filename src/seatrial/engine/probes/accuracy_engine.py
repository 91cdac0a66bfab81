"""The engine in its own interpreter, without a server: greedy answers with log-probabilities, modules watched.

Request: `{"checkpoint", "dtype", "tp", "max_model_len", "args", "prompts": [{"text", "image"}], "max_tokens", "top",
"patch", "capture", "keep"}`. `image` is a PNG in base64 or "". `args` are more engine arguments. `patch` names a Python
file that defines `patch(model)`, called on the loaded model before anything is asked; what it returns, if callable,
undoes it afterwards. `capture` names a folder that receives slices of every module's output during the first prompt's
prefill (see `accuracy_watch.py`). `keep` leaves the engine loaded for a call with the same settings.
Answer: `{"answers": [{"prompt_ids", "tokens", "prompt_top", "top"}], "modules": [...],
"watched": {"prompt_ids", "tokens"}, "dtype", "engine", "load_s",
"ask_s"}`; `top` rows are `{token id: log-probability}` (JSON makes the ids strings), None where there is none.
"""

import base64
import contextlib
import io
import os
import sys
import time

STASH = "seatrial_probe_accuracy_stash"  # a module name under which the loaded engine outlives one call


def probe(request, progress):
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"  # functions of ours go to our own worker processes
    began = time.monotonic()
    llm = _engine(request, progress)
    loaded = time.monotonic()
    undo = _patched(llm, request.get("patch"))
    _forget_images(llm)
    modules, watched = [], {}
    try:
        if request.get("capture"):
            progress("watching one prefill and one decode step")
            modules, watched = _captured(llm, request)
        progress("asking")
        answers = [_read(row) for row in _ask(llm, request)] if request["max_tokens"] else []
    finally:
        if undo is not None:
            undo()
        if not request.get("keep"):
            _drop()
    import vllm

    return {
        "answers": answers,
        "modules": modules,
        "watched": watched,
        "dtype": str(llm.llm_engine.model_config.dtype).replace("torch.", ""),
        "engine": vllm.__version__,
        "load_s": loaded - began,
        "ask_s": time.monotonic() - loaded,
    }


def _engine(request, progress):
    key = repr([request[k] for k in ("checkpoint", "dtype", "tp", "max_model_len", "args")])
    stash = sys.modules.get(STASH)
    if stash is not None and stash.key == key:
        return stash.llm
    _drop()
    progress("importing the engine")
    from vllm import LLM

    progress("loading the model")
    settings = {
        "model": request["checkpoint"],
        "dtype": request["dtype"],
        "tensor_parallel_size": request["tp"],
        "max_model_len": request["max_model_len"] or None,
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "gpu_memory_utilization": 0.1,
        "max_num_seqs": 4,
        "max_logprobs": max(20, request["top"]),
        "disable_log_stats": True,
        "seed": 0,
    }
    settings.update(request["args"])
    llm = LLM(**settings)
    stash = type(sys)(STASH)
    stash.key, stash.llm = key, llm
    sys.modules[STASH] = stash
    return llm


def _drop():
    """End an engine that an earlier call left; its memory and its workers go."""
    stash = sys.modules.pop(STASH, None)
    if stash is None:
        return
    import gc

    from vllm.distributed import cleanup_dist_env_and_memory

    with contextlib.suppress(AttributeError):
        stash.llm.llm_engine.engine_core.shutdown()
    del stash.llm
    gc.collect()
    cleanup_dist_env_and_memory()


def _forget_images(llm):
    """A tower's output is kept by the picture's hash: what an earlier call saw would hide a fault of the tower."""
    for name in ("reset_mm_cache", "reset_encoder_cache"):
        forget = getattr(llm.llm_engine, name, None)
        if forget is not None:
            forget()


def _in_workers(llm, helper, name, *args):
    """`name(model, *args)` of the helper beside this file, in every rank; the answers by rank.

    The function goes to other processes by value, so it may use nothing of this module.
    """
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), helper + ".py")

    def call(worker):
        import importlib.util as util
        import sys as system

        full = "seatrial_probe_" + helper
        if full not in system.modules:
            spec = util.spec_from_file_location(full, path)
            module = util.module_from_spec(spec)
            system.modules[full] = module
            spec.loader.exec_module(module)
        return getattr(system.modules[full], name)(worker.get_model(), *args)

    return llm.collective_rpc(call)


def _patched(llm, file):
    if not file:
        return None
    undoes = _in_workers(llm, "accuracy_worker", "patch", file)
    return (lambda: _in_workers(llm, "accuracy_worker", "unpatch")) if any(undoes) else None


def _inputs(prompt):
    if not prompt["image"]:
        return {"prompt": prompt["text"]}
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(prompt["image"]))).convert("RGB")
    return {"prompt": prompt["text"], "multi_modal_data": {"image": image}}


def _ask(llm, request):
    from vllm import SamplingParams

    params = SamplingParams(
        temperature=0.0,
        max_tokens=request["max_tokens"],
        ignore_eos=True,
        logprobs=request["top"],
        prompt_logprobs=request["top"],
        detokenize=False,
    )
    return llm.generate([_inputs(p) for p in request["prompts"]], params, use_tqdm=False)


def _read(output):
    def rows(given):
        return [None if row is None else {int(k): float(v.logprob) for k, v in row.items()} for row in given or []]

    first = output.outputs[0]
    return {
        "prompt_ids": [int(t) for t in output.prompt_token_ids],
        "tokens": [int(t) for t in first.token_ids],
        "prompt_top": rows(output.prompt_logprobs),
        "top": rows(first.logprobs),
    }


def _captured(llm, request):
    """Hooks on, one prompt of two answered tokens (one decode step), hooks off; what was seen, call by call."""
    from vllm import SamplingParams

    _in_workers(llm, "accuracy_watch", "begin", request["capture"])  # each rank takes a folder of its own in it
    try:
        (output,) = llm.generate(
            [_inputs(request["prompts"][0])],
            SamplingParams(temperature=0.0, max_tokens=2, ignore_eos=True, detokenize=False),
            use_tqdm=False,
        )
    finally:
        seen = _in_workers(llm, "accuracy_watch", "end")
    watched = {"prompt_ids": list(output.prompt_token_ids), "tokens": list(output.outputs[0].token_ids)}
    return [dict(record, rank=rank) for rank, records in enumerate(seen) for record in records], watched
