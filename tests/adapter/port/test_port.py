"""`port`: what changes in a copied model file, what does not, and how it is registered."""

from __future__ import annotations

import ast
import difflib
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from port_sources import ALPHA, ENGINE, PLUGIN, write

from seatrial.adapter.port.header import find
from seatrial.adapter.port.register import PluginSource, register_all
from seatrial.adapter.port.run import port
from seatrial.adapter.port.table import PLATFORMS, read_table
from seatrial.cli.port import command
from seatrial.core.errors import EngineError, SeatrialError, UsageError
from seatrial.support.registry_plugin import read_plugin

TARGET = "vllm_kunlun/models/alpha.py"


def ported(vllm, plugin, **more):
    options = {"upstream": vllm, "engine": vllm, "root": plugin, "platform": "kunlun", "fork": True, **more}
    return port("vllm:alpha", **options)


def apply(plugin, made):
    write(plugin, made.files)


def changed_lines(old, new):
    lines = difflib.ndiff(old.splitlines(), new.splitlines())
    return [line for line in lines if line.startswith(("- ", "+ "))]


def test_the_diff_is_imports_and_the_header_and_nothing_else(vllm, plugin):
    changed = changed_lines(ALPHA, ported(vllm, plugin).files[TARGET])
    assert [line for line in changed if line.startswith("- ")] == [
        "- from vllm.model_executor.layers.fla.ops import chunk_gated_delta_rule",
        "- from ..layers.linear import RowParallelLinear",
        "- from . import interfaces",
        "- from .interfaces import (",
        "- from .utils import (AutoWeightsLoader,",
        "-     from .utils import WeightsMapper",
        "-     from .gone import Nothing",
        "-         from .utils import late",
    ]
    added = [line[2:].strip() for line in changed if line.startswith("+ ")]
    assert all(line.startswith(("from vllm", "# ")) for line in added)
    assert "from vllm_kunlun.ops.fla import chunk_gated_delta_rule" in added
    assert "from vllm.model_executor.models import interfaces" in added


def test_the_header_names_version_path_and_hash_and_the_reason(vllm, plugin):
    made = ported(vllm, plugin, because="the fused kernel needs another layout")
    header = find(made.files[TARGET], TARGET)
    assert header == made.provenance
    assert (header.version, header.path) == ("0.20.0", "vllm/model_executor/models/alpha.py")
    assert "the fused kernel needs another layout" in header.reason
    assert "against overlay" in header.reason


def test_every_architecture_of_the_file_is_registered_by_its_exact_name(vllm, plugin):
    made = ported(vllm, plugin)
    apply(plugin, made)
    source = PluginSource(plugin)
    table = {
        m.architecture: m.class_path for m in read_plugin(source.package, "x", source.distribution.plugins()).models
    }
    assert table["AlphaForCausalLM"] == "vllm_kunlun.models.alpha:AlphaForCausalLM"
    assert table["AlphaModel"] == "vllm_kunlun.models.alpha:AlphaModel"
    assert table["DemoForCausalLM"] == "vllm_kunlun.models.demo:DemoForCausalLM"
    text = (plugin / "vllm_kunlun/models/__init__.py").read_text()
    assert "# the first" in text
    assert '# a note\n    ModelRegistry.register_model("AlphaForCausalLM"' in text


def test_porting_again_changes_nothing(vllm, plugin):
    apply(plugin, ported(vllm, plugin))
    again = ported(vllm, plugin)
    assert all((plugin / path).read_text() == text for path, text in again.files.items())


def test_a_port_that_was_edited_is_not_written_over(vllm, plugin):
    apply(plugin, ported(vllm, plugin))
    file = plugin / TARGET
    file.write_text(file.read_text() + "# mine\n")
    with pytest.raises(UsageError, match="has been edited"):
        ported(vllm, plugin)


def test_a_file_of_that_name_that_is_no_port_is_not_written_over(vllm, plugin):
    (plugin / TARGET).write_text("x = 1\n")
    with pytest.raises(UsageError, match="no port"):
        ported(vllm, plugin)


