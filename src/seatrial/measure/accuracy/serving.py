"""A server for the time of a measurement: started through the gate and stopped by it, or one that already runs.

In: a checkpoint and a target, or a URL. Out: what `use` gave back. Refuses (EngineError): a server that does not get
ready, with the gate's own reason; a URL that is not HTTP.
"""

from __future__ import annotations

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


def client_at(place: Address, timeout_s: float = TIMEOUT_S) -> Client:
    """A client of a running server; whether it is alive is seen from its answers."""

    def send(method: str, path: str, body: Any) -> Any:
        limit = timeout_s if method == "POST" else min(timeout_s, LOOK_S)
        return exchange(place.host, place.port, method, path, body, timeout_s=limit)

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
