"""The compatibility meter where it might answer with more confidence than the sources give, and on hostile ones."""

from __future__ import annotations

import pytest
from support_sources import write
from test_compat import ENGINE, PLUGIN

from seatrial.core.errors import SeatrialError
from seatrial.support.compat import compat

GONE = "    from vllm.gone import X\n"


@pytest.fixture
def measure(tmp_path):
    def run(main, engine=(), version=""):
        source = write(tmp_path / "engine", {**ENGINE, **dict(engine)})
        return compat(source, write(tmp_path / "plugin", {**PLUGIN, "plug/main.py": main}), version=version)

    return run


@pytest.mark.parametrize(
    "before",
    [
        "HAS = False\ntry:\n    import other\n    HAS = True\nexcept ImportError:\n    pass\n",
        "import os\nHAS = False\nif os.environ.get('X'):\n    HAS = True\n",
        "import os\nHAS = False\nif vllm_version_is('0.50.0'):\n    HAS = os.environ.get('X')\n",
        "HAS = False\nHAS |= found()\n",
        "HAS = False\nfor HAS in found():\n    pass\n",
        "HAS = False\ndef on():\n    global HAS\n    HAS = True\n",
    ],
    ids=["try", "undecided if", "unreadable value", "augmented", "loop", "global"],
)
def test_a_flag_that_may_be_turned_on_rules_no_code_out(measure, before):
    assert [h.symbol for h in measure(f"{before}if HAS:\n{GONE}").breakages()] == ["vllm.gone"]


def test_a_functions_own_name_is_not_the_modules_flag(measure):
    text = "HAS = False\ndef use(HAS):\n    if HAS:\n        from vllm.gone import X\n"
    assert [h.symbol for h in measure(text).breakages()] == ["vllm.gone"]


@pytest.mark.parametrize(
    "before",
    [
        "HAS = False\n",
        "HAS = True\nif vllm_version_is('0.50.0'):\n    HAS = False\n",
        "try:\n    import other\n    HAS = False\nexcept ImportError:\n    HAS = False\n",
        "HAS = False\nimport os\nif os.name:\n    os = None\n",
    ],
)
def test_a_flag_that_is_off_on_every_road_rules_its_code_out(measure, before):
    assert measure(f"{before}if HAS:\n{GONE}").hits == ()


def test_texts_of_versions_are_compared_as_texts_and_versions_as_versions(measure):
    text = "import vllm\nif vllm.__version__ >= '0.6.0':\n    pass\nelse:\n" + GONE
    assert measure(text).breakages()  # "0.50.0" comes before "0.6.0"
    text = "import vllm\nif Version(vllm.__version__) >= Version('0.6.0'):\n    pass\nelse:\n" + GONE
    assert measure(text).hits == ()


def test_an_engine_version_that_is_none_is_refused_or_leaves_the_verdict_open(measure):
    with pytest.raises(SeatrialError, match="--engine-version 'latest'"):
        measure("", version="latest")
    report = measure("", {"vllm/_version.py": "__version__ = 'dev'\n"})
    assert report.outcome.verdict.value == "inconclusive"
    assert "'dev'" in report.outcome.reason
    assert "--engine-version" in report.outcome.reason


@pytest.mark.parametrize(
    "main",
    [
        "if " + "not " * 900 + "a:\n    pass\n",
        "class C0: pass\n"
        + "".join(f"class C{i}(C{i - 1}): pass\n" for i in range(1, 1500))
        + "class D(C1499):\n    def f(self): super().f()\n",
    ],
    ids=["expression", "classes"],
)
def test_a_source_nested_too_deeply_is_an_error_that_names_it(measure, main):
    with pytest.raises(SeatrialError, match=r"plugin.*nested deeper"):
        measure(main)
