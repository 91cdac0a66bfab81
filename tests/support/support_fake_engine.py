"""A package `vllm` of a few lines with the shape the registry has had since 0.11, and plugins for it."""

from __future__ import annotations

from pathlib import Path

REGISTRY = """
import importlib
from dataclasses import dataclass

_TEXT = {"GoodForCausalLM": ("good", "GoodForCausalLM"), "BrokenForCausalLM": ("broken", "BrokenForCausalLM")}
_VLLM_MODELS = {**_TEXT, "OddForCausalLM": ("odd", "OddForCausalLM")}
_PREVIOUSLY_SUPPORTED_MODELS = {"OldForCausalLM": "0.9.2"}
_OOT_SUPPORTED_MODELS = {"AwayModel": "https://example.org/away-plugin"}


@dataclass(frozen=True)
class _ModelInfo:
    supports_pp: bool

    @staticmethod
    def from_model_cls(cls):
        return _ModelInfo(supports_pp=cls.supports_pp)


@dataclass(frozen=True)
class _Lazy:
    module_name: str
    class_name: str

    def load_model_cls(self):
        return getattr(importlib.import_module(self.module_name), self.class_name)


class _Registry:
    def __init__(self, models):
        self.models = models

    def register_model(self, arch, target):
        self.models[arch] = _Lazy(*target.split(":"))


ModelRegistry = _Registry(
    {a: _Lazy("vllm.model_executor.models." + m, c) for a, (m, c) in _VLLM_MODELS.items()}
)
"""

FILES = {
    "vllm/__init__.py": "__version__ = '0.99.0'\n",
    "vllm/plugins/__init__.py": "plugins_loaded = False\n",
    "vllm/platforms/__init__.py": (
        "class FakePlatform:\n"
        "    device_type = 'fake'\n"
        "    @classmethod\n"
        "    def verify_model_arch(cls, arch):\n"
        "        if arch == 'OddForCausalLM': raise ValueError('not on this platform')\n"
        "current_platform = FakePlatform()\n"
    ),
    "vllm/config/__init__.py": "",
    "vllm/config/model.py": (
        "S = [('ForCausalLM', 1), ('ForSequenceClassification', 2)]\n"
        "def iter_architecture_defaults(): yield from S\n"
        "def try_match_architecture_defaults(a):\n"
        "    return next(((s, d) for s, d in S if a.endswith(s)), None)\n"
    ),
    "vllm/model_executor/__init__.py": "",
    "vllm/model_executor/models/__init__.py": "",
    "vllm/model_executor/models/registry.py": REGISTRY,
    "vllm/model_executor/models/interfaces.py": "def supports_lora(cls):\n    return hasattr(cls, 'lora')\n",
    "vllm/model_executor/models/good.py": "class GoodForCausalLM:\n    supports_pp = True\n",
    "vllm/model_executor/models/odd.py": "class OddForCausalLM:\n    supports_pp = False\n",
    "vllm/model_executor/models/broken.py": "from vllm.config import Gone\n",
    "transformers.py": (
        "class _T:\n    @staticmethod\n    def is_backend_compatible(): return True\n"
        "class WrappedForCausalLM(_T): pass\n"
    ),
}


def write_engine(folder: Path, plugin: str = "", entry_points: str = "") -> Path:
    """The package in `folder`; `plugin` becomes the module `fake_plugin`, with these entry points."""
    files = dict(FILES)
    if plugin or entry_points:
        files["fake_plugin.py"] = plugin
        files["fake_plugin-1.0.dist-info/METADATA"] = "Metadata-Version: 2.1\nName: fake-plugin\nVersion: 1.0\n"
        files["fake_plugin-1.0.dist-info/entry_points.txt"] = entry_points
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
