"""What the load generator adds to each latency, against the server's own clock, beside httpx and aiohttp.

`python bench/bench_generator.py [--rate 2000] [--requests 10000] [--repeats 5] [--realtime] [--libraries]`. An open
loop at a constant rate against tests/measure/fast_server.py, which stamps when a request was read whole and when its
last byte had been handed to the kernel, on the same CLOCK_MONOTONIC. Added = (end - intended send) at the client less
(last byte - read) at the server: scheduling, connection and both kernels are in it. Must hold: p99 under 1 ms at 2,000
requests/s on two cores. `--realtime` gives both processes SCHED_RR (root) and a core each: what an idle machine would
be like when others share this one. After every repeat of ours the same requests go at the same rate to the same server
from `floor`: an asyncio protocol that writes bytes made before, looks for the end of the answer and keeps one time; no
parsing, no pool, no record. Its added time is the host's, both kernels' and asyncio's alone, by the same formula. Read
the two together: where the floor's p99 is near or above a millisecond, the host takes the cores away and a p99 of ours
says nothing about the generator; what the generator adds is ours less the floor, repeat by repeat. `--libraries`
drives 1,000 requests in a closed loop of 8 through each client and prints CPU a request.

Seen on an idle machine (two cores, load average 0.3), not realtime, median of five repeats: at 1,996 requests/s added
p50 0.062 ms, p99 0.158 ms: it holds. Seen on two shared cores at load average 20, --realtime, seven repeats: added p50
0.12 ms, p90 0.15 ms, p99 0.40 ms (medians; single p99s 0.18 to 0.80, and one repeat of 67 ms in which the machine stood
still), 28 % of a core. CPU a request: httpx 711 µs (so at most 1,400 requests/s on a core), aiohttp 75 µs, this
generator 60 µs with every piece stamped and parsed; so the generator is its own code on asyncio's transports and needs
no library.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from seatrial.measure.load.dataset import Plan, make_plan
from seatrial.measure.load.generator import Service, drive
from seatrial.measure.load.timer import Timer
from seatrial.measure.load.workload import Dataset, Load, Workload

ROOT = Path(__file__).resolve().parents[1]


def server() -> tuple[subprocess.Popen[bytes], str]:
    process = subprocess.Popen([sys.executable, str(ROOT / "tests/measure/fast_server.py")], stdout=subprocess.PIPE)
    if os.sched_getscheduler(0) == os.SCHED_RR:
        os.sched_setaffinity(process.pid, {0})
    assert process.stdout is not None
    return process, f"http://127.0.0.1:{int(process.stdout.readline())}"


def workload(requests: int, rate: float, concurrency: int) -> Workload:
    return Workload(
        schema_version=1,
        name="bench",
        dataset=Dataset(input_tokens=16, output_tokens=8),
        load=Load(requests=requests, warmup=200, rate=rate, concurrency=concurrency, arrivals="constant", timeout_s=30),
    )


class Sent:
    """What either client says of its requests: when each was due and ended, how late sends were, its use of a core."""

    def __init__(self, spans: dict[int, tuple[float, float]], seconds: float, cpu: float, late: float) -> None:
        self.spans, self.seconds, self.cpu, self.late = spans, seconds, cpu, late


def ours(url: str, plan: Plan) -> Sent:
    run = drive(Service(url=url, model="stand-in"), plan, concurrency=0, timeout_s=30)
    kept = [r for r in run.records if not r.warmup]
    assert all(r.how == "ok" for r in kept), next(r for r in kept if r.how != "ok")
    spans = {r.index: (r.intended_s, r.end_s) for r in kept}
    return Sent(spans, run.duration_s, run.cpu_share, run.late_p99_s or 0.0)


class Bare(asyncio.Protocol):
    """One connection: bytes out, and the time when the answer's last chunk was there."""

    def __init__(self, ended: Callable[[Bare, float], None]) -> None:
        self.ended, self.tail = ended, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, request: bytes) -> None:
        self.tail = b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.tail = (self.tail + data)[-5:]
        if self.tail == b"0\r\n\r\n":
            self.ended(self, time.monotonic())


def floor(url: str, plan: Plan) -> Sent:
    return asyncio.run(_floor(urlsplit(url).port or 80, plan))


