"""Checkpoints for the estimate's tests: a config in a folder, with or without a field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.estimate.estimate_base import BASE

from seatrial.estimate import Model, read_model


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
