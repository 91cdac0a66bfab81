"""The registry read from source: vLLM's own tables, a plugin's registrations, every kind of source, bad input."""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_sources import ENGINE, ENGINE_REGISTRY, sdist, wheel, write

from seatrial.core.errors import FileFormatError, SeatrialError, UsageError
from seatrial.support.evaluate import Evaluator, Unresolved
from seatrial.support.modules import Package
from seatrial.support.reach import Reach
from seatrial.support.registry_read import difference, read_registry
from seatrial.support.source import EntryPoint, open_source
from seatrial.support.source.distributions import distributions

MODELS = "vllm.model_executor.models"
PLUGIN = {
    "plug/__init__.py": "def register():\n    from .models import register_all\n    register_all()\n",
    "plug/models.py": """
from vllm import ModelRegistry
from plug.classes import Direct

TABLE = {"LoopOne": "plug.loop:One", "LoopTwo": "plug.loop:Two"}


def register_all():
    ModelRegistry.register_model("AlphaForCausalLM", "plug.alpha:Mine")
    for arch, target in TABLE.items():
        ModelRegistry.register_model(arch, target)
    ModelRegistry.register_model(model_arch="DirectModel", model_cls=Direct)
    if some_flag():
        ModelRegistry.register_model("MaybeModel", "plug.maybe:Maybe")
    ModelRegistry.register_model("OldForCausalLM", "plug.old:Old")


def never_called():
    ModelRegistry.register_model("DeadModel", "plug.dead:Dead")
""",
    "setup.py": (
        "from setuptools import setup\n"
        "setup(name='plug', entry_points={'vllm.general_plugins': ['plug = plug:register']})\n"
    ),
}


def test_the_tables_are_read_with_spreads_comprehensions_and_the_second_tree(tmp_path):
    table = read_registry(write(tmp_path / "v", ENGINE))
    assert {n: e.class_path for n, e in table.supported().items()} == {
        "AlphaForCausalLM": f"{MODELS}.alpha:AlphaForCausalLM",
        "BetaForCausalLM": f"{MODELS}.alpha:AlphaForCausalLM",
        "GammaModel": f"{MODELS}.gamma:GammaModel",
        "NewTreeForCausalLM": "vllm.models.newtree:NewTreeForCausalLM",
    }
    assert table.engine_version == "0.50.0"
    assert (table.get("OldForCausalLM").state, table.get("OldForCausalLM").detail) == ("previously-supported", "0.10.2")
    assert table.get("AwayModel").state == "out-of-tree"
    assert table.findings == ()


def test_a_plugins_calls_loops_classes_and_conditions_are_read_and_dead_code_is_told_apart(tmp_path):
    engine, plugin = write(tmp_path / "v", ENGINE), write(tmp_path / "p", PLUGIN)
    table = read_registry(engine, [plugin])
    mine = {e.architecture: e for e in table.architectures if e.owner == "plug"}
    assert {n: e.class_path for n, e in mine.items()} == {
        "AlphaForCausalLM": "plug.alpha:Mine",
        "LoopOne": "plug.loop:One",
        "LoopTwo": "plug.loop:Two",
        "DirectModel": "plug.classes:Direct",
        "MaybeModel": "plug.maybe:Maybe",
        "OldForCausalLM": "plug.old:Old",
    }
    assert mine["AlphaForCausalLM"].overwrites == f"{MODELS}.alpha:AlphaForCausalLM"
    assert mine["MaybeModel"].condition == "some_flag()"
    assert {f.code for f in table.findings} == {"R003", "R006"}
    assert "DeadModel" in next(f.message for f in table.findings if f.code == "R003")


def test_what_cannot_be_worked_out_is_a_finding(tmp_path):
    text = (
        "from vllm import ModelRegistry\n"
        "def register():\n"
        "    for a in discover(): ModelRegistry.register_model(a, 'x:Y')\n"
        "    ModelRegistry.register_model('NoColon', 'plug.x.Y')\n"
    )
    files = {"plug/__init__.py": text, "setup.py": PLUGIN["setup.py"]}
    table = read_registry(write(tmp_path / "v", ENGINE), [write(tmp_path / "p", files)])
    assert {f.code for f in table.findings} == {"R005", "R004"}


