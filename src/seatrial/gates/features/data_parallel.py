"""Data parallelism over two replicas: both must have answered, by the engine's own count."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Model, Proof, Situation, Switch
from seatrial.gates.load import prompt
from seatrial.gates.requests import COMPLETIONS

FINISHED = re.compile(r'^vllm:request_success_total\{[^}]*engine="(\d+)"[^}]*\} ([0-9.eE+]+)$', re.MULTILINE)
REQUESTS = 8


class DataParallel(Feature):
    name = "data-parallel"
    title = "Data parallelism"

    def not_attempted(self, model: Model, situation: Situation) -> str:
        need = 2 * situation.tp
        return f"it needs {need} devices, and there are {situation.devices}" if situation.devices < need else ""

    def switch(self, model: Model, situation: Situation) -> Switch:
        return Switch(args=("--data-parallel-size", "2"))

    def ask(self, client: Client, situation: Situation) -> Asked:
        def one(number: int) -> str:
            body = {"prompt": prompt(16, number), "max_tokens": 16, "temperature": 0, "ignore_eos": True}
            return client.once("POST", COMPLETIONS, body).trouble()

        with ThreadPoolExecutor(max_workers=REQUESTS) as pool:
            trouble = next((t for t in pool.map(one, range(REQUESTS)) if t), "")
        if trouble:
            return Asked(against=trouble)
        text = client.get("/metrics").body.decode(errors="replace")
        counted: dict[str, float] = {}
        for engine, value in FINISHED.findall(text):
            counted[engine] = counted.get(engine, 0.0) + float(value)
        busy = sorted(engine for engine, value in counted.items() if value > 0)
        if len(busy) < 2:
            return Asked()
        shares = ", ".join(f"engine {engine}: {counted[engine]:.0f}" for engine in busy)
        return Asked(proofs=(Proof(where="metrics", says=f"finished requests by {shares}"),))


FEATURE = DataParallel()
