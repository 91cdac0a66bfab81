"""Outside load tools, each run by an interpreter of its own: the command for a workload, and what it wrote, read back.

Only what a tool can be told is asked of it: a workload it cannot express is refused (UsageError) with the field that
stands in the way, since a tool that silently does something else is compared with nothing.
Command lines are those of vllm 0.32, evalscope 1.14.1, guidellm 0.8.1 and aiperf 0.13.0.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from seatrial.core.command import Command
from seatrial.core.errors import EngineError, UsageError
from seatrial.core.record import Record, replace
from seatrial.core.secrets import REDACTED
from seatrial.measure.load.generator import address
from seatrial.measure.load.metrics import Metrics
from seatrial.measure.load.outside_key import KEY_ENV, hide_key, keyed
from seatrial.measure.load.readers import read_results
from seatrial.measure.load.workload import Workload
from seatrial.measure.tool_process import run_tool

TOOLS = ("evalscope", "vllm", "guidellm", "aiperf")
RAW, LARGEST_RAW, MOST_RAW = {".json", ".jsonl", ".csv"}, 64 << 20, 20


class Outside(Record):
    """What came of it: the figures of the file the tool wrote, its command and log.

    `output` is the file that was read, `others` the documents beside it that the tool wrote too.
    """

    metrics: Metrics
    command: Command
    output: str
    log: str
    others: tuple[str, ...] = ()


def outside_command(
    tool: str,
    python: Path,
    workload: Workload,
    *,
    url: str,
    model: str,
    tokenizer: str,
    out: Path,
    ca: str = "",
    has_key: bool = False,
) -> Command:
    """The command line; raises UsageError for what the tool cannot do.

    `ca`: the file of certificates that an https service is trusted by. `has_key`: the service asks for a key, which
    `run_outside` is given: vllm reads it from its variable, the others are told it by `keyed`, so that it is in no
    command line that others on the machine could read.
    """
    _demand_common(tool, workload)
    maker: dict[str, Callable[..., list[str]]] = {
        "vllm": _vllm,
        "evalscope": _evalscope,
        "guidellm": _guidellm,
        "aiperf": _aiperf,
    }
    if tool not in maker:
        raise UsageError(f"unknown tool {tool!r}", mend=f"Known: builtin, {', '.join(TOOLS)}.")
    argv = maker[tool](python, workload, url, model, tokenizer, out)
    if has_key:
        argv = keyed(tool, python, argv)
    # Requests go straight to the service, whatever proxies the environment names; tools read either spelling.
    direct = f"127.0.0.1,localhost,{address(url).host}"
    env = {"DO_NOT_TRACK": "1", "NO_PROXY": direct, "no_proxy": direct}
    if tool != "aiperf":
        # aiperf 0.13 takes a tokenizer's folder for a repository's name when it is told to stay offline.
        env["HF_HUB_OFFLINE"] = "1"
    if ca:
        # httpx and aiohttp (OpenSSL) read the first, requests the second.
        env.update({"SSL_CERT_FILE": ca, "REQUESTS_CA_BUNDLE": ca})
    return Command(purpose=f"load by {tool}", argv=tuple(argv), env=env)


def run_outside(
    tool: str, command: Command, workload: Workload, out: Path, log: Path, *, timeout_s: float, key: str = ""
) -> Outside:
    """Run it in a process group of its own; on a signal or time-out the whole group is ended.

    `key`: the service's; it is in the tool's environment only, and taken out of whatever the tool wrote.
    """
    out.mkdir(parents=True, exist_ok=True)
    env = {**command.env, KEY_ENV: key} if key else command.env
    try:
        run_tool(tool, command.argv, env=env, cwd=out, log=log, timeout_s=timeout_s)
    except EngineError as exc:
        # It quotes the log's last lines.
        raise EngineError(exc.message.replace(key, REDACTED) if key else exc.message, mend=exc.mend) from exc
    finally:
        if key:
            hide_key(key, (log, *(f for f in out.rglob("*") if f.is_file() and not f.is_symlink())))
    found = read_results(out, tool)
    if len(found) != 1:
        raise EngineError(f"{tool} wrote {len(found)} results where one was expected", mend=f"Look in {out}.")
    metrics = completed(found[0].metrics, tool, workload)
    return Outside(
        metrics=metrics, command=command, output=found[0].file, log=str(log), others=_others(out, found[0].file)
    )


def completed(metrics: Metrics, tool: str, workload: Workload) -> Metrics:
    """What the tool's file does not say and its command does; and whether it did what it was told."""
    if metrics.warmup is None and workload.load.warmup and tool in ("vllm", "aiperf"):
        # The file does not say it, the command does.
        doubts = tuple(d for d in metrics.doubts if "warmed up is unknown" not in d)
        metrics = replace(metrics, warmup=workload.load.warmup, doubts=doubts)
    asked = workload.load.requests
    if metrics.total is not None and metrics.total != asked:
        why = f"{tool} accounts for {metrics.total} requests where {asked} were asked for"
        metrics = replace(metrics, doubts=(*metrics.doubts, why))
    return metrics


