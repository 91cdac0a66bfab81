"""Which adapter a version of the engine gets, and what is said of it."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from seatrial.engine.border import PROBES


@pytest.fixture(scope="module")
def choose():
    spec = importlib.util.spec_from_file_location("seatrial_probe_dry", PROBES / "dry.py")
    probe = importlib.util.module_from_spec(spec)
    sys.modules["seatrial_probe_dry"] = probe
    spec.loader.exec_module(probe)
    yield probe.sibling("dry_arrange").choose_adapter
    for name in [name for name in sys.modules if name.startswith("seatrial_probe_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("version", "name", "proven"),
    [
        ("0.32.0", "0.27", True),
        ("0.27.1", "0.27", True),
        ("0.23.0", "0.23", True),
        ("0.27.0", "0.27", False),
        ("0.30.0", "0.27", False),
        ("0.41.2", "0.27", False),
        ("0.2.0", "0.11", False),
        ("0.32.0+cpu", "0.27", True),
        ("dev", "0.27", False),
    ],
)
def test_a_version_gets_the_newest_adapter_that_is_not_newer_and_only_proven_ones_are_called_so(
    choose, version, name, proven
):
    chosen, known = choose(version)
    assert (chosen["name"], known) == (name, proven)
