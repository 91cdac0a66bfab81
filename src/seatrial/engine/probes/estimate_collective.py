"""All-reduce between processes: one per device, or two on the CPU. What a device sends per second, at best.

Request: `{"size": 67108864, "seconds": 1.0, "processes": 2, "timeout_s": 120}` (`size` in bytes; `processes` counts on
the CPU only). Answer: `{"backend", "processes", "size", "seconds", "bandwidth"}`: seconds of the fastest round, and
2 (n-1)/n * size / seconds, the bytes that a ring all-reduce has each rank send. Or `{"why": ...}`. The slowest rank
counts in each round. This file is also the rank's program: `python estimate_collective.py FOLDER RANK`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

BACKENDS = {"cpu": "gloo", "cuda": "nccl", "npu": "hccl", "xpu": "xccl"}


def probe(request, progress):
    import torch

    kind = device_type(torch)
    count = int(request.get("processes", 2)) if kind == "cpu" else getattr(torch, kind).device_count()
    if count < 2:
        return {"why": "one device: there is no other to reduce with"}
    order = {
        "kind": kind, "backend": BACKENDS[kind], "processes": count, "size": int(request.get("size", 1 << 26)),
        "seconds": float(request.get("seconds", 1.0)),
    }  # fmt: skip
    progress("all-reduce between {} processes by {}".format(count, order["backend"]))
    with tempfile.TemporaryDirectory(prefix="seatrial-") as folder:
        with open(os.path.join(folder, "order.json"), "w", encoding="utf-8") as stream:
            json.dump(order, stream)
        return gather(folder, order, float(request.get("timeout_s", 120)))


def gather(folder, order, timeout_s):
    ends = time.monotonic() + timeout_s
    ranks = [
        subprocess.Popen([sys.executable, os.path.abspath(__file__), folder, str(rank)], stdin=subprocess.DEVNULL)
        for rank in range(order["processes"])
    ]
    try:
        for number, process in enumerate(ranks):
            code = process.wait(timeout=max(0.1, ends - time.monotonic()))
            if code:
                return {"why": f"rank {number} ended with exit code {code}; its error is in the log"}
    except subprocess.TimeoutExpired:
        return {"why": f"no answer within {timeout_s:g} s"}
    finally:
        for process in ranks:
            if process.poll() is None:
                process.kill()
                process.wait()
    with open(os.path.join(folder, "answer.json"), encoding="utf-8") as stream:
        fastest = json.load(stream)
    count, size = order["processes"], order["size"]
    return {
        "backend": order["backend"], "processes": count, "size": size, "seconds": fastest,
        "bandwidth": 2 * (count - 1) / count * size / fastest,
    }  # fmt: skip


def device_type(torch):
    for name in ("npu", "cuda", "xpu"):
        module = getattr(torch, name, None)
        if module is not None and module.is_available():
            return name
    return "cpu"


def rank_main(folder, rank):
    with open(os.path.join(folder, "order.json"), encoding="utf-8") as stream:
        order = json.load(stream)
    import torch
    import torch.distributed as dist

    kind, count = order["kind"], order["processes"]
    if kind == "npu":
        import torch_npu  # noqa: F401
    device = torch.device(kind if kind == "cpu" else f"{kind}:{rank}")
    if kind != "cpu":
        getattr(torch, kind).set_device(device)
    dist.init_process_group(
        order["backend"], init_method="file://" + os.path.join(folder, "meeting"), rank=rank, world_size=count
    )
    data = torch.ones(order["size"] // 4, dtype=torch.float32, device=device)
    wait = (lambda: None) if kind == "cpu" else getattr(torch, kind).synchronize
    dist.all_reduce(data)
    wait()
    if abs(float(data[0]) - count) > 1e-3 or abs(float(data[-1]) - count) > 1e-3:
        raise SystemExit("the sum is wrong: nothing was measured")
    fastest, total, more = float("inf"), 0.0, True
    while more:
        data.fill_(1.0)
        dist.barrier()
        began = time.perf_counter()
        dist.all_reduce(data)
        wait()
        # A round takes as long as its slowest rank; all ranks learn it, and so all stop together.
        took = torch.tensor([time.perf_counter() - began], dtype=torch.float32, device=device)
        dist.all_reduce(took, op=dist.ReduceOp.MAX)
        fastest, total = min(fastest, float(took[0])), total + float(took[0])
        more = total < order["seconds"]
    if rank == 0:
        with open(os.path.join(folder, "answer.json"), "w", encoding="utf-8") as stream:
            json.dump(fastest, stream)
    dist.destroy_process_group()


if __name__ == "__main__":
    rank_main(sys.argv[1], int(sys.argv[2]))
