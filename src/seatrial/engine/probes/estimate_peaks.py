"""Achievable peaks of the machine at hand: matrix product, copy, read. The collective is `estimate_collective`.

Request: `{"size": 2048, "seconds": 1.0, "dtypes": ["bfloat16", "float32"]}`. Answer: `{"device", "count", "matmul",
"copy", "read", "held", "versions"}`: operations per second by dtype (or why there is none), bytes per second read and
written by a copy of 256 MiB, and read by a sum over as much (more than any cache holds). Each is the best of the rounds
within `seconds`. `held` by figure, on a CPU: the share of the cores' time that the fastest round really had, 1.0 where
nothing else ran; on a device null.
"""

import time


def probe(request, progress):
    import torch

    kind = device_type(torch)
    device = torch.device(kind)
    size, seconds = int(request.get("size", 2048)), float(request.get("seconds", 1.0))
    answer = {
        "device": kind,
        "count": count_of(torch, kind),
        "matmul": {},
        "held": {},
        "versions": {"torch": torch.__version__},
    }
    for name in request.get("dtypes", ["bfloat16", "float32"]):
        progress("matrix product in " + name)
        try:
            dtype = getattr(torch, name)
            a = torch.randn(size, size, device=device).to(dtype)
            b = torch.randn(size, size, device=device).to(dtype)
            took, held = best(torch, kind, seconds, lambda a=a, b=b: torch.mm(a, b))
            answer["matmul"][name], answer["held"][name] = 2.0 * size**3 / took, held
        except Exception as exc:
            answer["matmul"][name] = f"{type(exc).__name__}: {exc}"
    progress("copy")
    source = torch.empty(1 << 28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    took, answer["held"]["copy"] = best(torch, kind, seconds, lambda: target.copy_(source))
    answer["copy"] = 2.0 * source.numel() / took
    progress("read")
    numbers = torch.ones(1 << 26, dtype=torch.float32, device=device)
    took, answer["held"]["read"] = best(torch, kind, seconds, lambda: torch.sum(numbers))
    answer["read"] = 4.0 * numbers.numel() / took
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
    """Seconds of the fastest round, after one to warm up, and the share of its threads' time that it had."""
    wait = (lambda: None) if kind == "cpu" else getattr(torch, kind).synchronize
    work()
    wait()
    fastest, held, ends = float("inf"), None, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        busy, began = time.process_time(), time.perf_counter()
        work()
        wait()
        took = time.perf_counter() - began
        if took < fastest:
            fastest = took
            if kind == "cpu":
                held = min(1.0, (time.process_time() - busy) / took / torch.get_num_threads())
    return fastest, held
