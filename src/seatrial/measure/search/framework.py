"""Frameworks behind one interface: how each is launched, when it is ready, where its counters are, how its log fails.

vLLM is launched by a target's platform, whatever the device. SGLang and xLLM are adapters: a command from a program's
path and arguments, the page that says ready, the pages with counters, and the words of a fatal line. `serving.py`
starts them. What is said of them was read in their sources (SGLang: srt/entrypoints/http_server.py, srt/server_args.py,
srt/observability/metrics_collector.py of 2025-10 to 2026-08; xLLM 0.9.1 and its main branch of 2026-07: xllm.cpp,
server/xllm_server.cpp, core/common/global_flags.cpp, core/common/metrics.cpp) and tried against stand-in servers that
speak their endpoints, not against the frameworks themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
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

    `counters`: pages with metrics (`load.counters` and `load.server_view` know the names). `fatal`: what a log line of
    a failed start looks like. `tunables`: flags a search may vary, as documented. `about`: pages that tell its version.
    """

    name: FrameworkName
    ready: str
    models: str
    counters: tuple[str, ...]
    fatal: str
    tunables: tuple[str, ...]
    about: tuple[str, ...] = ()

    def first_fatal(self, log: str, hide: Callable[[str], str] = str) -> str:
        """The first fatal line of a log, after `hide` and then cut; empty if there is none."""
        found = re.search(self.fatal, log, re.MULTILINE)
        return hide(found.group(0).strip())[:300] if found else ""


VLLM = Framework(
    name="vllm",
    ready="/health",
    models="/v1/models",
    counters=("/metrics",),
    fatal=r"^.*(?:Error|Exception): .*$",
    tunables=("max-num-seqs", "max-num-batched-tokens", "block-size", "gpu-memory-utilization", "enforce-eager"),
)
SGLANG = Framework(
    name="sglang",
    # 503 until its own warm-up request was answered, then one token for every look (it takes a second).
    ready="/health_generate",
    models="/v1/models",
    counters=("/metrics",),
    fatal=r"^.*(?:Scheduler hit an exception|(?:Error|Exception): ).*$",
    tunables=("mem-fraction-static", "max-running-requests", "chunked-prefill-size", "page-size", "disable-cuda-graph"),
    # The second is the older name; both were there in between.
    about=("/server_info", "/get_server_info"),
)
XLLM = Framework(
    name="xllm",
    # The port opens only after the engine is up; /health is 503 while a rank of the cluster is lost.
    ready="/health",
    models="/v1/models",
    counters=("/vars",),
    # glog: a fatal line begins with F and the date.
    fatal=r"^F\d{4,8} .*$|^.*Check failed: .*$",
    tunables=("max_memory_utilization", "max_tokens_per_batch", "max_seqs_per_batch", "block_size", "enable_graph"),
)
FRAMEWORKS: Registry[Framework] = Registry("framework")
for _one in (VLLM, SGLANG, XLLM):
    FRAMEWORKS.add(_one.name, _one)


def words(framework: Framework, candidate: Candidate) -> tuple[str, ...]:
    """A candidate's flags as the framework's command line has them.

    xLLM is a gflags binary: `--name=value`, underscores, and a switch is told its value.
    """
    if framework.name != "xllm":
        return candidate.args()
    told = ((n.replace("-", "_"), str(v).lower() if isinstance(v, bool) else v) for n, v in candidate.flags.items())
    return tuple(f"--{name}={value}" for name, value in told)


def launch(
    framework: Framework, to: Launching, args: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Command:
    """The command. vLLM's base command is the platform's; here only for a service without a target."""
    makers: dict[str, Callable[[Launching], list[str]]] = {"vllm": _vllm, "sglang": _sglang, "xllm": _xllm}
    argv = [*makers[framework.name](to), *args]
    return Command(purpose=f"serve with {framework.name}", argv=tuple(argv), env=dict(env or {}))


def _vllm(to: Launching) -> list[str]:
    listen = ["--served-model-name", to.model, "--host", to.host, "--port", str(to.port)]
    return [str(Path(to.program).with_name("vllm")), "serve", to.checkpoint, *listen]


def _sglang(to: Launching) -> list[str]:
    base = [to.program, "-m", "sglang.launch_server", "--model-path", to.checkpoint, "--served-model-name", to.model]
    # Without the switch the server has no /metrics page.
    return [*base, "--host", to.host, "--port", str(to.port), "--enable-metrics"]


def _xllm(to: Launching) -> list[str]:
    """One process per rank; here rank 0 of 1, whose devices are given as arguments."""
    return [to.program, f"--model={to.checkpoint}", f"--model_id={to.model}", f"--host={to.host}", f"--port={to.port}"]
