"""Dry run: the engine's own model class and `load_weights` on torch's meta device, from tensor names, shapes, dtypes.

Request (`seatrial.dryrun.request.DryRequest`): folder, tensors (columns), tp, pp, ep, full and sampled ranks, dtype,
quantization, trust_remote_code. Answer (`seatrial.dryrun.raw.RawDry`): per rank the moves from tensors to parameters.
Every rank is built in a forked child of this process, so a crash of one is a result of that rank only, and the engine
is imported once. Helpers lie beside this file (`dry_*.py`) and are loaded by path; the whole is split because one
file would pass 500 lines. Nothing is written into the checkpoint and nothing is fetched from a network.
"""

import gc
import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback


def sibling(name):
    """The helper `name.py` beside this file, loaded once."""
    full = "seatrial_probe_" + name
    if full not in sys.modules:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        spec = importlib.util.spec_from_file_location(full, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


def probe(request, progress):
    began = time.monotonic()
    arrange = sibling("dry_arrange")
    arrange.quiet_environment(request)
    if "vllm" not in sys.modules:
        progress("importing the engine")
    try:
        platform = arrange.import_engine(request)
    except Exception as exc:
        gap = sibling("dry_stubs").lacking(exc)
        if gap:
            raise RuntimeError(f"the plugin cannot be imported: seatrial's stubs lack {gap}") from exc
        raise
    imported = time.monotonic() - began
    answer = {"engine": arrange.engine_facts(), "platform": platform, "import_s": imported, "ranks": []}
    stubs = sibling("dry_stubs")
    if request.get("stubs"):
        answer["stubs"] = stubs.facts(request["stubs"])
    try:
        config = arrange.engine_config(request)
        arrange.warm(config)
    except Exception as exc:
        errors = sibling("dry_errors")
        answer["config_error"] = errors.describe(exc, stage="configure")
        if request.get("stubs"):
            answer["stubs"] = stubs.facts(request["stubs"])
        answer["total_s"] = time.monotonic() - began
        return answer
    answer["config"] = arrange.config_facts(config)
    answer["config_s"] = time.monotonic() - began - imported
    jobs = [(rank, "full") for rank in request["ranks"]] + [(rank, "sample") for rank in request["sample_ranks"]]
    answer["ranks"] = run_ranks(jobs, request, config, progress)
    answer["total_s"] = time.monotonic() - began
    return answer


def run_ranks(jobs, request, config, progress):
    """Each (rank, how) in a forked child, `request["workers"]` at a time; results in the order of `jobs`."""
    for name in (
        "dry_watch",
        "dry_model",
        "dry_errors",
        "dry_drops",
        "dry_values",
        "dry_expressions",
        "dry_statements",
        "dry_reader",
        "dry_ops",
        "dry_rank",
    ):
        sibling(name)  # once here, not in every child
    gc.collect()
    gc.freeze()  # the children share these pages; a collection in a child would copy them all
    folder = tempfile.mkdtemp(prefix="seatrial-dry-")
    waiting = list(enumerate(jobs))
    running = {}
    results = {}
    try:
        while waiting or running:
            while waiting and len(running) < max(1, request.get("workers", 1)):
                index, (rank, how) = waiting.pop(0)
                path = os.path.join(folder, str(index))
                sys.stdout.flush()
                sys.stderr.flush()
                pid = os.fork()
                if pid == 0:
                    child(path, rank, how, request, config, progress)
                running[pid] = (index, rank, how, path)
            pid, status = os.wait()
            if pid not in running:
                continue
            index, rank, how, path = running.pop(pid)
            results[index] = collect(path, rank, how, status)
            progress(f"rank {rank} done ({len(results)} of {len(jobs)})")
    finally:
        gc.unfreeze()
        for pid in running:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    return [results[index] for index in sorted(results)]


def child(path, rank, how, request, config, progress):
    code = 1
    gc.disable()
    try:
        result = sibling("dry_rank").run(rank, how, request, config, progress)
        with open(path + ".part", "w") as stream:
            stream.write(json.dumps(result))
        os.replace(path + ".part", path)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def collect(path, rank, how, status):
    code = os.waitstatus_to_exitcode(status)
    if os.path.exists(path):
        with open(path) as stream:
            return json.load(stream)
    return {"rank": rank, "how": how, "crashed": code}
