"""`port --upgrade` keeps what a human wrote, marks what both sides changed, and says what to write instead."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from port_sources import ALPHA, ENGINE, NEWER, PLUGIN, write

from seatrial.adapter.port.ground import Ground, first_of
from seatrial.adapter.port.header import find
from seatrial.adapter.port.propose import all_hits, proposals
from seatrial.adapter.port.run import port
from seatrial.adapter.port.upgrade import upgrade
from seatrial.cli.port import command
from seatrial.core.errors import FileFormatError, UsageError

TARGET = "vllm_kunlun/models/alpha.py"


@pytest.fixture
def fork(vllm, plugin):
    made = port("alpha", upstream=vllm, engine=vllm, root=plugin, platform="kunlun", fork=True, because="a kernel")
    write(plugin, made.files)
    return plugin / TARGET


def raised(root, base, engine, **more):
    return upgrade(TARGET, root=root, base=base, engine=engine, platform="kunlun", **more)


def test_what_a_human_wrote_stays_and_what_upstream_changed_comes(vllm, newer, plugin, fork):
    mine = "        return   chunk_gated_delta_rule(x.contiguous())    # odd   spacing stays\n"
    fork.write_text(
        fork.read_text().replace("        return   chunk_gated_delta_rule(x)    # odd   spacing stays\n", mine)
    )
    made = raised(plugin, vllm, newer)
    assert made.conflicts == ()
    assert mine in made.text
    assert "skip=['rotary']" in made.text
    assert "from vllm.utils.math_utils import cdiv" in made.text
    assert "from vllm_kunlun.ops.fla import chunk_gated_delta_rule" in made.text
    header = find(made.text, TARGET)
    assert (header.version, header.reason) == ("0.21.0", find(fork.read_text(), TARGET).reason)


def test_what_both_changed_is_marked_and_nothing_is_lost(vllm, newer, plugin, fork):
    fork.write_text(
        fork.read_text().replace("return AutoWeightsLoader(self)", "return AutoWeightsLoader(self, mine=1)")
    )
    made = raised(plugin, vllm, newer)
    (conflict,) = made.conflicts
    assert "mine=1" in conflict.human
    assert "skip=['rotary']" in conflict.new
    assert "AutoWeightsLoader(self)" in conflict.old
    assert conflict.symbol.endswith(".load_weights"), conflict.symbol
    lines = made.text.splitlines()
    assert lines[conflict.line - 1] == f"<<<<<<< human: {TARGET}, in {conflict.symbol}"
    assert lines[conflict.end_line - 1] == ">>>>>>> upstream, new: vLLM 0.21.0"
    assert "||||||| upstream, old: vLLM 0.20.0" in lines[conflict.line : conflict.end_line]
    assert [f.code for f in made.findings if f.severity.value == "error"] == ["F008"]


def test_a_conflict_over_a_name_that_moved_says_where_it_is_now(vllm, newer, plugin, fork):
    text = fork.read_text().replace("import torch\n", "import torch\nfrom vllm.utils import cdiv as ceil\n", 1)
    fork.write_text(text.replace("return AutoWeightsLoader(self)", "return AutoWeightsLoader(self, mine=ceil(1, 2))"))
    (conflict,) = raised(plugin, vllm, newer).conflicts
    assert [(m.old, m.new) for m in conflict.moved] == [("vllm.utils.cdiv", "vllm.utils.math_utils.cdiv")]
    made = raised(plugin, vllm, newer)
    assert ">>>>>>> upstream, new: vLLM 0.21.0; vllm.utils.cdiv is now vllm.utils.math_utils.cdiv\n" in made.text


def test_a_file_whose_conflicts_nobody_settled_is_refused(vllm, newer, plugin, fork):
    fork.write_text(
        fork.read_text().replace("return AutoWeightsLoader(self)", "return AutoWeightsLoader(self, mine=1)")
    )
    fork.write_text(raised(plugin, vllm, newer).text)
    with pytest.raises(UsageError, match="holds marks of a merge"):
        raised(plugin, vllm, newer)


def test_the_command_shows_the_sides_of_a_conflict_and_lists_them_as_json(vllm, newer, plugin, fork):
    fork.write_text(
        fork.read_text().replace("return AutoWeightsLoader(self)", "return AutoWeightsLoader(self, mine=1)")
    )
    argv = [TARGET, "--upgrade", "--into", str(plugin), "--base", str(vllm), "--engine", str(newer), "--dry-run"]
    done = CliRunner().invoke(command, argv, catch_exceptions=False)
    assert done.exit_code == 1
    for side in ("human:", "upstream, old:", "upstream, new:"):
        assert side in done.output
    told = json.loads(CliRunner().invoke(command, [*argv, "--json"], catch_exceptions=False).output)
    assert [c["symbol"].rpartition(".")[2] for c in told["conflicts"]] == ["load_weights"]


def test_an_import_that_a_human_wrote_follows_its_move(vllm, newer, plugin, fork):
    fork.write_text(
        fork.read_text().replace("import torch\n", "import torch\nfrom vllm.utils import cdiv as ceil\n", 1)
    )
    made = raised(plugin, vllm, newer)
    assert "from vllm.utils.math_utils import cdiv as ceil" in made.text
    assert ("vllm.utils.cdiv", "vllm.utils.math_utils.cdiv") in [(e.old, e.new) for e in made.edits]


def test_a_base_that_is_not_the_recorded_one_is_refused(newer, plugin, fork):
    with pytest.raises(UsageError, match="does not hold the") as caught:
        raised(plugin, newer, newer)
    assert "0.20.0" in caught.value.mend


def test_a_damaged_header_is_no_missing_one(vllm, newer, plugin, fork):
    fork.write_text(fork.read_text().replace("sha256:", "sha256:zz"))
    with pytest.raises(FileFormatError, match="header is damaged"):
        raised(plugin, vllm, newer)


def test_a_fork_without_header_needs_to_be_told_its_origin(vllm, newer, plugin):
    (plugin / TARGET).write_text(ALPHA.replace("from .", "from vllm.model_executor.models."))
    with pytest.raises(UsageError, match="no provenance header"):
        raised(plugin, vllm, newer)
    made = raised(plugin, vllm, newer, module="alpha")
    assert find(made.text, TARGET).version == "0.21.0"


def test_a_file_outside_of_the_root_is_refused(vllm, newer, plugin, tmp_path):
    (tmp_path / "other.py").write_text("x = 1\n")
    with pytest.raises(UsageError, match="is no file under"):
        upgrade("../other.py", root=plugin, base=vllm, engine=newer, platform="kunlun")


def test_the_command_writes_the_merge_and_can_take_it_back(vllm, newer, plugin, fork):
    before = fork.read_bytes()
    argv = [TARGET, "--upgrade", "--into", str(plugin), "--base", str(vllm), "--engine", str(newer)]
    done = CliRunner().invoke(command, argv, catch_exceptions=False)
    assert "vLLM 0.20.0 to 0.21.0, 0 conflicts" in done.output
    assert done.exit_code == 1  # the file as it was asks for cdiv where it is no more
    assert "Write vllm.utils.math_utils.cdiv." in done.output
    again = CliRunner().invoke(
        command, [*argv[:-4], "--base", str(newer), "--engine", str(newer)], catch_exceptions=False
    )
    assert (again.exit_code, "Nothing to change" in again.output) == (0, True), again.output
    CliRunner().invoke(command, ["--undo", "--into", str(plugin)], catch_exceptions=False)
    assert fork.read_bytes() == before


OLD_API = """
from vllm.layers.mla import Latent
from vllm.layers.rope import get_rope
from vllm.experts import Experts
from vllm.old import helper
from vllm_kunlun.ops.activation import SiluAndMul
from vllm.twice import Both
from vllm.nowhere import Lost


