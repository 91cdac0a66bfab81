"""Frameworks behind one interface: how each is launched, when it is ready, where its counters are, how its log fails.

vLLM is launched by a target's platform, whatever the device. SGLang and xLLM are adapters: a command from a program's
path and a candidate, the page that says ready, the pages with counters, and the words of a fatal line. They were tried
against stand-in servers that speak their endpoints, not against the frameworks themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from seatrial.core.command import Command
from seatrial.core.record import Record
from seatrial.core.registry import Registry
from seatrial.measure.search.space import Candidate

FrameworkName = Literal["vllm", "sglang", "xllm"]


class Launching(Record):
    """What a launch needs: the framework's program or interpreter, the model's folder and name, and where to listen."""

    program: str
    checkpoint: str
    model: str
    host: str
    port: int


class Framework(Record):
    """`ready`: a page that answers 200 only once requests are served. `models`: where the model is named.

    `counters`: pages with metrics; `accept_length` the name of a gauge of tokens per step, weak beside true counters.
    `fatal`: what a log line of a failed start looks like. `tunables`: flags a search may vary, as documented.
    """

    name: FrameworkName
    ready: str
    models: str
    counters: tuple[str, ...]
    accept_length: str
    fatal: str
    tunables: tuple[str, ...]

    def first_fatal(self, log: str) -> str:
        """The first fatal line of a log; empty if there is none."""
        found = re.search(self.fatal, log, re.MULTILINE)
        return found.group(0).strip()[:300] if found else ""


VLLM = Framework(
    name="vllm",
    ready="/health",
    models="/v1/models",
    counters=("/metrics",),
    accept_length="",
    fatal=r"^.*(?:Error|Exception): .*$",
    tunables=("max-num-seqs", "max-num-batched-tokens", "block-size", "gpu-memory-utilization", "enforce-eager"),
)
SGLANG = Framework(
    name="sglang",
    ready="/health_generate",
    models="/v1/models",
    counters=("/metrics",),
    accept_length="sglang:spec_accept_length",
    fatal=r"^.*(?:Scheduler hit an exception|(?:Error|Exception): ).*$",
    tunables=("mem-fraction-static", "max-running-requests", "chunked-prefill-size", "page-size", "disable-cuda-graph"),
)
XLLM = Framework(
    name="xllm",
    ready="/v1/models",
    models="/v1/models",
    counters=("/vars",),
    accept_length="",
    # glog: a fatal line begins with F and the date.
    fatal=r"^F\d{4,8} .*$|^.*Check failed: .*$",
    tunables=("max_memory_utilization", "max_tokens_per_batch", "max_seqs_per_batch", "block_size", "enable_graph"),
)
FRAMEWORKS: Registry[Framework] = Registry("framework")
for _one in (VLLM, SGLANG, XLLM):
    FRAMEWORKS.add(_one.name, _one)


def launch(framework: Framework, launching: Launching, candidate: Candidate) -> Command:
    """The command of a candidate. vLLM's base command is the platform's; here only for a service without a target."""
    makers: dict[str, Callable[[Launching, Candidate], list[str]]] = {"vllm": _vllm, "sglang": _sglang, "xllm": _xllm}
    argv = makers[framework.name](launching, candidate)
    return Command(purpose=f"serve with {framework.name}", argv=tuple(argv), env=dict(candidate.env))


def _vllm(to: Launching, candidate: Candidate) -> list[str]:
    program = str(Path(to.program).with_name("vllm"))
    listen = ["--served-model-name", to.model, "--host", to.host, "--port", str(to.port)]
    return [program, "serve", to.checkpoint, *listen, *candidate.args()]


def _sglang(to: Launching, candidate: Candidate) -> list[str]:
    base = [to.program, "-m", "sglang.launch_server", "--model-path", to.checkpoint, "--served-model-name", to.model]
    # Without the switch the server has no /metrics page.
    return [*base, "--host", to.host, "--port", str(to.port), "--enable-metrics", *candidate.args()]


def _xllm(to: Launching, candidate: Candidate) -> list[str]:
    """A gflags binary: `--name=value`, underscores, one process per rank (here rank 0 of 1)."""
    words = [to.program, f"--model={to.checkpoint}", f"--model_id={to.model}", f"--host={to.host}", f"--port={to.port}"]
    for flag, value in candidate.flags.items():
        told = str(value).lower() if isinstance(value, bool) else str(value)
        words.append(f"--{flag.replace('-', '_')}={told}")
    return words