def test_a_fork_is_refused_where_an_overlay_would_do(vllm, plugin):
    with pytest.raises(UsageError, match="no fork is called for: overlay") as caught:
        ported(vllm, plugin, fork=False)
    assert "--fork" in caught.value.mend


def test_no_flag_is_needed_for_what_the_engine_does_not_serve(newer, plugin, tmp_path):
    without = {k: v for k, v in ENGINE.items() if not k.endswith("alpha.py")}
    without["vllm/model_executor/models/registry.py"] = (
        ENGINE["vllm/model_executor/models/registry.py"].replace("alpha", "beta").replace("Alpha", "Beta")
    )
    engine = write(tmp_path / "without", without)
    made = ported(newer, plugin, engine=engine, fork=False)
    assert made.strategy.recommended == "fork with provenance"
    moved = [e for e in made.edits if e.kind == "moved"]
    assert [(e.old, e.new) for e in moved] == [("vllm.utils.math_utils.cdiv", "vllm.utils.cdiv")]


def test_a_swap_whose_target_is_gone_is_not_made_and_says_why(vllm, tmp_path):
    files = {k: v for k, v in PLUGIN.items() if "fla" not in k}
    made = ported(vllm, write(tmp_path / "lean", files))
    assert "from vllm.model_executor.layers.fla.ops import chunk_gated_delta_rule" in made.files[TARGET]
    assert [f.code for f in made.findings] == ["F007", "F007", "F007"]
    assert any("no module vllm_kunlun.ops.fla" in f.message for f in made.findings)


def test_a_swap_whose_target_does_not_import_is_not_made(vllm, tmp_path):
    files = {**PLUGIN, "vllm_kunlun/ops/fla/chunk.py": "from vllm.gone import x\ndef chunk_gated_delta_rule(x): ...\n"}
    made = ported(vllm, write(tmp_path / "broken", files))
    reasons = [e.reason for e in made.edits if e.kind == "not swapped"]
    assert any("does not import with this vLLM" in r and "vllm.gone" in r for r in reasons)


def test_a_swap_of_part_of_a_statement_leaves_the_rest_and_its_comment(vllm, tmp_path):
    files = {
        **PLUGIN,
        "vllm_kunlun/ops/activation.py": "class SiluAndMul: ...\n",
    }
    old = write(tmp_path / "old", {**ENGINE, "vllm/_version.py": "__version__ = version = '0.11.0'\n"})
    made = ported(old, write(tmp_path / "p", files))
    text = made.files[TARGET]
    assert "from vllm.model_executor.layers.activation import GeluAndMul\n" in text
    assert "from vllm_kunlun.ops.activation import SiluAndMul  # the activations\n" in text
    ast.parse(text)


def test_a_name_that_this_vllm_has_nowhere_is_an_error_with_its_line(newer, plugin, tmp_path):
    engine = write(tmp_path / "bare", {k: v for k, v in ENGINE.items() if "linear" not in k})
    made = ported(newer, plugin, engine=engine)
    found = [f for f in made.findings if f.code == "F006"]
    assert [f.message for f in found] == [
        "vllm.model_executor.layers.linear.RowParallelLinear: this vLLM has it nowhere"
    ]
    assert "line 11" in found[0].place


def test_an_unknown_module_names_the_nearest(vllm, plugin):
    with pytest.raises(UsageError, match="is not there") as caught:
        port("vllm:alhpa", upstream=vllm, engine=vllm, root=plugin, platform="kunlun", fork=True)
    assert "alpha" in caught.value.mend


