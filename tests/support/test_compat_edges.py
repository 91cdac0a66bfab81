"""The compatibility meter where it might answer with more confidence than the sources give, and on hostile ones."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from support_sources import write
from test_compat import ENGINE, PLUGIN

from seatrial.cli.compat import command
from seatrial.core.errors import SeatrialError, UsageError
from seatrial.support.compat import compat

GONE = "    from vllm.gone import X\n"


@pytest.fixture
def measure(tmp_path):
    def run(main, engine=(), version="", plugin=()):
        source = write(tmp_path / "engine", {**ENGINE, **dict(engine)})
        files = {**PLUGIN, "plug/main.py": main, **dict(plugin)}
        return compat(source, write(tmp_path / "plugin", files), version=version)

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
    assert measure(text.replace("if vllm.__version__", "V = vllm.__version__\nif V")).breakages()
    text = "import vllm\nif Version(vllm.__version__) >= Version('0.6.0'):\n    pass\nelse:\n" + GONE
    assert measure(text).hits == ()


def test_an_engine_version_that_is_none_is_refused_or_leaves_the_verdict_open(measure):
    with pytest.raises(SeatrialError, match="--engine-version 'latest'"):
        measure("", version="latest")
    report = measure("", {"vllm/_version.py": "__version__ = 'dev'\n"})
    assert report.outcome.verdict.value == "inconclusive"
    assert "'dev'" in report.outcome.reason
    assert "--engine-version" in report.outcome.reason


ASKS = (
    "from packaging.version import Version\nimport os\ndef vllm_version_is(asked):\n    import vllm\n"
    "    said = os.getenv('VLLM_VERSION') or vllm.__version__\n    return Version(said) == Version(asked)\n"
)
SAYS = {"vllm/__init__.py": ENGINE["vllm/__init__.py"] + "from vllm._version import __version__\n"}
LABELLED = {**SAYS, "vllm/_version.py": "__version__ = version = '0.50.0+cpu'\n"}


@pytest.mark.parametrize(
    ("test", "mend"),
    [
        ("vllm_version_is('0.50.0')", ": set VLLM_VERSION=0.50.0 where it runs"),
        ("Version(vllm.__version__) == Version('0.50.0')", ""),
        ("Version(vllm.__version__) > Version('0.50.0')", ""),
        ("vllm.__version__ == '0.50.0'", ""),
    ],
)
def test_the_label_of_a_build_that_turns_a_version_test_over_is_no_pass(measure, test, mend):
    text = f"import vllm\nfrom plug.u import vllm_version_is\nif {test}:\n    X = 1\n"
    report = measure(text, LABELLED, plugin={"plug/u.py": ASKS})
    (hit,) = report.hits
    assert (hit.code, hit.file, hit.line, hit.breaks) == ("K015", "plug/main.py", 3, False)
    assert hit.message == f"vLLM says 0.50.0+cpu, so {test} is not what it is for 0.50.0{mend}"
    assert report.outcome.verdict.value == "inconclusive"
    assert "--engine-version 0.50.0 judges the release" in report.outcome.reason
    assert measure(text, LABELLED, plugin={"plug/u.py": ASKS}, version="0.50.0").outcome.verdict.value == "pass"
    assert measure(text, SAYS, plugin={"plug/u.py": ASKS}).outcome.verdict.value == "pass"


@pytest.mark.parametrize(
    ("test", "asks"),
    [
        ("vllm_version_is('0.49.0')", ASKS),
        ("vllm_version_is('0.50.0')", ASKS.replace("Version(said)", "Version(Version(said).base_version)")),
        ("Version(vllm.__version__) >= Version('0.50.0')", ASKS),
        ("Version(Version(vllm.__version__).public) == Version('0.50.0')", ASKS),
    ],
)
def test_the_label_of_a_build_says_nothing_to_a_test_that_it_does_not_turn_over(measure, test, asks):
    text = f"import vllm\nfrom plug.u import vllm_version_is\nif {test}:\n    X = 1\n"
    report = measure(text, LABELLED, plugin={"plug/u.py": asks})
    assert (report.hits, report.outcome.verdict.value) == ((), "pass")


@pytest.mark.parametrize("says", ["Whether vLLM is the release that is asked for.", "Reads the public version, split."])
def test_words_about_a_version_test_do_not_take_the_label_off_it(measure, says):
    text = "from plug.u import vllm_version_is\nif vllm_version_is('0.50.0'):\n    X = 1\n"
    asks = ASKS.replace("(asked):\n", f"(asked):\n    '{says}'\n")
    report = measure(text, LABELLED, plugin={"plug/u.py": asks})
    assert ([h.code for h in report.hits], report.outcome.verdict.value) == (["K015"], "inconclusive")


def test_a_version_test_out_of_reach_or_beside_a_break_leaves_the_verdict_as_it_is(measure):
    text = "from plug.u import vllm_version_is\nif vllm_version_is('0.50.0'):\n    X = 1\n"
    away = measure("", LABELLED, plugin={"plug/u.py": ASKS, "plug/away.py": text})
    assert (away.hits, away.outcome.verdict.value) == ((), "pass")
    assert measure(text + "import vllm.gone\n", LABELLED, plugin={"plug/u.py": ASKS}).outcome.verdict.value == "fail"


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


BY_VERSION = (
    "from vllm import ModelRegistry\n"
    "def register():\n"
    "    if vllm_version_is('0.50.0'):\n"
    "        ModelRegistry.register_model('A', 'plug.now:A')\n"
    "    else:\n"
    "        ModelRegistry.register_model('A', 'plug.later:A')\n"
    "    ModelRegistry.register_model(model_arch='B', model_class='plug.now:B')\n"
    "    ModelRegistry.register_model('C', 'plug.now.C')\n"
)


@pytest.mark.parametrize(("version", "expected"), [("0.50.0", "plug.now:A"), ("0.51.0", "plug.later:A")])
def test_of_two_registrations_of_one_architecture_the_one_for_this_engine_is_judged(measure, version, expected):
    text = PLUGIN["plug/__init__.py"] + "    plug.main.register()\n"
    files = {"plug/__init__.py": text, "plug/now.py": "class A: pass\n", "plug/later.py": "class A: pass\n"}
    report = measure(BY_VERSION, version=version, plugin=files)
    assert [(a.architecture, a.class_path, a.importable) for a in report.architectures] == [("A", expected, True)]
    assert [line.partition(": ")[0] for line in report.registrations_unread] == ["plug/main.py:7", "plug/main.py:8"]


def test_names_set_by_text_on_the_module_itself_may_be_there(measure):
    engine = {"vllm/late.py": "import sys\nfor n in names():\n    setattr(sys.modules[__name__], n, 1)\n"}
    assert measure("from vllm.late import anything\n", engine).hits == ()


def test_options_before_the_matrix_are_refused_and_its_rows_tell_unknown_engines_apart(tmp_path):
    files = {k: v for k, v in ENGINE.items() if k != "vllm/_version.py"}
    first, second = write(tmp_path / "one", files), write(tmp_path / "two", files)
    plugin = write(tmp_path / "plugin", {**PLUGIN, "plug/main.py": ""})
    runner = CliRunner()
    for option in (["--json"], ["--engine-version", "0.50.0"], ["--engine", str(first)]):
        done = runner.invoke(command, [*option, "matrix", "--engine", str(first), "--plugin", str(plugin)])
        assert isinstance(done.exception, UsageError), option
    done = runner.invoke(command, ["matrix", "--engine", str(first), "--engine", str(second), "--plugin", str(plugin)])
    assert done.exit_code == 3
    assert "--engine-version" in done.output
    assert str(first) in done.output
    assert str(second) in done.output


@pytest.mark.parametrize(
    "text",
    [
        "from vllm.utils import cdiv\ndef use():\n    def cdiv(a): ...\n    return cdiv(1)\n",
        "from vllm.utils import cdiv\nasync def cdiv(a): ...\ncdiv(1)\n",
        "from vllm.utils import cdiv\ncdiv: object = wrap(cdiv)\ncdiv(1)\n",
        "from vllm.utils import cdiv\ndef use():\n    class cdiv: ...\n    return cdiv()\n",
    ],
    ids=["nested def", "async def", "annotated", "nested class"],
)
def test_a_name_that_the_plugin_defines_anew_is_not_vllms(measure, text):
    assert measure(text).hits == ()


def test_a_patch_in_code_that_nothing_leads_to_puts_nothing_in_place(measure):
    use = "from vllm.utils.text import gone\n"
    patch = {"plug/patch.py": "import vllm.utils.text as t\nt.gone = print\n"}
    assert measure(f"import plug.patch\n{use}", plugin=patch).breakages() == ()
    assert [h.symbol for h in measure(use, plugin=patch).breakages()] == ["vllm.utils.text.gone"]


@pytest.mark.parametrize(
    "text",
    [
        "from vllm.utils import cdiv\nx = [cdiv(1) for cdiv in [abs]]\n",
        "from vllm.utils import cdiv\nx = (lambda cdiv: cdiv(1))(abs)\n",
        "from vllm.utils import cdiv\nfor cdiv in [abs]:\n    cdiv(1)\n",
        "import vllm.utils as u\nx = hasattr(u, 'gone') and u.gone\n",
        "import vllm.utils as u\nx = not hasattr(u, 'gone') or u.gone\n",
    ],
    ids=["comprehension", "lambda", "loop", "and", "or"],
)
def test_a_name_bound_anew_in_an_expression_and_an_operand_not_come_to_raise_no_alarm(measure, text):
    assert [h for h in measure(text).hits if h.breaks] == []


def test_an_operand_that_is_come_to_is_looked_at(measure):
    text = "import vllm.utils as u\nx = flag or u.gone\ny = (lambda a: u.gone2)(1)\nz = [u.gone3 for a in b]\n"
    assert [h.symbol.rpartition(".")[2] for h in measure(text).breakages()] == ["gone", "gone2", "gone3"]


def test_what_follows_a_guarded_import_that_fails_does_not_run(measure):
    text = "try:\n    from vllm.gone import X\nexcept ImportError:\n    X = None\nelse:\n    from vllm.gone2 import Y\n"
    assert measure(text).breakages() == ()
    text = "try:\n    import vllm.utils\nexcept ImportError:\n    X = None\nelse:\n    from vllm.gone2 import Y\n"
    assert [h.symbol for h in measure(text).breakages()] == ["vllm.gone2"]


@pytest.mark.parametrize(
    "text",
    [
        "import vllm\nV = Version(vllm.__version__)\nif V < Version('{}'):\n",
        "from vllm import __version__ as said\nif version.parse(said) < version.parse('{}'):\n",
        "from vllm.version import __version__\nif Version(__version__) < Version('{}'):\n",
        "from importlib.metadata import version\nif Version(version('vllm')) < Version('{}'):\n",
        "import vllm\nif Version(Version(vllm.__version__).base_version) < Version('{}'):\n",
        "import vllm\nV = vllm.__version__\nW = Version(V)\nif W < Version('{}'):\n",
    ],
)
def test_a_version_test_is_understood_however_the_version_is_come_by(measure, text):
    engine = {
        "vllm/__init__.py": "from vllm._version import __version__\n",
        "vllm/version.py": "from ._version import *\n",
    }
    assert measure(text.replace("{}", "0.40") + GONE, engine).hits == ()
    assert [h.symbol for h in measure(text.replace("{}", "0.60") + GONE, engine).breakages()] == ["vllm.gone"]


def test_a_module_imported_by_its_name_is_an_import(measure):
    text = "import importlib as i\nfrom importlib import import_module\ndef use():\n    import_module('vllm.gone')\n"
    text += "    import_module('vllm.utils')\n"
    assert [(h.code, h.symbol, h.when) for h in measure(text).breakages()] == [("K001", "vllm.gone", "use")]


REFUSES = "import vllm\nif Version(vllm.__version__) < Version('{}'):\n    raise RuntimeError('too old')\nX = 1\n"


def test_a_module_that_refuses_this_engine_by_itself_does_not_pass(measure):
    assert measure(REFUSES.format("0.40")).hits == ()
    (hit,) = measure(REFUSES.format("0.60")).breakages()
    assert (hit.code, hit.file, hit.line, hit.when) == ("K014", "plug/main.py", 3, "import")
    assert "too old" in hit.message


@pytest.mark.parametrize(
    "text",
    [
        "import os\nif os.environ.get('X'):\n    raise RuntimeError\n",
        "try:\n    raise RuntimeError\nexcept RuntimeError:\n    pass\n",
        "try:\n    import other\nexcept Exception:\n    raise\n",
        "for x in found():\n    raise RuntimeError\n",
        "def use():\n    raise RuntimeError\n",
        "if False:\n    raise RuntimeError\n",
        "import contextlib\nwith contextlib.suppress(RuntimeError):\n    raise RuntimeError\n",
    ],
    ids=["test", "caught", "handler", "loop", "function", "dead", "suppressed"],
)
def test_a_raise_that_may_not_run_or_is_caught_raises_no_alarm(measure, text):
    assert measure(text).hits == ()


def test_what_stands_after_a_raise_is_not_reached_and_the_architecture_is_not_importable(measure):
    text = "from vllm import ModelRegistry\ndef register():\n    ModelRegistry.register_model('A', 'plug.model:A')\n"
    files = {
        "plug/__init__.py": PLUGIN["plug/__init__.py"] + "    plug.main.register()\n",
        "plug/model.py": REFUSES.format("0.60") + "class A: pass\n",
    }
    (impact,) = measure(text, plugin=files).architectures
    assert not impact.importable
    assert "too old" in impact.because[0]
