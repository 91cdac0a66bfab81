"""A small engine whose installation can be broken in the ways the doctor looks for."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

import msgspec

from seatrial.support.doctor.host import HostFacts
from seatrial.targets import EngineChoice, Launch, Roots, load_target

ENGINE = {
    "vllm/__init__.py": "__version__ = '0.99.0'\n",
    "vllm/engine/__init__.py": "",
    "vllm/engine/arg_utils.py": "",
    "vllm/config.py": (
        "from dataclasses import dataclass\n@dataclass\nclass CacheConfig:\n    gpu_memory_utilization: float = 0.9\n"
    ),
    "vllm/platforms/__init__.py": (
        "class CpuPlatform:\n    device_type = 'cpu'\n"
        "try:\n    from vllm_ascend.platform import NPUPlatform as P\nexcept ImportError:\n    P = CpuPlatform\n"
        "current_platform = P()\n"
    ),
    "torchvision.py": "",
}
PLUGIN = {
    "vllm_ascend/__init__.py": (
        "def register(): return 'vllm_ascend.platform.NPUPlatform'\ndef register_model(): pass\n"
    ),
    "vllm_ascend/platform.py": "class NPUPlatform:\n    device_type = 'npu'\n",
}
ENTRIES = (
    "[vllm.platform_plugins]\nascend = vllm_ascend:register\n"
    "[vllm.general_plugins]\nascend_model = vllm_ascend:register_model\n"
)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def install(folder: Path, name: str, version: str, files: dict[str, str], *, entries: str = "", on_disk=True) -> None:
    """A distribution with its RECORD; with `on_disk` false its files are recorded and not written."""
    lines = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text)}")
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    write(
        folder,
        {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/RECORD": "\n".join(lines) + "\n",
            f"{info}/entry_points.txt": entries,
            **(files if on_disk else {}),
        },
    )


def stack(folder: Path, *, plugin=PLUGIN, entries: str = ENTRIES) -> Path:
    """The engine, and the plugin unless that is None."""
    write(folder, ENGINE)
    if plugin is not None:
        install(folder, "vllm-ascend", "0.99.0", plugin, entries=entries)
    return folder


def target(folder: Path, *, name: str = "ascend-a2", env=None, roots=None, args=None, port=None):
    """The built-in target with this interpreter and that folder on its path."""
    chosen = load_target(name).target
    serve = chosen.serve
    serve = msgspec.structs.replace(
        serve, args=serve.args if args is None else args, port=serve.port if port is None else port
    )
    return msgspec.structs.replace(
        chosen,
        engine=EngineChoice(kind="interpreter", interpreter=sys.executable),
        launch=Launch(env={"PYTHONPATH": str(folder), **(env or {})}),
        roots=roots or Roots(),
        serve=serve,
    )


def host(**changes) -> HostFacts:
    """A machine on which nothing stands in the way."""
    sound = HostFacts(
        listeners=(),
        reserved_ports=((60000, 60015),),
        ephemeral_ports=(32768, 60999),
        shm_total=64 << 30,
        shm_free=64 << 30,
        open_files_soft=1024,
        open_files_hard=1048576,
        processes_limit=None,
        cgroup_pids_max=None,
        cgroup_pids=None,
        threads=100,
        cores=8,
        processes=(),
    )
    return msgspec.structs.replace(sound, **changes)
