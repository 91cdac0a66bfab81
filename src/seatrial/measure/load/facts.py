"""The facts of a launched service that a comparison must know: model, tokenizer, dtype, devices, flags, variables."""

from __future__ import annotations

import hashlib
import json
import platform as machine
from pathlib import Path
from typing import Any

import psutil

from seatrial.checkpoint import fingerprint
from seatrial.core.command import Command
from seatrial.core.errors import UsageError
from seatrial.core.secrets import redact
from seatrial.measure.compare.setup import Fact
from seatrial.platforms.device_tool import DeviceReading
from seatrial.targets import Target

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "tiktoken.model",
)
# Where the server listens and what it calls its model is no part of what is compared.
ADDRESS_FLAGS = {"host", "port", "served-model-name", "model", "model-path", "model-id", "master-node-addr"}
# How vLLM and SGLang are told; xLLM has one process (node) a rank.
TENSOR_PARALLEL = ("tensor-parallel-size", "tp-size", "tp", "nnodes")
PROFILERS = {"PROFILING_MODE": ("dynamic", "true"), "VLLM_TORCH_PROFILER_DIR": None, "VLLM_TORCH_CUDA_PROFILE": None}
# What a description beside config.json means where that has none (vLLM's and vllm-ascend's rules).
BESIDE = {"hf_quant_config.json": "modelopt", "quant_model_description.json": "ascend"}
LARGEST = 64 << 20
# Beginnings of the facts that a bench makes true itself.
DONE_HERE = ("workload.", "sampling.", "sla", "tool")


def program_fact(program: Path) -> Fact:
    """The program of an engine that is a binary, by its bytes; None if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with program.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return f"program {digest.hexdigest()}"


def checkpoint_facts(folder: Path) -> dict[str, Fact]:
    """Weights, tokenizer, dtype and quantisation as the checkpoint's files say; unknown without a readable config."""
    config = _config(folder)
    inner = next((config[k] for k in ("text_config", "llm_config") if isinstance(config.get(k), dict)), config)
    dtype = config.get("dtype") or config.get("torch_dtype") or inner.get("dtype") or inner.get("torch_dtype")
    names = ("quantization_config", "compression_config")
    quant = next((section[n] for section in (config, inner) for n in names if section.get(n)), None)
    method: Fact = "none" if config else None
    if quant is not None:
        method = str((quant.get("quant_method") if isinstance(quant, dict) else None) or "unnamed")
    elif config:
        # Without a section the engines look for the tools' own descriptions.
        method = next((name for file, name in BESIDE.items() if (folder / file).is_file()), method)
    return {
        "model": fingerprint(folder),
        "tokenizer": _tokenizer(folder),
        "dtype": str(dtype) if dtype else None,
        "quantization": method,
    }


def launch_facts(
    command: Command, target: Target, version: str, reading: DeviceReading | None, engine: str = "vllm"
) -> dict[str, Fact]:
    """The engine, its flags and variables (without secrets, whose values make no figure), and the devices it sees."""
    flags = parse_flags(command.argv)
    facts: dict[str, Fact] = {
        f"flag.{n}": redact(n.replace("-", "_"), v) for n, v in flags.items() if n not in ADDRESS_FLAGS
    }
    facts.update({f"env.{n}": redact(n, v) for n, v in command.env.items() if n not in ("VLLM_PORT",)})
    facts["engine"] = engine
    facts["engine.version"] = version or None
    told = next((flags[n] for n in TENSOR_PARALLEL if n in flags), "1")
    facts["tensor_parallel"] = int(told) if told.isdecimal() else None
    facts["devices"] = _devices(target, reading)
    order = command.env.get(target.devices.visible_env) if target.devices.visible_env else ""
    facts["device_order"] = order or "all, in the system's order"
    facts["profiler_attached"] = _has_profiler(command.env, flags)
    if "dtype" in flags and flags["dtype"] != "auto":
        facts["dtype"] = flags["dtype"]
    if "quantization" in flags:
        facts["quantization"] = flags["quantization"]
    return facts


def parse_flags(argv: tuple[str, ...]) -> dict[str, str]:
    """`--name value …`, `--name=value` and bare `--name` of a command, by name without dashes.

    The last of several wins, as it does in the engine.
    """
    found: dict[str, str] = {}
    current: str | None = None
    for word in argv:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            name = name.replace("_", "-")
            found[name] = value if equals else ""
            current = None if equals else name
        elif current is not None:
            found[current] = f"{found[current]} {word}".strip()
    return {name: value or "true" for name, value in found.items()}


def declared_facts(pairs: tuple[str, ...]) -> dict[str, Fact]:
    """`name=value` as given on the command line; true, false and numbers are read as such."""
    facts: dict[str, Fact] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{pair!r} is no fact", mend="Give it as name=value, for example dtype=bfloat16.")
        facts[name] = plain(value)
    return facts


def with_declared(known: dict[str, Fact], declared: dict[str, Fact]) -> dict[str, Fact]:
    """What is known, and what is declared where nothing is known; raises UsageError where the two contradict."""
    for name, value in declared.items():
        seen = known.get(name)
        if seen is not None and (seen != value or type(seen) is not type(value)):
            raise UsageError(
                f"{name} was seen to be {seen!r} and is declared as {value!r}", mend=f"Leave out --fact {name}=…."
            )
    return {**known, **declared}


def plain(text: str) -> Fact:
    """The value a text stands for."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _has_profiler(env: dict[str, str], flags: dict[str, str]) -> bool:
    for name, values in PROFILERS.items():
        if env.get(name) and (values is None or env[name] in values):
            return True
    return any(name.startswith("profiler-config") for name in flags)


def _devices(target: Target, reading: DeviceReading | None) -> Fact:
    if reading is not None:
        names = [d.name for d in reading.devices]
        return f"{len(names)} x {', '.join(sorted(set(names)))} ({reading.tool} {reading.version})"
    if target.platform == "cpu":
        return f"{psutil.cpu_count()} cores, {machine.machine()}, {_cpu_model()}"
    return None


def _cpu_model() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unnamed")


def _tokenizer(folder: Path) -> Fact:
    digest = hashlib.sha256()
    seen = False
    for name in TOKENIZER_FILES:
        file = folder / name
        if file.is_file() and file.stat().st_size <= LARGEST:
            digest.update(name.encode() + b"\0" + file.read_bytes())
            seen = True
    return digest.hexdigest() if seen else None


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:
            return {}
        data = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
