"""Real checkpoints and the real engine, made once for all end-to-end tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def engine() -> Path:
    """The interpreter of the embedded engine; `make test` installs it first, so its absence is a failure there."""
    from seatrial.core.errors import EngineError
    from seatrial.engine.install import embedded_kind
    from seatrial.engine.store import find_engine

    kind = embedded_kind("cpu")
    try:
        return Path(find_engine(kind.distribution, kind.default_version).python)
    except EngineError as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(exc.one_line())


@pytest.fixture(scope="session")
def tiny_qwen3(engine, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "qwen3-tiny"
    subprocess.run([sys.executable, "-m", "seatrial", "tiny", "qwen3", str(folder)], check=True)
    return folder


@pytest.fixture
def copy_of(tmp_path):
    """A copy of a checkpoint that a test may damage."""

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / f"{folder.name}-copy"))

    return copy
