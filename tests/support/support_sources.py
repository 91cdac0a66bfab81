"""Small sources written by the tests: a vLLM with a registry of both trees, and plugins as folder, sdist and wheel."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

ENGINE_REGISTRY = """
from vllm.nowhere import nothing  # importing this file would fail: it must only be read

_TEXT = {
    "AlphaForCausalLM": ("alpha", "AlphaForCausalLM"),
    "BetaForCausalLM": ("alpha", "AlphaForCausalLM"),
    "NewTreeForCausalLM": ("vllm.models.newtree", "NewTreeForCausalLM"),
}
_EMBED = {
    "GammaModel": ("gamma", "GammaModel"),
    **{k: (mod, arch) for k, (mod, arch) in _TEXT.items() if arch == "AlphaForCausalLM"},
}
_VLLM_MODELS = {**_TEXT, **_EMBED}
_PREVIOUSLY_SUPPORTED_MODELS = {"OldForCausalLM": "0.10.2"}
_OOT_SUPPORTED_MODELS = {"AwayModel": "https://example.org/away"}


def _resolve_module_name(name: str) -> str:
    # comment
    if name.startswith("vllm."):
        return name
    return f"vllm.model_executor.models.{name}"


ModelRegistry = _ModelRegistry(
    {
        arch: _LazyRegisteredModel(module_name=_resolve_module_name(mod), class_name=cls)
        for arch, (mod, cls) in _VLLM_MODELS.items()
    }
)
"""

ENGINE = {
    "vllm/__init__.py": "",
    "vllm/_version.py": "__version__ = version = '0.50.0'\n",
    "vllm/model_executor/__init__.py": "",
    "vllm/model_executor/models/__init__.py": "",
    "vllm/model_executor/models/registry.py": ENGINE_REGISTRY,
}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def wheel(path: Path, files: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def sdist(path: Path, files: Mapping[str, str]) -> Path:
    top = path.name.removesuffix(".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"{top}/{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path