def test_a_registration_that_vllm_refuses_or_without_its_arguments_registers_nothing(tmp_path):
    text = (
        "from vllm import ModelRegistry\n"
        "def register():\n"
        "    ModelRegistry.register_model(model_arch='Misnamed', model_class='plug.x:Y')\n"
        "    ModelRegistry.register_model('NoColon', 'plug.x.Y')\n"
        "    for a in (): pass\n"
        "    else: ModelRegistry.register_model('AfterLoop', 'plug.x:Y')\n"
        "    for a in ('x', 'y'):\n"
        "        ModelRegistry.register_model('InLoop' + a, 'plug.x:Y')\n"
        "    if one() or two():\n"
        "        if three(): ModelRegistry.register_model('Nested', 'plug.x:Y')\n"
    )
    files = {"plug/__init__.py": text, "setup.py": PLUGIN["setup.py"]}
    table = read_registry(write(tmp_path / "v", ENGINE), [write(tmp_path / "p", files)])
    mine = {e.architecture: e for e in table.architectures if e.owner == "plug"}
    assert sorted(mine) == ["AfterLoop", "InLoopx", "InLoopy", "Nested"]
    assert mine["Nested"].condition == "(one() or two()) and three()"
    assert sorted(f.code for f in table.findings) == ["R004", "R005"]


@pytest.mark.parametrize(
    "change",
    [
        "_TEXT_MODELS |= {'X': ('x', 'X')}\n",
        "_TEXT_MODELS.setdefault('X', ('x', 'X'))\n",
        "del _TEXT_MODELS['AlphaForCausalLM']\n",
        "_PREVIOUSLY_SUPPORTED_MODELS = ['OldForCausalLM']\n",
    ],
)
def test_a_table_that_is_changed_later_or_is_none_is_a_finding(tmp_path, change):
    text = ENGINE_REGISTRY.replace("_TEXT", "_TEXT_MODELS").replace("ModelRegistry =", change + "ModelRegistry =")
    table = read_registry(write(tmp_path / "v", {**ENGINE, "vllm/model_executor/models/registry.py": text}))
    assert [f.code for f in table.findings] == ["R001"]
    assert table.get("AlphaForCausalLM")


def test_custom_ops_and_import_hooks_are_read(tmp_path):
    text = (
        "import builtins\n"
        "def hook(name, *a):\n"
        "    mapping = {'vllm.a.b': 'plug.a.b'}\n"
        "builtins.__import__ = hook\n"
        "def register():\n"
        "    from vllm.model_executor.custom_op import CustomOp\n"
        "    MY_OPS = {'RMSNorm': PlugNorm}\n"
        "    for name, cls in MY_OPS.items():\n"
        "        CustomOp.register_oot(_decorated_op_cls=cls, name=name)\n"
    )
    files = {"plug/__init__.py": text, "setup.py": PLUGIN["setup.py"]}
    table = read_registry(write(tmp_path / "v", ENGINE), [write(tmp_path / "p", files)])
    assert [(o.op, o.class_name) for o in table.ops] == [("RMSNorm", "PlugNorm")]
    assert [(h.module, h.replacement) for h in table.hooks] == [("vllm.a.b", "plug.a.b")]


def test_folder_sdist_wheel_and_environment_say_the_same(tmp_path):
    metadata = {"vllm-0.50.0.dist-info/METADATA": "Name: vllm\nVersion: 0.50.0\n"}
    site = write(tmp_path / "venv" / "lib" / "python3.11" / "site-packages", {**ENGINE, **metadata})
    write(tmp_path / "venv", {"bin/python": ""})
    sources = [
        write(tmp_path / "tree", ENGINE),
        sdist(tmp_path / "vllm-0.50.0.tar.gz", ENGINE),
        wheel(tmp_path / "vllm-0.50.0-py3-none-any.whl", {**ENGINE, **metadata}),
        site,
        tmp_path / "venv",
        tmp_path / "venv" / "bin" / "python",
        site / "vllm",
    ]
    answers = [read_registry(s) for s in sources]
    assert {a.architectures for a in answers} == {answers[0].architectures}
    assert {a.engine_version for a in answers} == {"0.50.0"}