async def _floor(port: int, plan: Plan) -> Sent:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    idle: list[Bare] = []
    number: dict[Bare, int] = {}
    last = len(plan.warmup) - 1
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: " % plan.path.encode()
    requests = [head + b"%d\r\n\r\n%s" % (len(p.body), p.body) for p in (*plan.warmup, *plan.requests)]
    sent, ends = [0.0] * len(requests), [0.0] * len(requests)

    left = len(plan.requests)

    def ended(connection: Bare, at: float) -> None:
        nonlocal left
        index = number[connection]
        ends[index] = at
        idle.append(connection)
        left -= index > last
        if index <= last or not left:
            done.set()

    async def begin(index: int) -> None:
        connection = idle.pop() if idle else (await loop.create_connection(lambda: Bare(ended), "127.0.0.1", port))[1]
        number[connection] = index
        sent[index] = time.monotonic()
        connection.send(requests[index])

    for index in range(len(plan.warmup)):
        done.clear()
        await begin(index)
        await done.wait()
    done.clear()
    gc.collect()
    gc.disable()
    rang, zero, cpu = asyncio.Event(), time.monotonic() + 0.01, time.process_time()
    timer, due = Timer(loop, rang.set), [zero + s for s in plan.arrivals_s]
    tasks: set[asyncio.Task[None]] = set()
    for index, at in enumerate(due, start=last + 1):
        while time.monotonic() < at:
            rang.clear()
            timer.set(at)
            await rang.wait()
        tasks.add(task := loop.create_task(begin(index)))
        task.add_done_callback(tasks.discard)
    await done.wait()
    seconds, cpu = time.monotonic() - zero, time.process_time() - cpu
    timer.close()
    gc.enable()
    late = sorted(s - at for s, at in zip(sent[last + 1 :], due, strict=True))
    spans = dict(enumerate(zip(due, ends[last + 1 :], strict=True)))
    return Sent(spans, seconds, cpu / seconds, late[int(len(late) * 0.99)])


def once(client: Callable[[str, Plan], Sent], rate: float, requests: int) -> dict[str, float]:
    process, url = server()
    try:
        plan = make_plan(workload(requests, rate, 0), "stand-in")
        run = client(url, plan)
        times = json.loads(urllib.request.urlopen(f"{url}/times").read())
    finally:
        process.kill()
        process.wait()
    added = []
    for index, (due, end) in run.spans.items():
        read, _, _, last = times[hashlib.md5(plan.requests[index].body).hexdigest()]
        added.append((end - due - (last - read)) * 1e3)
    added.sort()
    count = len(added)
    return {
        "rate": count / run.seconds,
        "p50": added[count // 2],
        "p90": added[int(count * 0.9)],
        "p99": added[int(count * 0.99)],
        "max": added[-1],
        "cpu": run.cpu,
        "late p99": run.late * 1e3,
    }


async def by_httpx(url: str, bodies: list[bytes], at_once: int) -> None:
    import httpx

    queue = iter(bodies)
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=at_once), timeout=30) as client:

        async def place() -> None:
            for body in queue:
                headers = {"content-type": "application/json"}
                async with client.stream("POST", f"{url}/v1/completions", content=body, headers=headers) as reply:
                    async for _ in reply.aiter_bytes():
                        pass

        await asyncio.gather(*(place() for _ in range(at_once)))


async def by_aiohttp(url: str, bodies: list[bytes], at_once: int) -> None:
    import aiohttp

    queue = iter(bodies)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as client:

        async def place() -> None:
            for body in queue:
                async with client.post(f"{url}/v1/completions", data=body) as reply:
                    async for _ in reply.content.iter_any():
                        pass

        await asyncio.gather(*(place() for _ in range(at_once)))


def libraries() -> None:
    print("client              requests/s   CPU a request (this process)")
    plan = make_plan(workload(1000, 0.0, 8), "stand-in")
    bodies = [p.body for p in plan.requests]
    clients = {
        "httpx": lambda url: asyncio.run(by_httpx(url, bodies, 8)),
        "aiohttp": lambda url: asyncio.run(by_aiohttp(url, bodies, 8)),
        "seatrial": lambda url: drive(Service(url=url, model="stand-in"), plan, concurrency=8, timeout_s=30),
    }
    for name, run in clients.items():
        spent, took = [], []
        for _ in range(3):
            process, url = server()
            try:
                began, cpu = time.monotonic(), time.process_time()
                run(url)
                took.append(time.monotonic() - began)
                spent.append(time.process_time() - cpu)
            except ImportError as exc:
                print(f"{name:18}  not installed: {exc}")
                break
            finally:
                process.kill()
                process.wait()
        if took:
            # seatrial's own figure includes its warm-up of 200 requests and every chunk's time and parsing.
            count = 1200 if name == "seatrial" else 1000
            print(
                f"{name:18}  {count / statistics.median(took):10.0f}   {statistics.median(spent) / count * 1e6:8.0f} µs"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--libraries", action="store_true")
    asked = parser.parse_args()
    if asked.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
    print(f"cores {os.cpu_count()}, load average {os.getloadavg()[0]:.1f}, realtime {asked.realtime}")
    if asked.libraries:
        libraries()
        return
    rows: dict[str, list[dict[str, float]]] = {"ours": [], "floor": []}
    for _ in range(asked.repeats):
        for name, client in (("ours", ours), ("floor", floor)):
            row = once(client, asked.rate, asked.requests)
            if not rows["ours"]:
                print("             " + "".join(f"{column:>10}" for column in row) + "   (added, ms)")
            rows[name].append(row)
            print(f"{name:13}" + "".join(f"{value:10.3f}" for value in row.values()))
    for name, found in rows.items():
        print(f"{name} median".ljust(13) + "".join(f"{statistics.median(r[n] for r in found):10.3f}" for n in found[0]))
    pairs = list(zip(rows["ours"], rows["floor"], strict=True))
    print("ours - floor ".ljust(13) + "".join(f"{statistics.median(a[n] - b[n] for a, b in pairs):10.3f}" for n in row))
    print(f"load average afterwards {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
