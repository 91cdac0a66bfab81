"""A ModelSlim description against the plugin's tables and the checkpoint's headers."""

from __future__ import annotations

import json

import pytest
from headers import QWEN3, qwen3_tensors, write_config
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.dryrun import HeaderTensor
from seatrial.dryrun.modelslim import FILE, check, model_type, read_tables

SOURCE = """
packed_modules_model_mapping: dict[str, dict[str, list[str]]] = {
    "qwen3": {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]},
    "qwen3_moe": {"experts": ["experts.0.gate_proj", "experts.0.up_proj", "experts.0.down_proj"]},
}
"""
METHODS = """
@register_scheme("W8A8_DYNAMIC", "linear")
class Linear: ...

@register_scheme("W8A8_DYNAMIC", "moe")
class Experts: ...

@register_scheme("W8A16", "linear")
class WeightsAlone: ...
"""
DOWN = "model.layers.1.mlp.down_proj"


@pytest.fixture
def plugin(tmp_path):
    folder = tmp_path / "plugin" / "quantization" / "methods"
    folder.mkdir(parents=True)
    (folder.parent / "modelslim_config.py").write_text(SOURCE)
    (folder / "w8a8.py").write_text(METHODS)
    return tmp_path / "plugin"


def quantised():
    """A dense Qwen3 whose projections are W8A8_DYNAMIC: description and tensors."""
    described, tensors = {}, []
    for tensor in qwen3_tensors():
        if tensor.name.endswith("_proj.weight"):
            described[tensor.name] = "W8A8_DYNAMIC"
            tensors.append(HeaderTensor(name=tensor.name, dtype="I8", shape=tensor.shape))
            for leaf in ("weight_scale", "weight_offset"):
                name = tensor.name.replace("weight", leaf)
                tensors.append(HeaderTensor(name=name, dtype="BF16", shape=(tensor.shape[0], 1)))
        else:
            described[tensor.name] = "FLOAT"
            tensors.append(tensor)
    return described, tensors


@pytest.fixture
def judged(tmp_path, plugin):
    """Judge a description, changed from the sound one, for a model type."""

    def run(changes=(), *, of="qwen3", without=(), tensors=None, tables=True):
        described, sound = quantised()
        described.update(changes)
        for name in without:
            del described[name]
        folder = write_config(tmp_path / "model", QWEN3)
        (folder / FILE).write_text(json.dumps(described))
        return check(folder, of, sound if tensors is None else tensors(sound), read_tables(plugin) if tables else None)

    return run


def kinds(found):
    return [(fault.kind, fault.place) for fault in found.faults]


def test_a_sound_description_has_no_fault(judged):
    found = judged()
    assert found.faults == ()
    assert found.types == {"W8A8_DYNAMIC": 14, "FLOAT": 11}
    assert (found.known_model_type, found.schemes_read) == (True, True)


def test_shards_of_different_types_are_named_even_when_one_is_left_in_float(judged):
    q, up = "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.up_proj.weight"
    found = judged({q: "W8A16", up: "FLOAT"})
    assert ("shards", "model.layers.0.self_attn.qkv_proj") in kinds(found)
    assert ("shards", "model.layers.1.mlp.gate_up_proj") in kinds(found)
    assert "q_proj W8A16, k_proj W8A8_DYNAMIC" in found.faults[0].message


def test_a_shard_that_is_not_described_is_named_where_the_plugin_knows_the_model_type(judged):
    key = "model.layers.0.self_attn.k_proj.weight"
    assert ("partial", "model.layers.0.self_attn.qkv_proj") in kinds(judged(without=[key]))
    assert "partial" not in {kind for kind, _ in kinds(judged(without=[key], of="newcomer"))}


