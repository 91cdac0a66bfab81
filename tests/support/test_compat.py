"""The compatibility meter on small engines and plugins: what breaks is reported, what is guarded or dead is not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support_sources import sdist, wheel, write

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.verdict import Verdict
from seatrial.support.compat import compat

ENGINE = {
    "vllm/__init__.py": (
        "import typing\n"
        "ATTRS = {'LLM': '.llm:LLM', 'ModelRegistry': '.llm:R'}\n"
        "if typing.TYPE_CHECKING:\n"
        "    from vllm.llm import LLM, OnlyForTypes\n"
        "else:\n"
        "    def __getattr__(name):\n"
        "        if name in ATTRS: return load(ATTRS[name])\n"
        "        raise AttributeError(name)\n"
    ),
    "vllm/_version.py": "__version__ = version = '0.50.0'\n",
    "vllm/llm.py": "class LLM: pass\n",
    "vllm/lenient.py": "def __getattr__(name):\n    if name == 'old': return 1\n",
    "vllm/native_user.py": "from vllm._C import op\n",
    "vllm/utils/__init__.py": "from vllm.utils.math import *\nfrom .text import shout as cry\n",
    "vllm/utils/math.py": "def cdiv(a, b):\n    return -(a // -b)\n",
    "vllm/utils/text.py": "def shout(text, *, loud): ...\n",
    "vllm/moved/__init__.py": "",
    "vllm/moved/here.py": "class Wanderer: pass\n",
    "vllm/layer.py": (
        "from abc import ABC, abstractmethod\n"
        "class Base(ABC):\n"
        "    def __init__(self, size, *, dtype): ...\n"
        "    @abstractmethod\n"
        "    def run(self, x): ...\n"
        "    @classmethod\n"
        "    def pick(cls, kind, config): ...\n"
        "    @staticmethod\n"
        "    def table(a, b=1): ...\n"
    ),
    "vllm/platforms/__init__.py": "",
    "vllm/platforms/interface.py": (
        "class Platform:\n    @classmethod\n    def get_backend(cls, name, heads=None): ...\n"
    ),
    "vllm/caller.py": "from vllm.platforms import current_platform\ncurrent_platform.get_backend('a', heads=3)\n",
}
POINTS = "[vllm.general_plugins]\nplug = plug:register\n"
PLUGIN = {
    "plug/__init__.py": "def register():\n    import plug.main\n",
    "plug-1.0.dist-info/METADATA": "Name: plug\nVersion: 1.0\n",
    "plug-1.0.dist-info/entry_points.txt": POINTS,
}


@pytest.fixture
def measure(tmp_path):
    def run(main, files=None, **options):
        engine = write(tmp_path / "engine", ENGINE)
        plugin = write(tmp_path / "plugin", {**PLUGIN, "plug/main.py": main, **(files or {})})
        return compat(engine, plugin, **options)

    return run


def broken(report):
    return [(h.code, h.symbol) for h in report.breakages()]


@pytest.mark.parametrize(
    "main",
    [
        "from vllm import LLM\n",
        "from vllm.utils import cdiv, cry\n",
        "from vllm.utils import math, text\n",
        "import vllm.utils.math as m\nm.cdiv(1, 2)\n",
        "from vllm._C import anything\n",
        "from vllm.lenient import whatever\n",
        "try:\n    from vllm.gone import X\nexcept ImportError:\n    X = None\n",
        "try:\n    from vllm.gone import X\nexcept ImportError:\n    from vllm.moved.here import Wanderer as X\n",
        "import contextlib\nwith contextlib.suppress(ImportError):\n    from vllm.gone import X\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vllm.gone import X\n",
        "from plug.u import vllm_version_is\nif vllm_version_is('0.49.0'):\n    from vllm.gone import X\n",
        "from plug.u import vllm_version_is\nOLD = vllm_version_is('0.49.0')\nif OLD:\n    from vllm.gone import X\n",
        "from packaging.version import Version\nimport vllm\n"
        "if Version(vllm.__version__) < Version('0.50'):\n    from vllm.gone import X\n",
        "def f():\n    if vllm_version_is('0.50.0'):\n        return\n    from vllm.gone import X\n",
        "import vllm.utils as u\nif hasattr(u, 'gone'):\n    u.gone()\n",
        "from importlib.util import find_spec\nif find_spec('vllm.gone') is not None:\n    import vllm.gone\n",
        "import vllm.utils as u\nu.extra = 1\ndef f():\n    from vllm.utils import extra\n    return u.extra\n",
        "from vllm.utils.text import shout\nshout('a', **options)\n",
        "from vllm.utils.math import cdiv\ncdiv(*pair)\n",
        "from vllm.layer import Base\nBase.table(1)\nBase.pick('k', None)\n",
        "from vllm.utils.math import cdiv\ndef f(cdiv):\n    return cdiv(1, 2, 3)\n",
        "from __future__ import annotations\nimport vllm.utils as u\ndef f(x) -> u.gone: ...\n",
        'import vllm.utils as u\ndef f(x) -> "u.gone": ...\n',
    ],
)
def test_what_fits_or_is_guarded_raises_no_alarm(measure, main):
    report = measure(main, {"plug/u.py": "def vllm_version_is(v): ...\n"})
    assert broken(report) == []
    assert report.outcome.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("main", "expected"),
    [
        ("import vllm.gone\n", ("K001", "vllm.gone")),
        ("from vllm.gone import X\n", ("K001", "vllm.gone")),
        ("from vllm.utils import gone\n", ("K002", "vllm.utils.gone")),
        ("from vllm import OnlyForTypes\n", ("K002", "vllm.OnlyForTypes")),
        ("def f():\n    from vllm.utils import gone\n", ("K002", "vllm.utils.gone")),
        ("try:\n    from vllm.gone import X\nexcept ValueError:\n    pass\n", ("K001", "vllm.gone")),
        ("try:\n    from vllm.gone import X\nexcept ImportError:\n    raise\n", ("K001", "vllm.gone")),
        ("try:\n    from vllm.gone import X\nexcept ImportError:\n    import vllm.gone2\n", ("K001", "vllm.gone2")),
        ("if vllm_version_is('0.50.0'):\n    import vllm.gone\n", ("K001", "vllm.gone")),
        ("if not vllm_version_is('0.49.0'):\n    import vllm.gone\n", ("K001", "vllm.gone")),
        ("import vllm.utils as u\nu.gone()\n", ("K003", "vllm.utils.gone")),
        ("import vllm.utils as u\ndef f(x) -> u.gone: ...\n", ("K003", "vllm.utils.gone")),
        (
            "import vllm.utils as u\nclass C:\n    def f(self, *, x: list[u.gone] = ()): ...\n",
            ("K003", "vllm.utils.gone"),
        ),
        ("from vllm.layer import Base\nx = Base.nothing\n", ("K003", "vllm.layer.Base.nothing")),
        ("from vllm.utils import cry\ncry('a', loud=1, deaf=2)\n", ("K004", "vllm.utils.text.shout")),
        ("from vllm.utils import cry\ncry('a')\n", ("K005", "vllm.utils.text.shout")),
        ("from vllm.utils import cdiv\ncdiv(1, 2, 3)\n", ("K006", "vllm.utils.math.cdiv")),
        ("from vllm.utils import cdiv\ncdiv(1, 2, b=3)\n", ("K006", "vllm.utils.math.cdiv")),
        (
            "from vllm.layer import Base\nclass Mine(Base):\n"
            "    def __init__(self): super().__init__(1)\n    def run(self, x): ...\n",
            ("K005", "vllm.layer.Base.__init__"),
        ),
        (
            "from vllm.platforms.interface import Platform\nclass P(Platform):\n"
            "    @classmethod\n    def get_backend(cls, name): ...\n",
            ("K007", "vllm.platforms.interface.Platform.get_backend"),
        ),
        (
            "from vllm.layer import Base\nclass Mine(Base):\n    def other(self): ...\n",
            ("K008", "vllm.layer.Base.run"),
        ),
        ("from plug.absent import x\n", ("K013", "plug.absent")),
        ("def f(:\n", ("K012", "plug.main")),
    ],
)
def test_what_does_not_fit_is_reported_with_its_code_and_symbol(measure, main, expected):
    report = measure(main)
    assert expected in broken(report)
    assert report.outcome.verdict is Verdict.FAIL


def test_a_hit_names_the_line_when_it_breaks_and_where_the_name_went(measure):
    report = measure("\nfrom vllm.utils import Wanderer\n")
    hit = report.breakages()[0]
    assert (hit.file, hit.line, hit.when) == ("plug/main.py", 2, "import")
    assert hit.moved_to == ("vllm.moved.here.Wanderer",)


def test_a_name_of_the_plugins_own_is_looked_for_in_the_plugin(measure):
    files = {
        "plug/old.py": "",
        "plug/new.py": "class Head: pass\n",
        "plug/deep/__init__.py": "",
        "plug/deep/tools.py": "",
    }
    report = measure("from plug.old import Head\nimport plug.tools\n", files)
    assert {h.symbol: h.moved_to for h in report.breakages()} == {
        "plug.old.Head": ("plug.new.Head",),
        "plug.tools": ("plug.deep.tools",),
    }


def test_code_that_no_entry_point_leads_to_does_not_count(measure):
    report = measure("x = 1\n", {"plug/dead.py": "import vllm.gone\n"})
    assert broken(report) == []
    assert [(h.code, h.reached) for h in report.hits] == [("K001", False)]


def test_an_unknown_engine_version_leaves_version_tests_open_and_is_inconclusive(tmp_path):
    engine = write(tmp_path / "engine", {k: v for k, v in ENGINE.items() if k != "vllm/_version.py"})
    plugin = write(tmp_path / "plugin", {**PLUGIN, "plug/main.py": "x = 1\n"})
    assert compat(engine, plugin).outcome.verdict is Verdict.INCONCLUSIVE
    assert compat(engine, plugin, version="0.50.0").outcome.verdict is Verdict.PASS


def test_architectures_are_broken_through_the_modules_they_load_and_by_their_own_registration(measure):
    files = {
        "plug/__init__.py": (
            "from vllm import ModelRegistry\n"
            "def register():\n"
            "    ModelRegistry.register_model('Good', 'plug.good:Good')\n"
            "    ModelRegistry.register_model('Bad', 'plug.bad:Bad')\n"
            "    ModelRegistry.register_model('Ghost', 'plug.nowhere:Ghost')\n"
        ),
        "plug/good.py": "class Good: pass\n",
        "plug/bad.py": "from plug.deep import helper\nclass Bad: pass\n",
        "plug/deep.py": "from vllm.gone import X\nhelper = X\n",
    }
    report = measure("", files)
    states = {a.architecture: a for a in report.architectures}
    assert {n: a.importable for n, a in states.items()} == {"Good": True, "Bad": False, "Ghost": False}
    assert "plug/deep.py:1" in states["Bad"].because[0]
    assert next(h for h in report.breakages() if h.module == "plug.deep").architectures == ("Bad",)


def test_an_import_on_the_way_to_the_registration_breaks_every_architecture(measure):
    files = {
        "plug/__init__.py": (
            "from vllm import ModelRegistry\n"
            "def register():\n"
            "    from plug.bad import Bad\n"
            "    ModelRegistry.register_model('Good', 'plug.good:Good')\n"
        ),
        "plug/good.py": "class Good: pass\n",
        "plug/bad.py": "from vllm.gone import X\n",
    }
    assert [a.importable for a in measure("", files).architectures] == [False]


def test_entry_points_hooks_and_patches_that_do_nothing_are_reported(measure):
    files = {
        "plug-1.0.dist-info/entry_points.txt": POINTS + "ghost = plug:absent\n",
        "plug/hook.py": (
            "import builtins\n"
            "def hook(name, *rest):\n"
            "    mapping = {'vllm.utils.math': 'plug.mymath', 'vllm.never': 'plug.mymath'}\n"
            "builtins.__import__ = hook\n"
        ),
        "plug/mymath.py": "def cdiv(a, b): ...\n",
    }
    main = "import plug.hook\nimport vllm.utils.text as t\nt.nobody_reads_this = 1\n"
    report = measure(main, files)
    assert {(h.code, h.symbol) for h in report.hits} == {
        ("K009", "plug:absent"),
        ("K010", "vllm.never"),
        ("K011", "vllm.utils.text.nobody_reads_this"),
    }


def test_a_patch_that_wraps_a_name_the_engine_lacks_does_not_provide_it(measure):
    files = {
        "plug/wrap.py": "import vllm.utils as u\n_original = u.gone\ndef mine(): return _original()\nu.gone = mine\n",
        "plug/user.py": "from vllm.utils import gone\n",
    }
    report = measure("import plug.wrap\nimport plug.user\n", files)
    assert set(broken(report)) == {("K003", "vllm.utils.gone"), ("K002", "vllm.utils.gone")}
    guarded = "import vllm.utils as u\n_original = getattr(u, 'gone', None)\nu.gone = lambda: _original\n"
    assert broken(measure("import plug.wrap\nimport plug.user\n", {**files, "plug/wrap.py": guarded})) == []


def test_a_module_that_an_import_hook_replaces_is_judged_by_its_replacement(measure):
    files = {
        "plug/hook.py": (
            "import builtins\n"
            "def hook(name, *rest):\n"
            "    mapping = {'vllm.gone': 'plug.mine'}\n"
            "builtins.__import__ = hook\n"
        ),
        "plug/mine.py": "X = 1\n",
    }
    assert broken(measure("import plug.hook\nfrom vllm.gone import X\n", files)) == []


def test_archives_give_the_same_report_as_folders(tmp_path):
    files = {**PLUGIN, "plug/main.py": "import vllm.gone\n"}
    engine = wheel(tmp_path / "vllm-0.50.0-py3-none-any.whl", ENGINE)
    folder = compat(write(tmp_path / "e", ENGINE), write(tmp_path / "p", files))
    packed = compat(engine, sdist(tmp_path / "plug-1.0.tar.gz", files))
    assert packed.hits == folder.hits


def test_an_engine_source_without_vllm_and_a_plugin_without_entry_points_are_clear_errors(tmp_path):
    engine = write(tmp_path / "e", ENGINE)
    with pytest.raises(FileFormatError, match="no package vllm"):
        compat(write(tmp_path / "x", {"readme.txt": ""}), engine)
    with pytest.raises(UsageError, match="no entry points"):
        compat(engine, write(tmp_path / "p", {"plug/__init__.py": ""}))


def test_the_command_ends_with_the_verdicts_exit_code_and_prints_json(tmp_path):
    engine = write(tmp_path / "e", ENGINE)
    plugin = write(tmp_path / "p", {**PLUGIN, "plug/main.py": "import vllm.gone\n"})

    def run(*arguments):
        argv = [sys.executable, "-m", "seatrial", "compat", *arguments]
        return subprocess.run(argv, capture_output=True, text=True)

    shown = run("--engine", str(engine), "--plugin", str(plugin))
    assert (shown.returncode, "K001 plug/main.py:1" in shown.stdout) == (1, True)
    document = json.loads(run("--engine", str(engine), "--plugin", str(plugin), "--json").stdout)
    assert document["hits"][0]["code"] == "K001"
    table = run("matrix", "--engine", str(engine), "--plugin", str(plugin))
    assert (table.returncode, "0.50.0" in table.stdout) == (1, True)
    assert run("--engine", str(engine)).returncode == 2
