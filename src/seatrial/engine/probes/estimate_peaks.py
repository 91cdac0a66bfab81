"""Achievable peaks of the machine at hand: matrix product, copy, read. The collective is `estimate_collective`.

Request: `{"size": 2048, "seconds": 1.0, "dtypes": ["bfloat16", "float32"]}`. Answer: `{"device", "count", "matmul",
"copy", "read", "versions"}`: operations per second by dtype (or why there is none), bytes per second read and written
by a copy of 256 MiB, and read by a sum over as much (more than any cache holds). Each figure is the best of the rounds
within `seconds`.
"""

import time


def probe(request, progress):
    import torch

    kind = device_type(torch)
    device = torch.device(kind)
    size, seconds = int(request.get("size", 2048)), float(request.get("seconds", 1.0))
    answer = {"device": kind, "count": count_of(torch, kind), "matmul": {}, "versions": {"torch": torch.__version__}}
    for name in request.get("dtypes", ["bfloat16", "float32"]):
        progress("matrix product in " + name)
        try:
            dtype = getattr(torch, name)
            a = torch.randn(size, size, device=device).to(dtype)
            b = torch.randn(size, size, device=device).to(dtype)
            answer["matmul"][name] = 2.0 * size**3 / best(torch, kind, seconds, lambda a=a, b=b: torch.mm(a, b))
        except Exception as exc:
            answer["matmul"][name] = f"{type(exc).__name__}: {exc}"
    progress("copy")
    source = torch.empty(1 << 28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    answer["copy"] = 2.0 * source.numel() / best(torch, kind, seconds, lambda: target.copy_(source))
    progress("read")
    numbers = torch.ones(1 << 26, dtype=torch.float32, device=device)
    answer["read"] = 4.0 * numbers.numel() / best(torch, kind, seconds, lambda: torch.sum(numbers))
    return answer


def device_type(torch):
    for name in ("npu", "cuda", "xpu"):
        module = getattr(torch, name, None)
        if module is not None and module.is_available():
            return name
    return "cpu"


def count_of(torch, kind):
    return 1 if kind == "cpu" else getattr(torch, kind).device_count()


def best(torch, kind, seconds, work):
    """Seconds of the fastest round, after one to warm up."""
    wait = (lambda: None) if kind == "cpu" else getattr(torch, kind).synchronize
    work()
    wait()
    fastest, ends = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < ends:
        began = time.perf_counter()
        work()
        wait()
        fastest = min(fastest, time.perf_counter() - began)
    return fastest
