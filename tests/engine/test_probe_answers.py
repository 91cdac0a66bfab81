"""What the probes answer where an engine's modules are odd: one odd module costs no other its answer."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest

import seatrial

PROBES = Path(seatrial.__file__).parent / "engine" / "probes"


def probe(name):
    spec = importlib.util.spec_from_file_location(f"odd_{name}", PROBES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Lazy(types.ModuleType):
    """As transformers' and vLLM's lazy modules: what is asked for is imported then, and that may fail."""

    def __getattr__(self, name):
        if name == "broken":
            raise RuntimeError("its import failed")
        raise AttributeError(name)


@pytest.fixture
def lazy(monkeypatch):
    module = Lazy("odd_lazy")
    module.there = 1
    monkeypatch.setitem(sys.modules, "odd_lazy", module)


@pytest.mark.parametrize("what", ["attributes", "calls", "imports"])
def test_a_lazy_module_that_fails_is_not_known_and_the_others_are_answered(lazy, what):
    call = {"positional": 0, "keywords": [], "stars": False, "spread": False, "bound": False}
    asked = {
        "attributes": ["odd_lazy.broken", "odd_lazy.there", "odd_lazy.gone"],
        "calls": [{**call, "what": f"odd_lazy.{name}"} for name in ("broken", "there.gone")],
        "imports": [["odd_lazy", "broken"], ["odd_lazy", "there"]],
    }
    request = {"imports": [], "calls": [], "attributes": [], what: asked[what]}
    answers = probe("symbols").probe(request, print)[what]
    assert answers[0] == "not known: RuntimeError: its import failed"
    others = {"attributes": ["there", "missing"], "calls": ["not known: no odd_lazy.there.gone"], "imports": ["there"]}
    assert answers[1:] == others[what]


def test_a_module_that_nobody_has_imported_yet_is_not_missing(tmp_path, monkeypatch):
    (tmp_path / "odd_package").mkdir()
    (tmp_path / "odd_package" / "__init__.py").touch()
    (tmp_path / "odd_package" / "below.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    request = {"imports": [], "calls": [], "attributes": ["odd_package.below", "odd_package.gone"]}
    assert probe("symbols").probe(request, print)["attributes"] == ["there", "missing"]


def test_a_triton_that_a_plugin_has_made_does_not_end_the_doctor(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", types.ModuleType("triton"))
    assert probe("doctor")._triton() == {"present": True, "file": "made by a plugin", "backends": []}
