"""Small sources written by the tests: two versions of a vLLM, and plugins that register in three styles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

REGISTRY = """
_VLLM_MODELS = {
    "AlphaForCausalLM": ("alpha", "AlphaForCausalLM"),
    "AlphaModel": ("alpha", "AlphaModel"),
}
_PREVIOUSLY_SUPPORTED_MODELS = {}
_OOT_SUPPORTED_MODELS = {}
ModelRegistry = _ModelRegistry(
    {
        arch: _LazyRegisteredModel(module_name=f"vllm.model_executor.models.{mod}", class_name=cls)
        for arch, (mod, cls) in _VLLM_MODELS.items()
    }
)
"""
ALPHA = '''# SPDX-License-Identifier: Apache-2.0
"""A model."""

from typing import TYPE_CHECKING

import torch
from vllm.model_executor.layers.activation import GeluAndMul, SiluAndMul  # the activations
from vllm.model_executor.layers.fla.ops import chunk_gated_delta_rule
from vllm.utils import cdiv

from ..layers.linear import RowParallelLinear
from . import interfaces
from .interfaces import (
    SupportsLoRA,  # kept as it is
    SupportsPP,
)
from .utils import (AutoWeightsLoader,
                    maybe_prefix)

if TYPE_CHECKING:
    from .utils import WeightsMapper

try:
    from .gone import Nothing
except ImportError:
    Nothing = None


class AlphaModel(interfaces.Base):
    def forward(self, x):
        return   chunk_gated_delta_rule(x)    # odd   spacing stays


class AlphaForCausalLM(AlphaModel, SupportsLoRA, SupportsPP):
    def load_weights(self, weights):
        from .utils import late
        return AutoWeightsLoader(self).load_weights(weights)
'''
UTILS = "class AutoWeightsLoader: ...\ndef maybe_prefix(a, b): ...\nclass WeightsMapper: ...\ndef late(): ...\n"
ENGINE = {
    "vllm/__init__.py": "",
    "vllm/_version.py": "__version__ = version = '0.20.0'\n",
    "vllm/utils/__init__.py": "def cdiv(a, b): ...\n",
    "vllm/model_executor/__init__.py": "",
    "vllm/model_executor/layers/__init__.py": "",
    "vllm/model_executor/layers/activation.py": "class SiluAndMul: ...\nclass GeluAndMul: ...\n",
    "vllm/model_executor/layers/linear.py": "class RowParallelLinear: ...\n",
    "vllm/model_executor/layers/fla/__init__.py": "",
    "vllm/model_executor/layers/fla/ops.py": "def chunk_gated_delta_rule(x): ...\n",
    "vllm/model_executor/models/__init__.py": "",
    "vllm/model_executor/models/registry.py": REGISTRY,
    "vllm/model_executor/models/interfaces.py": "class Base: ...\nclass SupportsLoRA: ...\nclass SupportsPP: ...\n",
    "vllm/model_executor/models/utils.py": UTILS,
    "vllm/model_executor/models/alpha.py": ALPHA,
}
# The next version: `cdiv` has moved, the model has changed in two places.
NEWER = {
    **ENGINE,
    "vllm/_version.py": "__version__ = version = '0.21.0'\n",
    "vllm/utils/__init__.py": "",
    "vllm/utils/math_utils.py": "def cdiv(a, b): ...\n",
    "vllm/model_executor/models/alpha.py": ALPHA.replace(
        "from vllm.utils import cdiv\n", "from vllm.utils.math_utils import cdiv\n"
    )
    .replace("return AutoWeightsLoader(self)", "return AutoWeightsLoader(self, skip=['rotary'])")
    .replace('"""A model."""', '"""A model, the second edition."""'),
}
SETUP = """
from setuptools import setup
setup(
    name="vllm-kunlun",
    entry_points={
        "vllm.platform_plugins": ["kunlun = vllm_kunlun:register"],
        "vllm.general_plugins": ["kunlun_model = vllm_kunlun:register_model"],
    },
)
"""
CALLS = """from vllm import ModelRegistry


def register_model():
    # the first
    ModelRegistry.register_model("DemoForCausalLM", "vllm_kunlun.models.demo:DemoForCausalLM")  # a note

    print("registered")
"""
PLUGIN = {
    "setup.py": SETUP,
    "vllm_kunlun/__init__.py": (
        "def register():\n    return 'x'\n\n\ndef register_model():\n"
        "    from vllm_kunlun.models import register_model as inner\n\n    inner()\n"
    ),
    "vllm_kunlun/models/__init__.py": CALLS,
    "vllm_kunlun/models/demo.py": "class DemoForCausalLM: ...\n",
    "vllm_kunlun/ops/__init__.py": "",
    "vllm_kunlun/ops/fla/__init__.py": "from .chunk import chunk_gated_delta_rule\n",
    "vllm_kunlun/ops/fla/chunk.py": "def chunk_gated_delta_rule(x): ...\n",
}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
