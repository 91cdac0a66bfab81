"""Fixtures of the report's tests: ready runs, closed again."""

from __future__ import annotations

import pytest
from report_runs import make_run, recorded

from seatrial.evidence import open_workspace


@pytest.fixture
def place(tmp_path):
    """The folder for a workspace's runs."""
    return open_workspace(tmp_path / "w", write=True).runs_folder


@pytest.fixture
def make(place):
    """Makes runs in the workspace; a name of `data/` or steps."""
    made = []

    def maker(steps="good", name="20260131-120000-tiny-0001", **more):
        run = make_run(place / name, recorded(steps) if isinstance(steps, str) else steps, **more)
        made.append(run)
        return run

    yield maker
    for run in made:
        run.close()