def _others(out: Path, read: str) -> tuple[str, ...]:
    """What else the tool wrote, as far as it is text of a bearable size: the raw output is evidence."""
    found = [
        str(f)
        for f in sorted(out.rglob("*"))
        if f.suffix in RAW and f.is_file() and not f.is_symlink() and f.stat().st_size <= LARGEST_RAW
    ]
    return tuple(f for f in found if f != read)[:MOST_RAW]


def _demand_common(tool: str, workload: Workload) -> None:
    dataset, load = workload.dataset, workload.load
    if dataset.kind != "random":
        raise UsageError(f"{tool} is driven here with random prompts only", mend="Use --tool builtin for this dataset.")
    if load.order != "file" or (load.rate and load.arrivals != "poisson"):
        raise UsageError(f"{tool} cannot be told this order of arrival", mend="Use --tool builtin.")


def _sampling(workload: Workload) -> dict[str, object]:
    names = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty")
    sampling = workload.sampling
    found: dict[str, object] = {n: getattr(sampling, n) for n in names if getattr(sampling, n) is not None}
    if sampling.ignore_eos:
        found["ignore_eos"] = True
    return found


def _vllm(python: Path, workload: Workload, url: str, model: str, tokenizer: str, out: Path) -> list[str]:
    load, dataset = workload.load, workload.dataset
    if not workload.sampling.stream:
        raise UsageError("vllm bench serve always asks for a stream", mend="Use --tool builtin, or sampling.stream.")
    argv = [str(python.with_name("vllm")), "bench", "serve", "--base-url", url, "--model", model]
    argv += ["--backend", "openai-chat" if load.api == "chat" else "openai"]
    argv += ["--endpoint", "/v1/chat/completions" if load.api == "chat" else "/v1/completions"]
    argv += ["--tokenizer", tokenizer, "--dataset-name", "random", "--seed", str(load.seed)]
    argv += ["--random-input-len", str(dataset.input_tokens - dataset.prefix_tokens)]
    argv += ["--random-prefix-len", str(dataset.prefix_tokens), "--random-output-len", str(dataset.output_tokens)]
    argv += ["--random-range-ratio", "0", "--num-prompts", str(load.requests), "--num-warmups", str(load.warmup)]
    argv += ["--max-concurrency", str(load.concurrency)] if load.concurrency else ["--request-rate", str(load.rate)]
    for name, value in _sampling(workload).items():
        argv += ["--ignore-eos"] if name == "ignore_eos" else [f"--{name.replace('_', '-')}", str(value)]
    argv += ["--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,90,99", "--disable-tqdm"]
    return [*argv, "--save-result", "--result-dir", str(out), "--result-filename", "vllm.json"]


