"""What a comparison is told of a checkpoint: unknown where no file says, never "none" for want of a file."""

from __future__ import annotations

import json

import pytest

from seatrial.measure.load.facts import checkpoint_facts


@pytest.mark.parametrize(
    ("files", "method"),
    [
        ({"config.json": {"model_type": "qwen3"}}, "none"),
        ({"config.json": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
        ({"config.json": {"text_config": {"quantization_config": {"quant_method": "fp8"}}}}, "fp8"),
        ({"config.json": {"quantization_config": {"bits": 4}}}, "unnamed"),
        ({"config.json": {"model_type": "qwen3"}, "hf_quant_config.json": {}}, "modelopt"),
        ({"config.json": {"model_type": "qwen3"}, "quant_model_description.json": {}}, "ascend"),
        ({}, None),
        ({"config.json": [1]}, None),
    ],
)
def test_the_quantisation_is_known_from_every_place_that_engines_read(tmp_path, files, method):
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert checkpoint_facts(tmp_path)["quantization"] == method