def test_a_type_without_a_scheme_is_told_once_for_its_kind_of_layer(judged):
    found = judged(
        {f"model.layers.{n}.mlp.down_proj.weight": "W4A4" for n in (0, 1)}
        | {"model.layers.0.mlp.experts.0.up_proj.weight": "W8A16"}
    )
    schemes = [fault for fault in found.faults if fault.kind == "scheme"]
    assert [fault.place for fault in schemes] == [
        "model.layers.0.mlp.down_proj",
        "model.layers.0.mlp.experts.0.up_proj",
    ]
    assert "'W4A4' for linear layers (2 of them)" in schemes[0].message
    assert "'W8A16' for moe layers (1 of them); it has W8A8_DYNAMIC" in schemes[1].message


def test_without_the_plugins_source_no_scheme_is_judged(judged):
    found = judged({f"{DOWN}.weight": "W4A4"}, tables=False)
    assert not found.schemes_read
    assert "scheme" not in {kind for kind, _ in kinds(found)}


def test_an_expert_of_another_type_than_its_layer_is_named(judged):
    layer = "model.layers.0.mlp.experts"
    odd = f"{layer}.3.down_proj"
    experts = {f"{layer}.{n}.{p}_proj.weight": "W8A8_DYNAMIC" for n in range(4) for p in ("gate", "up", "down")}
    found = judged({**experts, f"{odd}.weight": "FLOAT"}, of="qwen3_moe")
    (fault,) = [fault for fault in found.faults if fault.kind == "experts"]
    assert (fault.place, f"1 are not W8A8_DYNAMIC, such as {odd} (FLOAT)" in fault.message) == (layer, True)


def test_what_the_headers_contradict_is_named(judged):
    def as_float(tensors):
        return [
            HeaderTensor(name=t.name, dtype="BF16", shape=t.shape) if t.name == f"{DOWN}.weight" else t for t in tensors
        ]

    def scaleless(tensors):
        return [t for t in tensors if t.name != f"{DOWN}.weight_scale"]

    def gone(tensors):
        return [t for t in tensors if not t.name.startswith(DOWN)]

    assert kinds(judged(tensors=as_float)) == [("dtype", f"{DOWN}.weight")]
    assert kinds(judged(tensors=scaleless)) == [("tensor", f"{DOWN}.weight")]
    assert kinds(judged(tensors=gone)) == [("tensor", f"{DOWN}.weight")]
    # Left in float by the description, stored as integers.
    assert ("dtype", f"{DOWN}.weight") in kinds(judged({f"{DOWN}.weight": "FLOAT"}))
    assert ("tensor", f"{DOWN}.weight") in kinds(judged(without=[f"{DOWN}.weight"]))


def test_a_folder_without_a_description_is_not_judged(tmp_path):
    folder = write_config(tmp_path / "model", QWEN3)
    assert check(folder, "qwen3", qwen3_tensors(), None) is None
    assert model_type(folder) == "qwen3"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": ', "null", "\ufeff{}x"])
def test_a_broken_description_is_a_finding_not_a_crash(tmp_path, text):
    folder = write_config(tmp_path / "model", QWEN3)
    (folder / FILE).write_text(text)
    assert [kind for kind, _ in kinds(check(folder, "qwen3", [], None))] == ["unreadable"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(max_size=30).map(lambda t: t + ".weight") | st.text(max_size=12), json_values, max_size=8)
)
def test_no_description_makes_it_raise(tmp_path_factory, data):
    folder = write_config(tmp_path_factory.mktemp("hostile") / "model", QWEN3)
    (folder / FILE).write_text(json.dumps(data))
    found = check(folder, "qwen3", qwen3_tensors(), None)
    assert sum(found.types.values()) == sum(k.endswith(".weight") and isinstance(v, str) for k, v in data.items())


def test_a_plugin_that_is_not_plain_text_gives_no_tables(tmp_path, plugin):
    assert read_tables(tmp_path) is None
    (plugin / "quantization" / "modelslim_config.py").write_text("packed_modules_model_mapping = make()\n")
    assert read_tables(plugin) is None
