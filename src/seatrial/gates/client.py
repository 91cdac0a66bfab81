"""A visitor's way to a running server: requests that are all kept, and the engine's own counters."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from seatrial.gates.exchange import Exchange


class Client:
    """Requests to the running server, all kept; `number` sums a Prometheus counter over its labels."""

    def __init__(
        self, model: str, send: Callable[[str, str, Any], Exchange], pids: Callable[[], list[int]] = list
    ) -> None:
        self.model = model
        self.pids = pids
        self.exchanges: list[Exchange] = []
        self._send = send

    def post(self, path: str, body: dict[str, Any]) -> Exchange:
        reply = self._send("POST", path, {"model": self.model, **body})
        self.exchanges.append(reply)
        return reply

    def once(self, method: str, path: str, body: dict[str, Any]) -> Exchange:
        """As `post`, but not kept: for requests by the hundred. May be called from several threads."""
        return self._send(method, path, {"model": self.model, **body})

    def get(self, path: str) -> Exchange:
        return self._send("GET", path, None)

    def serves(self) -> bool:
        """Does /health answer, and without an error of the server's? A dead engine's front still answers: 503."""
        reply = self.get("/health")
        return reply.how == "answered" and (reply.status or 0) < 500

    def labels(self, metric: str) -> dict[str, str]:
        """The labels of the first line of a metric on /metrics; empty if it is not there."""
        text = self.get("/metrics").body.decode(errors="replace")
        found = re.search(rf"^{re.escape(metric)}\{{([^}}]*)\}} ", text, re.MULTILINE)
        return dict(re.findall(r'(\w+)="([^"]*)"', found[1])) if found else {}

    def number(self, counter: str) -> float | None:
        """The value of a counter on /metrics; None if it is not there, or is no finite number."""
        text = self.get("/metrics").body.decode(errors="replace")
        values = re.findall(rf"^{re.escape(counter)}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        try:
            total = sum(float(v) for v in values)
        except ValueError:
            return None
        return total if values and math.isfinite(total) else None
