"""The engine for tests: the pinned one in the user's cache, or the Python that SEATRIAL_ENGINE_PYTHON names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from seatrial.engine.border import ProbeSession
from seatrial.engine.choose import target_python
from seatrial.targets import load_target

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def engine_python() -> Path:
    named = os.environ.get("SEATRIAL_ENGINE_PYTHON")
    return Path(named) if named else target_python(load_target("cpu").target)


@pytest.fixture(scope="session")
def engine(engine_python, tmp_path_factory):
    """One probe session for all tests: the engine is imported once."""
    with ProbeSession(engine_python, log=tmp_path_factory.mktemp("log") / "dry.log") as session:
        yield session
