"""A server for the time of a measurement: started through the gate and stopped by it, or one that already runs.

In: a checkpoint and a target, or a URL. Out: what `use` gave back. Refuses (EngineError): a server that does not get
ready, with the gate's own reason; a URL that is not HTTP.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from seatrial.core.errors import EngineError, UsageError
from seatrial.core.record import Record, replace
from seatrial.core.step import StepResult
from seatrial.gates.client import Client
from seatrial.gates.exchange import exchange
from seatrial.gates.plan import gate_plan
from seatrial.gates.ports import free_port
from seatrial.gates.runner import gate
from seatrial.targets import Target

T = TypeVar("T")
TIMEOUT_S = 600.0
EVERY_S, REFUSED = 5.0, 2  # a port that refused so often, so far apart, is closed
LOOK_S = 30.0  # for /health and its like, which a server that is alive answers at once


class Address(Record):
    """Where a server answers."""

    host: str
    port: int
    model: str

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


def address(url: str, model: str) -> Address:
    """From `http://host:port`; raises UsageError for anything else."""
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError as exc:
        raise UsageError(f"{url!r} is no URL: {exc}", mend="Give http://HOST:PORT.") from exc
    if parts.scheme != "http" or not host:
        raise UsageError(f"{url!r} is no http URL", mend="Give http://HOST:PORT.")
    return Address(host=host, port=port, model=model)


def demand_own_server(url: str | None, *, tp: int | None, max_model_len: int | None, model: str | None) -> None:
    """Raises UsageError for what only a server that is started here could be given, and for a name without a URL."""
    given = [flag for flag, value in (("--tp", tp), ("--max-model-len", max_model_len)) if value is not None]
    if url and given:
        raise UsageError(
            f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} for a server that is started here: "
            f"the one at {url} runs as it was started",
            mend=f"Leave out {' and '.join(given)}, or --url.",
        )
    if model and not url:
        raise UsageError("--model is the name at --url", mend="Give --url too, or leave out --model.")


class Listening:
    """Does the server still take connections? Asked while an answer is waited for, every `every_s` seconds.

    A server that is stopping takes none, though it keeps those it has: vLLM 0.32 ends its engine first and then waits
    for the answers under way, which nobody gives any more. Whoever waits for such an answer holds the server up too.
    """

    def __init__(self, place: Address, every_s: float) -> None:
        self.place, self.every_s = place, every_s
        self.due, self.refused = time.monotonic() + every_s, 0

    def __call__(self) -> bool:
        if time.monotonic() >= self.due:
            try:
                socket.create_connection((self.place.host, self.place.port), timeout=2.0).close()
                self.refused = 0
            except ConnectionRefusedError:
                self.refused += 1
            except OSError:
                pass  # busy is not gone
            self.due = time.monotonic() + self.every_s
        return self.refused < REFUSED


def client_at(place: Address, timeout_s: float = TIMEOUT_S, every_s: float = EVERY_S) -> Client:
    """A client of a running server; whether it is alive is seen from its answers and from its port."""

    def send(method: str, path: str, body: Any) -> Any:
        limit = timeout_s if method == "POST" else min(timeout_s, LOOK_S)
        return exchange(place.host, place.port, method, path, body, timeout_s=limit, alive=Listening(place, every_s))

    return Client(place.model, send)


class Started(list[T]):
    """What `use` gave (nothing if it was never called) and the gate's own result."""

    def __init__(self, *, gate: StepResult, kept: Sequence[T]) -> None:
        super().__init__(kept)
        self.gate = gate

    def only(self) -> T:
        """Raises EngineError if the server never got as far as being asked."""
        if not self:
            log = next((a.path for a in self.gate.attachments if a.name == "server.log"), "")
            raise EngineError(
                f"the server was not asked: {self.gate.outcome.reason or self.gate.summary}",
                mend=f"See {log}; `seatrial gate` says more.",
            )
        return self[0]


def during(
    checkpoint: Path,
    target: Target,
    use: Callable[[Client, Address], T],
    *,
    python: Path,
    scratch: Path,
    tp: int | None = None,
    max_model_len: int | None = None,
    extra_args: Sequence[str] = (),
    env: dict[str, str] | None = None,
    drop: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Started[T]:
    """Start the checkpoint's server, let `use` ask, stop it. An exception of `use` reaches the caller."""
    port = target.serve.port or free_port(target.serve.host)
    fixed = replace(target, serve=replace(target.serve, port=port))
    kept: list[T] = []
    raised: list[BaseException] = []

    def visit(client: Client) -> None:
        try:
            kept.append(use(client, Address(host=fixed.serve.host, port=port, model=client.model)))
        except (EngineError, UsageError) as exc:
            raised.append(exc)

    result = gate(
        checkpoint,
        fixed,
        python=python,
        stage="real",
        scratch=scratch,
        tp=tp,
        max_model_len=max_model_len,
        extra_args=extra_args,
        env=env,
        drop=drop,
        visit=visit,
        say=say,
    )
    if raised:
        raise raised[0]
    return Started(gate=result, kept=kept)


def rank_env(checkpoint: Path, target: Target, *, python: Path, tp: int) -> dict[str, str]:
    """The variables under which the engine runs in a probe with `tp` ranks: those of a server of the target."""
    if tp == 1:
        return dict(target.launch.env)
    plan = gate_plan(checkpoint, target, python=python, stage="real", tp=tp, check=False)
    return dict(plan.command.env)