def test_an_editable_install_and_the_plugins_beside_it_are_followed(tmp_path):
    source = write(tmp_path / "src-of-vllm", ENGINE)
    site = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    write(site, {k: v for k, v in PLUGIN.items() if k.startswith("plug/")})
    write(site, {"plug-1.dist-info/METADATA": "Name: plug\nVersion: 1\n"})
    write(site, {"plug-1.dist-info/entry_points.txt": "[vllm.general_plugins]\nplug = plug:register\n"})
    write(
        site,
        {"__editable___vllm_0_50_0_finder.py": f"MAPPING: dict[str, str] = {{'vllm': {str(source / 'vllm')!r}}}\n"},
    )
    table = read_registry(tmp_path / "venv")
    assert table.get("LoopOne").owner == "plug"
    assert table.get("GammaModel").owner == "vllm"


def test_a_difference_names_added_removed_and_changed(tmp_path):
    old = write(tmp_path / "old", ENGINE)
    newer = ENGINE_REGISTRY.replace('"GammaModel": ("gamma", "GammaModel"),', "").replace(
        '"OldForCausalLM": "0.10.2"', '"OldForCausalLM": "0.10.2", "GammaModel": "0.50.0"'
    )
    newer = newer.replace('"NewTreeForCausalLM": (', '"Fresh": ("fresh", "Fresh"), "NewTreeForCausalLM": (')
    new = write(tmp_path / "new", {**ENGINE, "vllm/model_executor/models/registry.py": newer})
    change = difference(read_registry(old), read_registry(new))
    assert [e.architecture for e in change.added] == ["Fresh"]
    assert [(a.architecture, b.state) for a, b in change.changed] == [("GammaModel", "previously-supported")]
    assert change.removed == ()


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"vllm/__init__.py": ""}, "no vllm/model_executor/models/registry.py"),
        ({"vllm/model_executor/models/registry.py": "type X = = 1\n"}, "does not parse"),
        ({"vllm/model_executor/models/registry.py": "\0"}, "does not parse"),
        ({"vllm/model_executor/models/registry.py": "x = 1\n"}, "assigns no ModelRegistry"),
        ({"vllm/model_executor/models/registry.py": "ModelRegistry = R(load())\n"}, "not built from a table"),
        ({"vllm/model_executor/models/registry.py": "T = {**T}\nModelRegistry = R(T)\n"}, "defined by itself"),
    ],
)
def test_a_source_without_a_readable_registry_is_a_clear_error(tmp_path, files, says):
    with pytest.raises(FileFormatError) as caught:
        read_registry(write(tmp_path / "v", files))
    assert says in caught.value.one_line()


def test_sources_that_are_not_what_their_name_says_are_clear_errors(tmp_path):
    for name in ("x.whl", "x.tar.gz", "x.zip", "x.txt"):
        (tmp_path / name).write_text("not an archive")
        with pytest.raises(SeatrialError):
            read_registry(tmp_path / name)
    with pytest.raises(UsageError, match="no such file"):
        read_registry(tmp_path / "absent")


def test_a_damaged_member_of_a_wheel_is_not_an_absent_one(tmp_path):
    file = wheel(tmp_path / "vllm-1-py3-none-any.whl", {"vllm/__init__.py": "x = 1\n" * 1000})
    data = bytearray(file.read_bytes())
    at = data.find(b"vllm/__init__.py") + len("vllm/__init__.py")
    data[at : at + 12] = b"\xff" * 12
    file.write_bytes(data)
    with pytest.raises(FileFormatError, match=r"init__\.py cannot be read"):
        open_source(file).read("vllm/__init__.py")


@pytest.mark.parametrize("points", ['{"vllm.general_plugins": None}', '{"g": 3}', "{[]: 1}", "-" * 100_000 + "1"])
def test_entry_points_that_are_none_are_passed_over(tmp_path, points):
    (tmp_path / "setup.py").write_text(f"from setuptools import setup\nsetup(name='x', entry_points={points})\n")
    assert all(d.entry_points == () for d in distributions(open_source(tmp_path)))


