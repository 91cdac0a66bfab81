"""The load generator: sends a `Plan` to a service, closed or open loop, and keeps every request.

Open loop: a request is sent when it is due, whatever became of those before it, and its latency runs from that time
(no coordinated omission). Closed loop: a request takes the place of one that ended. The run ends early, and says so
(`partial`), when a signal comes, the service is gone, the file of records cannot be written, or the clock cannot be
trusted. One thread, one event loop; the cycle collector is off while requests fly.
More than 250 lines: one run is one state (connections, requests under way, why it ended) that every method touches.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.measure.load.answer import Exchange
from seatrial.measure.load.clocks import read_clocks, step_between, was_set
from seatrial.measure.load.connection import Connection
from seatrial.measure.load.dataset import Plan, Planned
from seatrial.measure.load.records import How, RequestRecord, Sink
from seatrial.measure.load.timer import Timer

LARGEST_POOL = 4096  # open connections; more in flight than this wait, and it is said
GONE_AFTER = 20  # this many requests in a row refused or cut: the service is gone


class Service(Record):
    """Where to send: `url` of the server (http or https, no path), and the model's name there.

    `ca`: a file of certificates that alone are trusted behind https; without one the system's are. `key`: what the
    service lets its callers in by; it is in every request's header and in no record.
    """

    url: str
    model: str
    ca: str = ""
    key: str = ""


class LoadRun(Record):
    """What was seen. `partial` is empty for a complete run, else why it is not one.

    `late_p99_s`: how late the generator itself was in sending what was due (p99); `cpu_share` its use of one core.
    `clock_step_s`: by how much the wall clock left the monotonic one. `origin_unix` is the wall time of zero.
    """

    records: tuple[RequestRecord, ...]
    planned: int
    duration_s: float
    partial: str
    signal: int = 0
    late_p99_s: float | None = None
    cpu_share: float = 0.0
    clock_step_s: float = 0.0
    timer_exact: bool = True
    most_connections: int = 0
    origin_unix: float = 0.0


class Address(Record):
    host: str
    port: int
    is_tls: bool
    prefix: str


def address(url: str) -> Address:
    """Host, port and path prefix of a service's URL; a trailing /v1 is taken off. Raises UsageError."""
    mend = "Give it as http://HOST:PORT."
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise UsageError(f"the service {url!r} is no URL: {exc}", mend=mend) from exc
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise UsageError(f"the service {url!r} is no http(s) URL of a host", mend=mend)
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    is_tls = parts.scheme == "https"
    return Address(host=parts.hostname, port=port or (443 if is_tls else 80), is_tls=is_tls, prefix=prefix)


def trusted(where: Address, ca: str) -> ssl.SSLContext | None:
    """What a server behind https is trusted by; None for plain http. Raises UsageError for a file that is none."""
    if not where.is_tls:
        if ca:
            raise UsageError("--ca is for a service behind https", mend="Leave it out, or give an https URL.")
        return None
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as exc:
        raise UsageError(f"{ca} holds no certificate: {exc.strerror or exc}", mend="Give a PEM file to --ca.") from exc


def drive(
    service: Service,
    plan: Plan,
    *,
    concurrency: int,
    timeout_s: float,
    sink: Path | None = None,
    alive: Callable[[], bool] = lambda: True,
    say: Callable[[str], None] = lambda text: None,
    warmed: Callable[[], None] = lambda: None,
) -> LoadRun:
    """Send the plan's warm-up, then its requests; `concurrency` 0 means open loop at `plan.arrivals_s`.

    `sink` receives each record as it comes. `alive` is asked once a second. `warmed` is called between the warm-up and
    the first measured request, while nothing flies. SIGINT and SIGTERM end the run as partial.
    """
    return asyncio.run(_Generator(service, plan, concurrency, timeout_s, sink, alive, say, warmed).run())