def _evalscope(python: Path, workload: Workload, url: str, model: str, tokenizer: str, out: Path) -> list[str]:
    load, dataset = workload.load, workload.dataset
    length = str(dataset.input_tokens - dataset.prefix_tokens)
    argv = [str(python), "-m", "evalscope.cli.cli", "perf", "--api", "openai", "--model", model]
    path = "/v1/chat/completions" if load.api == "chat" else "/v1/completions"
    argv += ["--url", url + path, "--tokenizer-path", tokenizer, "--dataset", "random", "--seed", str(load.seed)]
    argv += [
        "--min-prompt-length",
        length,
        "--max-prompt-length",
        length,
        "--prefix-length",
        str(dataset.prefix_tokens),
    ]
    argv += ["--min-tokens", str(dataset.output_tokens), "--max-tokens", str(dataset.output_tokens)]
    argv += ["--number", str(load.requests), "--warmup-num", str(load.warmup)]
    argv += ["--parallel", str(load.concurrency)] if load.concurrency else ["--rate", str(load.rate)]
    argv += ["--stream" if workload.sampling.stream else "--no-stream"]
    argv += ["--extra-args", json.dumps(_sampling(workload))]
    return [*argv, "--outputs-dir", str(out), "--no-timestamp"]


def _guidellm(python: Path, workload: Workload, url: str, model: str, tokenizer: str, out: Path) -> list[str]:
    load, dataset = workload.load, workload.dataset
    if dataset.prefix_tokens:
        raise UsageError(
            "guidellm is driven here without a shared prefix", mend="Set dataset.prefix_tokens = 0 for it."
        )
    if load.warmup:
        raise UsageError("guidellm cannot be told a number of warm-up requests", mend="Set load.warmup = 0 for it.")
    path = "/v1/chat/completions" if load.api == "chat" else "/v1/completions"
    argv = [str(python.with_name("guidellm")), "run", "--disable-console"]
    told = [f"target={url}", f"model={model}", f"request_format={path}"]
    told += [f"stream={str(workload.sampling.stream).lower()}"]
    # Without these it leaves everything but the length of the answer to the server.
    told += [f"extras.body.{name}={json.dumps(value)}" for name, value in _sampling(workload).items()]
    argv += ["--backend", ",".join(["kind=openai_http", *told]), "--seed", f"kind=static,value={load.seed}"]
    argv += [
        "--tokenizer",
        f"kind=hf_auto,model={tokenizer}",
        "--constraint",
        f"kind=max_requests,count={load.requests}",
    ]
    lengths = f"prompt_tokens={dataset.input_tokens},output_tokens={dataset.output_tokens}"
    argv += ["--data", f"kind=synthetic_text,{lengths}", "--output", f"kind=json,path={out / 'benchmarks.json'}"]
    if load.concurrency:
        return [*argv, "--profile", f"kind=concurrent,streams={load.concurrency}"]
    return [*argv, "--profile", f"kind=poisson,rate={load.rate}"]


def _aiperf(python: Path, workload: Workload, url: str, model: str, tokenizer: str, out: Path) -> list[str]:
    load, dataset = workload.load, workload.dataset
    argv = [str(python.with_name("aiperf")), "profile", "--model", model, "--url", url, "--tokenizer", tokenizer]
    argv += ["--endpoint-type", load.api, "--random-seed", str(load.seed), "--ui", "none"]
    argv += ["--isl", str(dataset.input_tokens), "--isl-stddev", "0", "--osl", str(dataset.output_tokens)]
    argv += ["--osl-stddev", "0", "--request-count", str(load.requests), "--output-artifact-dir", str(out)]
    argv += ["--streaming"] if workload.sampling.stream else []
    argv += ["--warmup-request-count", str(load.warmup)] if load.warmup else []
    argv += ["--concurrency", str(load.concurrency)] if load.concurrency else ["--request-rate", str(load.rate)]
    for name, value in _sampling(workload).items():
        argv += ["--extra-inputs", f"{name}:{json.dumps(value)}"]
    return argv
