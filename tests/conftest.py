"""Fixtures shared by all tests. `shared_data` skips, with a reason, where the shared data folder is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No time limits, neither for an example nor for making some (a busy machine is no fault of the code), and the same
# examples every time, so that whoever runs the tests again sees the same. SEATRIAL_EXPLORE=1 looks for new ones.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, **PATIENT)
settings.register_profile("explore", **PATIENT)
settings.load_profile("explore" if os.environ.get("SEATRIAL_EXPLORE") else "same")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="Write the golden files of tests/delivery again.")