class _Generator:
    def __init__(
        self,
        service: Service,
        plan: Plan,
        concurrency: int,
        timeout_s: float,
        sink: Path | None,
        alive: Callable[[], bool],
        say: Callable[[str], None],
        warmed: Callable[[], None],
    ) -> None:
        self.plan, self.concurrency, self.timeout_s = plan, concurrency, timeout_s
        self.alive, self.say, self.warmed = alive, say, warmed
        self.where = address(service.url)
        self.key = service.key
        extra = f"Authorization: Bearer {service.key}\r\n" if service.key else ""
        self.head = (
            f"POST {self.where.prefix}{plan.path} HTTP/1.1\r\nHost: {self.where.host}:{self.where.port}\r\n"
            f"Content-Type: application/json\r\nAccept: text/event-stream, application/json\r\n{extra}Content-Length: "
        ).encode()
        self.tls = trusted(self.where, service.ca)
        self.sink_file = sink
        self.sink: Sink | None = None
        self.idle: deque[Connection] = deque()
        self.open = 0
        self.most_open = 0
        self.pool = asyncio.Semaphore(LARGEST_POOL)
        self.records: list[RequestRecord] = []
        self.partial = ""
        self.signal = 0
        self.broken_in_a_row = 0
        self.stopping = asyncio.Event()
        self.under_way: set[Exchange] = set()
        self.origin = 0.0
        self.timer_exact = True

    async def run(self) -> LoadRun:
        loop = asyncio.get_running_loop()
        if self.sink_file is not None:
            self.sink = Sink(self.sink_file)
        watcher = asyncio.ensure_future(self._watch())
        clocks = read_clocks()
        self.origin = clocks.monotonic
        with self._signals(loop), _no_collector():
            if self.plan.warmup and not await self._closed(self.plan.warmup, max(1, self.concurrency), warmup=True):
                self._stop(self.partial or "the warm-up did not finish")
            if not self.stopping.is_set():
                # In a thread, so that a signal is still heard while a server is slow to answer.
                await asyncio.to_thread(self.warmed)
            began, cpu = time.monotonic(), time.process_time()
            if not self.stopping.is_set():
                self.say(f"sending {len(self.plan.requests)} requests")
                if self.concurrency:
                    await self._closed(self.plan.requests, self.concurrency, warmup=False)
                else:
                    await self._open()
            ended = time.monotonic()
            cpu = time.process_time() - cpu
        watcher.cancel()
        self._close_all()
        clocks_then = read_clocks()
        step = step_between(clocks, clocks_then)
        if was_set(clocks, clocks_then):
            self._stop(f"the wall clock was set by {step:+.3f} s during the run")
        measured = [r for r in self.records if not r.warmup]
        if not self.partial and len(measured) < len(self.plan.requests):
            self._stop(f"{len(measured)} of {len(self.plan.requests)} requests were sent")
        return LoadRun(
            records=tuple(sorted(self.records, key=lambda r: (not r.warmup, r.index))),
            planned=len(self.plan.requests),
            duration_s=ended - began,
            partial=self.partial,
            signal=self.signal,
            late_p99_s=late_p99_of(measured),
            cpu_share=cpu / (ended - began) if ended > began else 0.0,
            clock_step_s=step,
            timer_exact=self.timer_exact,
            most_connections=self.most_open,
            origin_unix=clocks.wall,
        )

    def _stop(self, reason: str) -> None:
        self.partial = self.partial or reason
        self.stopping.set()
        for exchange in list(self.under_way):
            exchange.finish("stopped", time.monotonic(), reason)

    @contextlib.contextmanager
    def _signals(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """A signal ends the run instead of the program, so that what was measured is kept."""
        taken = []

        def caught(number: int) -> None:
            self.signal = number
            self._stop(f"stopped by {signal.Signals(number).name}")

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Outside of the main thread signals are somebody else's.
            with contextlib.suppress(ValueError, RuntimeError):
                before = signal.getsignal(number)
                loop.add_signal_handler(number, caught, number)
                taken.append((number, before))
        try:
            yield
        finally:
            for number, before in taken:
                loop.remove_signal_handler(number)
                signal.signal(number, before)

    async def _watch(self) -> None:
        """Once a second: does the service live?"""
        while True:
            await asyncio.sleep(1.0)
            if not self.alive():
                self._stop(f"the service died after {len(self.records)} requests")
                return

    def _guarded(self, act: Callable[[Sink], None]) -> None:
        """Something with the file of records; a disk that is full ends the run, not the program."""
        if self.sink is None:
            return
        try:
            act(self.sink)
        except OSError as exc:
            self.sink.close()
            self.sink = None
            self._stop(f"the records cannot be written any more: {exc.strerror or exc}")

    async def _closed(self, requests: tuple[Planned, ...], concurrency: int, *, warmup: bool) -> bool:
        """Keep `concurrency` requests in flight; were all sent and ended?"""
        queue = iter(enumerate(requests))

        async def place() -> None:
            for index, planned in queue:
                if self.stopping.is_set():
                    return
                await self._one(index, planned, time.monotonic(), warmup)

        await asyncio.gather(*(place() for _ in range(min(concurrency, len(requests)))))
        return not self.stopping.is_set()

    async def _open(self) -> None:
        """Start each request when it is due."""
        loop = asyncio.get_running_loop()
        rang = asyncio.Event()
        timer = Timer(loop, rang.set)
        self.timer_exact = timer.exact
        tasks: set[asyncio.Task[None]] = set()
        # A moment to arm the timer, so that the first request is not late by construction.
        zero = time.monotonic() + 0.01
        try:
            for index, (planned, due) in enumerate(zip(self.plan.requests, self.plan.arrivals_s, strict=True)):
                at = zero + due
                while time.monotonic() < at and not self.stopping.is_set():
                    rang.clear()
                    timer.set(at)
                    stop = asyncio.ensure_future(self.stopping.wait()) if at - time.monotonic() > 0.5 else None
                    if stop is None:
                        await rang.wait()
                    else:
                        ring = asyncio.ensure_future(rang.wait())
                        await asyncio.wait({stop, ring}, return_when=asyncio.FIRST_COMPLETED)
                        stop.cancel()
                        ring.cancel()
                if self.stopping.is_set():
                    break
                task = loop.create_task(self._one(index, planned, at, False))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            while tasks:
                await asyncio.wait(set(tasks))
        finally:
            timer.close()

    async def _one(self, index: int, planned: Planned, intended: float, warmup: bool) -> None:
        """One request from its due time to its record."""
        exchange = Exchange(index, planned, warmup=warmup, intended=intended, origin=self.origin, secret=self.key)
        self.under_way.add(exchange)
        limit = asyncio.get_running_loop().call_later(self.timeout_s, self._too_late, exchange)
        request = b"%s%d\r\n\r\n%s" % (self.head, len(planned.body), planned.body)
        async with self.pool:
            try:
                await self._talk(exchange, request, self._idle())
                if exchange.is_stale:
                    # The server had closed a kept connection before it saw the request: once more, on a new one.
                    exchange.again()
                    await self._talk(exchange, request, None)
            finally:
                limit.cancel()
                self.under_way.discard(exchange)
        self._keep(exchange)

    async def _talk(self, exchange: Exchange, request: bytes, connection: Connection | None) -> None:
        connection = connection or await self._connect(exchange)
        if connection is None:
            return
        if exchange.record is None:
            exchange.sent = exchange.sent or time.monotonic()
            connection.send(request, exchange)
            await exchange.done.wait()
        if connection.is_open and connection.waiting is None and connection.keeps:
            self.idle.append(connection)
        else:
            connection.close()
            self.open -= 1

    def _idle(self) -> Connection | None:
        while self.idle:
            connection = self.idle.pop()
            if connection.is_open:
                return connection
            self.open -= 1
        return None

    async def _connect(self, exchange: Exchange) -> Connection | None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                Connection, self.where.host, self.where.port, ssl=self.tls, server_hostname=None
            )
        except (OSError, ssl.SSLError) as exc:
            exchange.finish("refused", time.monotonic(), f"no connection: {exc.strerror or exc}")
            return None
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return connection

    def _too_late(self, exchange: Exchange) -> None:
        exchange.finish("timed-out", time.monotonic(), f"no complete answer within {self.timeout_s:g} s")

    def _keep(self, exchange: Exchange) -> None:
        record = exchange.record
        if record is None:
            return
        self.records.append(record)
        self._guarded(lambda sink: sink.add(record))
        broken: tuple[How, ...] = ("refused", "cut")
        self.broken_in_a_row = self.broken_in_a_row + 1 if record.how in broken else 0
        if self.broken_in_a_row >= max(GONE_AFTER, 2 * self.concurrency) and not self.stopping.is_set():
            why = f"{self.broken_in_a_row} requests in a row failed, the last: {record.error}"
            self._stop(f"the service is gone: {why}")

    def _close_all(self) -> None:
        for connection in self.idle:
            connection.close()
        self._guarded(Sink.close)


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """No collection in the middle of a request: a full one takes tens of milliseconds."""
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()


def late_p99_of(records: Sequence[RequestRecord]) -> float | None:
    """How late the requests were handed over (p99, seconds); None if none was."""
    late = sorted(r.sent_s - r.intended_s for r in records if r.sent_s is not None)
    return late[min(len(late) - 1, int(len(late) * 0.99))] if late else None
