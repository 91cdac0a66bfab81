"""docs/schema of what `seatrial bench` writes and reads: metrics.json, a kept run, a verdict, a workload, a space."""

from __future__ import annotations

import json

from seatrial.core.record import json_schema
from seatrial.measure.compare import BenchRun, Judged
from seatrial.measure.load.metrics import Metrics
from seatrial.measure.load.workload import Workload
from seatrial.measure.search import Space


def schema(kind: type, title: str) -> str:
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **json_schema(kind)}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def pages() -> dict[str, str]:
    return {
        "schema/metrics.json": schema(Metrics, "metrics.json of a benchmark run"),
        "schema/bench-run.json": schema(BenchRun, "facts of a step of seatrial bench"),
        "schema/bench-verdict.json": schema(Judged, "seatrial bench compare --json"),
        "schema/bench-workload.json": schema(Workload, "workload file of seatrial bench (TOML)"),
        "schema/bench-space.json": schema(Space, "space file of seatrial bench search (TOML)"),
    }
