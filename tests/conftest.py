"""Fixtures shared by all tests. `shared_data` skips, with a reason, where the shared data folder is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# No time limits for single examples (a busy machine is no fault of the code), and on CI the same examples every time.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="Write the golden files of tests/delivery again.")