def build(config):
    rope = get_rope(64, rotary_dim=32, max_position=4, rope_scaling=None)
    return Experts.mapping(gate="gate", count=3), rope
"""
NEW_API = {
    **{k: v for k, v in ENGINE.items() if "alpha" not in k},
    "vllm/layers/__init__.py": "",
    "vllm/layers/mla.py": "class LatentWrapper: ...\nclass Lateral: ...\n",
    "vllm/layers/rope.py": "def get_rope(head, max_position, is_neox_style=True, rope_parameters=None): ...\n",
    "vllm/experts.py": "class Experts:\n    @classmethod\n    def mapping(cls, model, gate, count): ...\n",
    "vllm/new/__init__.py": "",
    "vllm/new/helpers.py": "def helper(): ...\n",
    "vllm/one.py": "class Both: ...\n",
    "vllm/two.py": "class Both: ...\n",
}


def test_proposals_name_what_this_vllm_has_and_stay_silent_where_it_is_open(tmp_path):
    engine = write(tmp_path / "e", NEW_API)
    plugin = write(tmp_path / "p", {**PLUGIN, "vllm_kunlun/models/demo.py": OLD_API})
    ground = Ground(engine, plugin, "kunlun")
    found = {p.old.rpartition(".")[2]: p.new for p in proposals(ground, all_hits(ground), "vllm_kunlun/models/demo.py")}
    assert found == {
        "Latent": "vllm.layers.mla.LatentWrapper",
        "get_rope": "get_rope(rope_parameters=...)",
        "mapping": "Experts.mapping(model=...)",
        "helper": "vllm.new.helpers.helper",
        "SiluAndMul": "vllm.model_executor.layers.activation.SiluAndMul",
        "Both": "",
        "Lost": "",
    }


LONGER = """from vllm.kernels import CutlassScaledLinear, TritonScaledLinear, _TABLE
from vllm.two import Both as Other
"""


def test_a_longer_name_with_the_same_words_is_proposed_where_there_is_one_and_named_where_there_are_several(tmp_path):
    source = {
        **NEW_API,
        "vllm/kernels/__init__.py": "",
        "vllm/kernels/a.py": "class CutlassInt8ScaledLinear: ...\nclass TritonInt8ScaledLinear: ...\n",
        "vllm/kernels/b.py": "class TritonFP8ScaledLinear: ...\n",
        "vllm/others.py": "_TABLE = []\n\n\nclass CutlassFP8ScaledLinear: ...\n",
    }
    engine = write(tmp_path / "e", source)
    plugin = write(tmp_path / "p", {**PLUGIN, "vllm_kunlun/models/demo.py": LONGER})
    ground = Ground(engine, plugin, "kunlun")
    found = {p.old.rpartition(".")[2]: p for p in proposals(ground, all_hits(ground), "vllm_kunlun/models/demo.py")}
    assert found["CutlassScaledLinear"].new == "vllm.kernels.a.CutlassInt8ScaledLinear"
    assert found["TritonScaledLinear"].new == ""
    both = "vllm.kernels.a.TritonInt8ScaledLinear, vllm.kernels.b.TritonFP8ScaledLinear"
    assert both in found["TritonScaledLinear"].why
    # A private name that another module has too is another thing.
    assert found["_TABLE"].new == ""
    assert "vllm.others has one of its own" in found["_TABLE"].why


def test_every_proposal_is_in_the_sources(tmp_path):
    engine = write(tmp_path / "e", NEW_API)
    plugin = write(tmp_path / "p", {**PLUGIN, "vllm_kunlun/models/demo.py": OLD_API})
    ground = Ground(engine, plugin, "kunlun")
    for proposal in proposals(ground, all_hits(ground)):
        if proposal.code in ("K001", "K002", "K013") and proposal.new:
            module, _, name = proposal.new.rpartition(".")
            assert ground.has(module, name)


def test_of_several_homes_the_one_that_keeps_the_modules_name_is_taken():
    found = ("vllm.a.linear.X", "vllm.b.mla.X")
    assert first_of("vllm.old.mla", found, True) == "vllm.b.mla.X"
    assert first_of("vllm.old.other", found, True) == ""
    assert first_of("vllm.old.other", ("vllm.models.m.X", "vllm.b.mla.X"), True) == "vllm.b.mla.X"


def test_the_newer_source_of_these_tests_is_another():
    assert NEWER["vllm/model_executor/models/alpha.py"] != ALPHA