TABLE = """MODELS = {
    "DemoForCausalLM": "vllm_kunlun.models.demo:DemoForCausalLM",
}


def register_model():
    from vllm import ModelRegistry

    for name, path in MODELS.items():
        ModelRegistry.register_model(name, path)
"""
PAIRS = (
    TABLE.replace("MODELS = {", "MODELS = [")
    .replace(
        '"DemoForCausalLM": "vllm_kunlun.models.demo:DemoForCausalLM",\n}',
        "('DemoForCausalLM', 'vllm_kunlun.models.demo:DemoForCausalLM'),\n]",
    )
    .replace("MODELS.items()", "MODELS")
)
NOTHING = 'def register_model():\n    """Nothing yet."""\n'


@pytest.mark.parametrize(
    ("text", "style"), [(CALL, s) for CALL, s in ((TABLE, "table"), (PAIRS, "table"), (NOTHING, "entry point"))]
)
def test_a_registration_follows_the_plugins_style(tmp_path, text, style):
    files = {"setup.py": PLUGIN["setup.py"], "vllm_kunlun/__init__.py": text, "vllm_kunlun/models/__init__.py": ""}
    source = PluginSource(write(tmp_path, files))
    done = register_all(source, {"OneModel": "One", "TwoModel": "Two"}, "vllm_kunlun.models.new")
    assert [d.style for d in done] == [style, style]
    (tmp_path / done[-1].path).write_text(done[-1].text)
    after = PluginSource(tmp_path).registered
    assert after["OneModel"].class_path == "vllm_kunlun.models.new:One"
    assert after["TwoModel"].class_path == "vllm_kunlun.models.new:Two"
    assert ("DemoForCausalLM" in after) == (style == "table")


def test_a_plugin_without_an_entry_point_is_refused(tmp_path):
    setup = PLUGIN["setup.py"].replace("vllm.general_plugins", "vllm.other")
    source = PluginSource(write(tmp_path, {**PLUGIN, "setup.py": setup, "vllm_kunlun/models/__init__.py": ""}))
    with pytest.raises(UsageError, match=r"no entry point of vllm\.general_plugins"):
        register_all(source, {"OneModel": "One"}, "vllm_kunlun.models.new")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_table_is_well_formed_and_names_its_own_plugin(platform):
    table = read_table(platform)
    assert table.swap
    assert all(entry.to.startswith(f"vllm_{platform}.") and entry.why for entry in table.swap)
    keys = [(entry.sources, entry.name) for entry in table.swap]
    assert len(keys) == len(set(keys))


def test_the_command_shows_the_diff_then_writes_then_takes_it_back(vllm, plugin):
    base = ["vllm:alpha", "--into", str(plugin), "--platform", "kunlun", "--engine", str(vllm), "--fork"]
    before = (plugin / "vllm_kunlun/models/__init__.py").read_bytes()
    shown = CliRunner().invoke(command, [*base, "--dry-run"], catch_exceptions=False)
    assert "+++ b/vllm_kunlun/models/alpha.py" in shown.output
    assert not (plugin / TARGET).exists()
    done = CliRunner().invoke(command, base, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (plugin / TARGET).is_file()
    assert "registered: AlphaForCausalLM as vllm_kunlun.models.alpha:AlphaForCausalLM" in done.output
    undone = CliRunner().invoke(command, ["--undo", "--into", str(plugin)], catch_exceptions=False)
    assert undone.exit_code == 0, undone.output
    assert not (plugin / TARGET).exists()
    assert (plugin / "vllm_kunlun/models/__init__.py").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vllm:alpha"], "--into is missing"),
        (["--into", "{plugin}"], "MODULE is missing"),
        (["vllm:alpha", "--into", "{plugin}", "--platform", "tpu", "--engine", "{vllm}"], "unknown platform"),
        (["vllm:alpha", "--into", "{vllm}/vllm", "--platform", "kunlun", "--engine", "{vllm}"], "not the root"),
        (["vllm:alpha", "--into", "{plugin}", "--engine", "{vllm}"], "--platform is missing"),
        (["x.py", "--upgrade", "--platform", "tpu", "--into", "{plugin}", "--engine", "{vllm}"], "unknown platform"),
        (["x.py", "--upgrade", "--into", "{plugin}", "--engine", "{vllm}"], "--base is missing"),
    ],
)
def test_what_is_asked_wrongly_is_said_in_one_line(vllm, plugin, arguments, said):
    filled = [a.format(plugin=plugin, vllm=vllm) for a in arguments]
    with pytest.raises(SeatrialError, match=said):
        CliRunner().invoke(command, filled, catch_exceptions=False, standalone_mode=False)


