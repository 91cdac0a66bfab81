"""The workload: one TOML file that says what is sent, how, and what must hold. All of it is part of fairness.

In: a path. Out: `Workload`. Refuses (FileFormatError) unknown keys, wrong types and what contradicts itself, naming
file and key.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Literal

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record, from_plain, replace, to_plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA_VERSION = 1
LARGEST_FILE = 1 << 20
MOST_TOKENS = 200_000_000  # some gigabytes as bodies
SlaMetric = Literal["ttft", "tpot", "itl", "e2e"]
Statistic = Literal["avg", "p50", "p90", "p99"]


class Dataset(Record):
    """What is asked.

    `random`: `input_tokens` and `output_tokens` exactly, after `prefix_tokens` that all requests share. `tokens` sends
    token numbers, exact for every server that takes them; `text` is made by the model's own tokenizer so that it
    comes back at that length. `jsonl`: lines of `prompt` (text, messages or token numbers) and `output_len`.
    `sharegpt`: conversations; the first human turn is the prompt, the length of the answer is `output_tokens`.
    """

    kind: Literal["random", "jsonl", "sharegpt"] = "random"
    file: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    prefix_tokens: int = 0
    form: Literal["tokens", "text"] = "tokens"

    def __post_init__(self) -> None:
        if self.kind == "random" and (self.input_tokens < 1 or self.output_tokens < 1):
            raise ValueError("dataset.kind 'random' needs input_tokens and output_tokens of at least 1")
        if self.kind != "random" and not self.file:
            raise ValueError(f"dataset.kind {self.kind!r} needs dataset.file")
        if self.kind == "sharegpt" and self.output_tokens < 1:
            raise ValueError("dataset.kind 'sharegpt' needs output_tokens: how much is answered to each prompt")
        if self.prefix_tokens < 0 or self.prefix_tokens >= max(1, self.input_tokens):
            raise ValueError("dataset.prefix_tokens must be at least 0 and below input_tokens")


class Load(Record):
    """How it is sent. `concurrency`: closed loop. `rate` (requests per second): open loop; exactly one of the two.

    `warmup` requests go first, at the same concurrency, and count for nothing. `timeout_s` is per request.
    """

    requests: int
    concurrency: int = 0
    rate: float = 0.0
    arrivals: Literal["poisson", "constant"] = "poisson"
    warmup: int = 0
    order: Literal["file", "shuffled"] = "file"
    seed: int = 0
    timeout_s: float = 600.0
    api: Literal["completions", "chat"] = "completions"

    def __post_init__(self) -> None:
        if self.requests < 1:
            raise ValueError("load.requests must be at least 1")
        if self.warmup < 0 or self.concurrency < 0:
            raise ValueError("load.warmup and load.concurrency must not be negative")
        if not (math.isfinite(self.rate) and self.rate >= 0):
            raise ValueError("load.rate must be a finite number of requests per second")
        if (self.concurrency > 0) == (self.rate > 0):
            raise ValueError("load needs either concurrency (closed loop) or rate (open loop), and not both")
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise ValueError("load.timeout_s must be above 0")


class Sampling(Record):
    """What is sent along with every request; None leaves the server its own default, and is said so."""

    temperature: float | None = 0.0
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    ignore_eos: bool = True
    min_tokens: int | None = None
    stream: bool = True


class Sla(Record):
    """`metric` at `statistic` must not be above `limit_ms`."""

    metric: SlaMetric
    limit_ms: float
    statistic: Statistic = "p99"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.limit_ms) and self.limit_ms > 0):
            raise ValueError("sla.limit_ms must be above 0")

    def name(self) -> str:
        return f"{self.metric} {self.statistic} <= {self.limit_ms:g} ms"


class Workload(Record):
    """One workload file."""

    schema_version: int
    name: str
    dataset: Dataset
    load: Load
    sampling: Sampling = msgspec.field(default_factory=Sampling)
    sla: tuple[Sla, ...] = ()

    def __post_init__(self) -> None:
        if self.dataset.kind == "random" and self.dataset.form == "tokens" and self.load.api == "chat":
            raise ValueError(
                "token numbers cannot be sent to the chat API: use dataset.form 'text' or api 'completions'"
            )
        sent = (self.load.requests + self.load.warmup) * max(1, self.dataset.input_tokens)
        if sent > MOST_TOKENS:
            raise ValueError(
                f"load.requests of dataset.input_tokens are {sent:,} tokens: every prompt is made before the first is "
                f"sent, and more than {MOST_TOKENS:,} would not be held"
            )
        if not self.sampling.stream and any(s.metric != "e2e" for s in self.sla):
            raise ValueError("an SLA on ttft, tpot or itl needs sampling.stream: without it only e2e is seen")


def read_workload(file: Path) -> Workload:
    """The workload in `file`; a relative `dataset.file` is looked for beside it."""
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise FileFormatError(f"{file}: larger than a workload file can be", mend="Name the TOML file.")
        data = tomllib.loads(read_plain(file).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise FileFormatError(f"{file}: not valid TOML: {exc}") from exc
    except OSError as exc:
        raise FileFormatError(f"{file}: cannot be read: {exc.strerror}", mend="Name a workload's TOML file.") from exc
    workload = from_plain(Workload, data, where=str(file))
    if workload.schema_version != SCHEMA_VERSION:
        raise FileFormatError(f"{file}: schema_version is {workload.schema_version}, this seatrial reads 1")
    source = workload.dataset.file
    if source and not Path(source).is_absolute():
        beside = str((file.parent / source).resolve())
        workload = replace(workload, dataset=replace(workload.dataset, file=beside))
    return workload


def with_load(workload: Workload, *, concurrency: int | None = None, rate: float | None = None) -> Workload:
    """The same workload at another concurrency or rate."""
    if concurrency is not None:
        load = replace(workload.load, concurrency=concurrency, rate=0.0)
    elif rate is not None:
        load = replace(workload.load, rate=rate, concurrency=0)
    else:
        return workload
    # Checked again, since a copy does not pass through the reader.
    return from_plain(Workload, to_plain(replace(workload, load=load)), where="workload")
