"""Checkpoints for the estimate's tests: a config in a folder, with or without a field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seatrial.estimate import Model, read_model

BASE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
}


@pytest.fixture
def make(tmp_path):
    """make(**changes) -> Model; a change to None takes the field out."""
    made = 0

    def build(**changes: Any) -> Model:
        nonlocal made
        made += 1
        folder: Path = tmp_path / f"model{made}"
        folder.mkdir()
        config = {k: v for k, v in {**BASE, **changes}.items() if v is not None}
        (folder / "config.json").write_text(json.dumps(config))
        return read_model(folder)

    return build