def test_an_empty_word_is_no_root(vllm):
    """`--into "$PLUGIN"` where the variable is not set: nothing is written into the folder one stands in."""
    done = CliRunner().invoke(command, ["vllm:alpha", "--into", "", "--platform", "cpu", "--engine", str(vllm)])
    assert done.exit_code == 2
    assert "it is empty" in done.output


def test_a_port_that_is_there_keeps_its_reason_and_another_reason_is_no_edit(vllm, plugin):
    first = ported(vllm, plugin, because="the fused kernel")
    apply(plugin, first)
    assert ported(vllm, plugin).files[TARGET] == first.files[TARGET]
    other = ported(vllm, plugin, because="another layout").files[TARGET]
    assert find(other, TARGET).reason != find(first.files[TARGET], TARGET).reason
    (plugin / TARGET).write_text(first.files[TARGET] + "x = 1\n")
    with pytest.raises(UsageError, match="has been edited since"):
        ported(vllm, plugin, because="another layout")


def test_a_project_file_that_is_no_toml_is_named(vllm, plugin):
    (plugin / "pyproject.toml").write_text("[[[")
    with pytest.raises(SeatrialError, match="is not TOML"):
        ported(vllm, plugin)


def test_without_libcst_the_extra_is_named(monkeypatch, vllm, plugin):
    monkeypatch.setitem(sys.modules, "libcst", None)
    with pytest.raises(EngineError, match="LibCST") as caught:
        ported(vllm, plugin)
    assert caught.value.mend == "pip install 'seatrial[codemod]'"


def test_a_dirty_tree_is_refused_and_nothing_is_written(vllm, plugin):
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(plugin)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "all"], check=True)
    (plugin / "vllm_kunlun/models/demo.py").write_text("changed = 1\n")
    argv = ["vllm:alpha", "--into", str(plugin), "--platform", "kunlun", "--engine", str(vllm), "--fork"]
    with pytest.raises(UsageError, match="uncommitted changes"):
        CliRunner().invoke(command, argv, catch_exceptions=False, standalone_mode=False)
    assert not (plugin / TARGET).exists()
    done = CliRunner().invoke(command, [*argv, "--allow-dirty"], catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"def register_model(:\n", "does not parse"),
        (b"x = 1\0\n", "does not parse"),
        (b"# caf\xe9\n" + PLUGIN["vllm_kunlun/models/__init__.py"].encode(), "is not UTF-8"),
    ],
)
def test_a_registration_that_cannot_be_read_is_named_and_nothing_is_written(vllm, plugin, content, said):
    """It would be taken for a plugin that registers nothing, and the new line put where it never runs."""
    (plugin / "vllm_kunlun/models/__init__.py").write_bytes(content)
    before = {p: p.read_bytes() for p in plugin.rglob("*") if p.is_file()}
    with pytest.raises(SeatrialError, match=rf"vllm_kunlun/models/__init__.py {said}"):
        ported(vllm, plugin)
    assert {p: p.read_bytes() for p in plugin.rglob("*") if p.is_file()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into a folder without the permission")
def test_a_root_that_cannot_be_written_is_an_error_and_leaves_nothing(vllm, plugin):
    models = plugin / "vllm_kunlun/models"
    models.chmod(0o555)
    try:
        done = CliRunner().invoke(
            command, ["vllm:alpha", "--into", str(plugin), "--engine", str(vllm), "--platform", "kunlun", "--fork"]
        )
        assert isinstance(done.exception, SeatrialError)
        assert not (models / "alpha.py").exists()
    finally:
        models.chmod(0o755)