def test_the_operand_that_decides_is_the_value_and_a_few_lines_do_not_fill_the_memory():
    module = 'A = ""\nB = A or "llama"\nC = "x" and "y"\nD = A and "z"\na0 = "xxxxxxxx"\n'
    module += "".join(f"a{i} = a{i - 1} + a{i - 1}\n" for i in range(1, 61))
    found = Evaluator(ast.parse(module))
    assert [found.name(name) for name in "BCD"] == ["llama", "y", ""]
    with pytest.raises(Unresolved, match="too large"):
        found.name("a60")


def test_a_plugin_without_entry_points_is_a_clear_error(tmp_path):
    plain = write(tmp_path / "p", {"plug/__init__.py": "", "pyproject.toml": "[project]\nname = 'plug'\n"})
    with pytest.raises(UsageError, match="no entry points"):
        read_registry(write(tmp_path / "v", ENGINE), [plain])


def test_a_symlink_out_of_the_source_is_not_followed(tmp_path):
    write(tmp_path / "outside", {"registry.py": ENGINE_REGISTRY})
    tree = write(tmp_path / "v", {"vllm/__init__.py": "", "vllm/model_executor/models/__init__.py": ""})
    (tree / "vllm/model_executor/models/registry.py").symlink_to(tmp_path / "outside" / "registry.py")
    with pytest.raises(FileFormatError, match="no vllm/model_executor"):
        read_registry(tree)


@given(
    st.recursive(
        st.none() | st.text(max_size=5) | st.integers(),
        lambda s: st.lists(s) | st.tuples(s, s) | st.dictionaries(st.text(max_size=3), s),
        max_leaves=20,
    )
)
def test_a_literal_evaluates_to_itself(value):
    assert Evaluator(ast.parse(f"X = {value!r}")).name("X") == value


@given(st.text(alphabet="abcX(){}[]*=,:.'\"\n ", max_size=60))
def test_any_text_that_parses_is_evaluated_or_refused(text):
    try:
        module = ast.parse("X = (" + text + ")\n")
    except (SyntaxError, ValueError):
        return
    with contextlib.suppress(Unresolved):
        Evaluator(module).name("X")


def test_the_command_lists_shows_and_ends_with_the_documented_exit_codes(tmp_path):
    source = str(write(tmp_path / "v", ENGINE))

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "seatrial", "registry", *arguments], capture_output=True, text=True
        )

    listed = run("list", source, "--json")
    assert listed.returncode == 0
    assert len(json.loads(listed.stdout)["architectures"]) == 6
    assert run("show", "AlphaForCausalLM", source).returncode == 0
    assert run("show", "OldForCausalLM", source).returncode == 1
    unknown = run("show", "AlphaForCausal", source)
    assert (unknown.returncode, "Traceback" in unknown.stderr) == (1, False)
    assert "AlphaForCausalLM" in unknown.stdout
    told = json.loads(run("show", "AlphaForCausal", source, "--json").stdout)
    assert (told["state"], told["nearest"][0]) == ("unknown", "AlphaForCausalLM")


@pytest.mark.parametrize("asked", [("first", "second"), ("second", "first")])
def test_functions_that_call_each_other_are_reached_whichever_is_asked_of_first(tmp_path, asked):
    (tmp_path / "plug").mkdir()
    (tmp_path / "plug" / "__init__.py").write_text(
        "def second():\n    first()\n\ndef first():\n    second()\n\ndef entry():\n    first()\n\n"
        "def lone():\n    alone()\n\ndef alone():\n    lone()\n"
    )
    entry = EntryPoint(group="vllm.general_plugins", name="plug", target="plug:entry", place="")
    reach = Reach(Package("plug", open_source(tmp_path)), (entry,))
    assert [reach.reached("plug", name) for name in asked] == [True, True]
    assert [reach.reached("plug", name) for name in ("lone", "alone")] == [False, False]


def test_a_long_way_to_an_entry_point_takes_no_stack(tmp_path):
    (tmp_path / "plug").mkdir()
    steps = "".join(f"def step{i}():\n    step{i + 1}()\n\n" for i in range(100))
    (tmp_path / "plug" / "__init__.py").write_text(f"{steps}def step100():\n    pass\n")
    entry = EntryPoint(group="vllm.general_plugins", name="plug", target="plug:step0", place="")
    reach = Reach(Package("plug", open_source(tmp_path)), (entry,))
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 120)
    try:
        assert reach.reached("plug", "step100")
    finally:
        sys.setrecursionlimit(before)
