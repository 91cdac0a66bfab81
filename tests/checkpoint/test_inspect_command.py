"""The command: one screen, stable JSON that its schema accepts, differences, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoint_maker import tiny, tiny_tensors, write_config, write_index, write_shard
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from seatrial.cli.main import program
from seatrial.core.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments):
    return CliRunner().invoke(program, ["inspect", *map(str, arguments)])


def schema(name):
    return Draft202012Validator(json.loads((ROOT / "docs" / "schema" / f"{name}.json").read_text()))


def test_the_view_names_what_matters_and_exits_with_zero(tmp_path):
    result = run(tiny(tmp_path / "good"))
    assert result.exit_code == 0
    for text in (
        "Qwen3ForCausalLM, 2 layers, GQA 4/2, bf16",
        "untied",
        "QK-norm per head",
        "fits 1, 2",
        "head: 1 tensors",
    ):
        assert text in result.output
    assert len(result.output.splitlines()) < 60


def test_markup_in_a_hostile_name_is_shown_and_not_obeyed(tmp_path):
    folder = tiny(tmp_path / "bad", architectures=["[bold]Evil[/bold]"], model_type="[/nope]")
    result = run(folder)
    assert result.exit_code == 0
    assert "[bold]Evil[/bold]" in result.output


def test_the_json_is_what_the_schema_says(tmp_path):
    result = run(tiny(tmp_path / "good"), "--json")
    document = json.loads(result.output)
    schema("inspect").validate(document)
    assert document["schema_version"] == 1
    assert document["sources"]["attention.kv_heads"] == "config.json: num_key_value_heads"
    whole = json.loads(run(tmp_path / "good", "--json", "--tensors").output)
    schema("inspect-tensors").validate(whole)
    assert len(whole["tensors"]) == len(tiny_tensors())


def test_the_json_of_a_checkpoint_is_the_same_each_time(tmp_path):
    folder = tiny(tmp_path / "good")
    assert run(folder, "--json").output == run(folder, "--json").output


def test_exit_codes_tell_a_broken_checkpoint_from_an_incomplete_one_and_from_no_folder(tmp_path):
    folder = tiny(tmp_path / "bad")
    (folder / "config.json").write_text("{")
    assert run(folder).exit_code == 1
    write_config(tmp_path / "only")
    assert run(tmp_path / "only").exit_code == 3
    assert isinstance(run(tmp_path / "nowhere").exception, UsageError)


def test_the_difference_of_a_quantised_form_is_its_dtype_and_its_scales(tmp_path):
    base = tiny(tmp_path / "base")
    fp8 = tiny(tmp_path / "fp8", quantization_config={"quant_method": "fp8", "weight_block_size": [64, 64]})
    tensors = {}
    for name, (dtype, shape) in tiny_tensors().items():
        if "_proj" in name:
            tensors[name] = ("F8_E4M3", shape)
            tensors[f"{name}_scale_inv"] = ("F32", tuple(-(-s // 64) for s in shape))
        else:
            tensors[name] = (dtype, shape)
    for shard in fp8.glob("*.safetensors"):
        shard.unlink()
    write_shard(fp8 / "model.safetensors", tensors)
    write_index(fp8, dict.fromkeys(tensors, "model.safetensors"))
    assert run(fp8).exit_code == 0, run(fp8).output
    result = run(fp8, "--diff", base, "--json")
    difference = json.loads(result.output)
    schema("inspect-diff").validate(difference)
    assert not difference["same"]
    assert {row["pattern"].rsplit(".", 1)[1] for row in difference["added"]} == {"weight_scale_inv"}
    assert "model.layers.*.self_attn.q_proj.weight" in {row["pattern"] for row in difference["changed"]}
    assert any(c["fact"].startswith("quantization") for c in difference["facts"])
    assert "-> 2 F8_E4M3" in run(fp8, "--diff", base).output


def test_a_checkpoint_does_not_differ_from_itself(tmp_path):
    folder = tiny(tmp_path / "good")
    assert json.loads(run(folder, "--diff", folder, "--json").output)["same"]


@pytest.mark.parametrize("name", ["inspect", "inspect-tensors", "inspect-diff"])
def test_the_schemas_are_valid_schemas(name):
    Draft202012Validator.check_schema(schema(name).schema)


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"null", b""])
def test_a_difference_from_a_config_that_cannot_be_read_is_inconclusive(tmp_path, content):
    folder = tiny(tmp_path / "good")
    broken = tmp_path / "broken"
    broken.mkdir()
    if content is not None:
        (broken / "config.json").write_bytes(content)
    for pair in ((folder, broken), (broken, folder)):
        assert run(pair[0], "--diff", pair[1]).exit_code == 3
