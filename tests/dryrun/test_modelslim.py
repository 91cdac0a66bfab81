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


def test_a_table_may_hold_constants_by_name_and_a_loop_of_them_gives_no_tables(plugin):
    config = plugin / "quantization" / "modelslim_config.py"
    config.write_text(
        '_SHARED = {"o": ["a", "b"]}\npacked_modules_model_mapping = {"m3": _SHARED, "m4": {**_SHARED, "p": ["c"]}}\n'
    )
    assert read_tables(plugin).packed == {"m3": {"o": ["a", "b"]}, "m4": {"o": ["a", "b"], "p": ["c"]}}
    config.write_text("A = B\nB = A\npacked_modules_model_mapping = A\n")
    assert read_tables(plugin) is None


V4_SOURCE = """
packed_modules_model_mapping = {
    "deepseek_v4": {
        "gate_up_proj": ["gate_proj", "up_proj"],
        "experts": ["experts.0.gate_proj", "experts.0.up_proj", "experts.0.down_proj"],
    },
    "gemma4": {"qkv_proj": ["q_proj", "k_proj", "v_proj"]},
}
QUANT_MODEL_PREFIX_MAPPINGS = {"deepseek_v4": {"layers.": "model.layers."}}
QUANT_MODEL_SUBSTR_MAPPINGS = {
    "deepseek_v4": {".w1.": ".gate_proj.", ".w2.": ".down_proj.", ".w3.": ".up_proj.", ".ffn.": ".mlp."},
}
if "hc_head_fn" in quant_description: ...
if "weight_packed" in key: ...
"""
CACHE_METHODS = (
    METHODS
    + """
@register_scheme("FAKQuant", "attention")
class FA: ...

@register_scheme("INT8_DYNAMIC", "attention")
class Indexer: ...
"""
)


@pytest.fixture
def slim(tmp_path, plugin):
    """Judge a description by a plugin with maps and cache schemes. All that it describes is there, but `without`."""
    (plugin / "quantization" / "modelslim_config.py").write_text(V4_SOURCE)
    (plugin / "quantization" / "methods" / "w8a8.py").write_text(CACHE_METHODS)

    def run(described, of, without=(), source=V4_SOURCE):
        (plugin / "quantization" / "modelslim_config.py").write_text(source)
        folder = write_config(tmp_path / "model", QWEN3)
        (folder / FILE).write_text(json.dumps(described))
        tensors = []
        for key, kind in described.items():
            if "." not in key or key.endswith("quant_type"):
                continue
            dtype = "I8" if key.endswith((".weight", ".weight_packed")) and kind != "FLOAT" else "BF16"
            tensors.append(HeaderTensor(name=key, dtype=dtype, shape=(4, 4)))
            if dtype == "I8":
                scale = key.removesuffix(".weight").removesuffix(".weight_packed") + ".weight_scale"
                tensors.append(HeaderTensor(name=scale, dtype="BF16", shape=(4, 1)))
        kept = [t for t in tensors if t.name not in without]
        return check(folder, of, kept, read_tables(plugin))

    return run


def v4(**changes):
    parts = {f"layers.0.ffn.experts.{n}.w{k}.weight": "W8A8_DYNAMIC" for n in range(3) for k in (1, 2, 3)}
    shared = {f"layers.0.ffn.shared_experts.w{k}.weight": "W8A8_DYNAMIC" for k in (1, 2, 3)}
    return {"hc_head_fn": "FLOAT", **parts, **shared, **changes}


def test_a_description_in_the_checkpoints_own_naming_is_judged_under_the_names_that_the_plugin_looks_up(slim):
    assert slim(v4(), "deepseek_v4").faults == ()
    mixed = slim(v4(**{"layers.0.ffn.shared_experts.w3.weight": "W8A16"}), "deepseek_v4")
    assert kinds(mixed) == [("shards", "model.layers.0.mlp.shared_experts.gate_up_proj")]
    odd = slim(v4(**{"layers.0.ffn.experts.2.w2.weight": "FLOAT"}), "deepseek_v4")
    assert ("experts", "model.layers.0.mlp.experts") in kinds(odd)


def test_a_layer_that_the_plugin_looks_up_under_another_name_is_named(slim):
    described = v4()
    del described["hc_head_fn"]
    found = slim(described, "deepseek_v4")
    assert {kind for kind, _ in kinds(found)} == {"lookup"}
    assert "looks for model.layers.0.mlp.experts.0.gate_proj.weight" in found.faults[0].message
    # An older plugin, which has no step for such descriptions, never finds them either.
    assert "lookup" in {k for k, _ in kinds(slim(v4(), "deepseek_v4", source=V4_SOURCE.replace("hc_head_fn", "x")))}
    assert slim(described, "qwen3").faults == ()


def test_a_packed_weight_counts_as_the_layers_weight(slim):
    described = {f"model.layers.0.mlp.{p}_proj.weight_packed": "W8A8_DYNAMIC" for p in ("gate", "up")}
    assert slim(described, "deepseek_v4").faults == ()
    lost = slim(described, "deepseek_v4", without=["model.layers.0.mlp.up_proj.weight_packed"])
    assert kinds(lost) == [("tensor", "model.layers.0.mlp.up_proj.weight")]


def test_a_v_projection_made_from_k_may_be_left_out_where_the_plugin_spares_it(slim):
    described = {f"model.layers.0.self_attn.{p}_proj.weight": "W8A8_DYNAMIC" for p in ("q", "k")}
    assert kinds(slim(described, "gemma4")) == [("partial", "model.layers.0.self_attn.qkv_proj")]
    assert slim(described, "gemma4", source=V4_SOURCE + "def _is_missing_v_shard(): ...\n").faults == ()


FA = {
    "fa_quant_type": "FAKQuant",
    **{
        f"model.layers.{n}.self_attn.fa_{p}.{w}": "FAKQuant" for n in (0, 1) for p in "qkv" for w in ("scale", "offset")
    },
}
C8 = {
    "kv_cache_type": "C8",
    **{
        f"model.layers.{n}.self_attn.{p}_proj.kv_cache_{w}": "C8"
        for n in (0, 1)
        for p in "kv"
        for w in ("scale", "offset")
    },
}
INDEXER = {
    "indexer_quant_type": "INT8_DYNAMIC",
    "model.layers.0.self_attn.indexer.quant_type": "INT8_DYNAMIC",
    "model.layers.0.self_attn.indexer.q_rot": "FLOAT",
    "model.layers.0.self_attn.indexer.k_rot": "FLOAT",
}


@pytest.mark.parametrize("entries", [FA, C8, INDEXER])
def test_sound_entries_for_the_cache_have_no_fault(slim, entries):
    assert slim(entries, "qwen3").faults == ()


@pytest.mark.parametrize(
    ("entries", "changes", "kind", "place", "said"),
    [
        (FA, {"fa_quant_type": "FAQuant4"}, "scheme", "fa_quant_type", "it has FAKQuant, INT8_DYNAMIC"),
        (
            FA,
            {"fa_quant_type": None},
            "cache",
            "model.layers.0.self_attn.fa_k.scale",
            "no fa_quant_type switches it on",
        ),
        (FA, {"self_attn.fa_k.scale": "FAKQuant"}, "cache", "self_attn.fa_k.scale", "no layer's number"),
        ({"fa_quant_type": "FAKQuant"}, {}, "cache", "fa_quant_type", "quantises no layer's cache"),
        (C8, {"kv_cache_type": "C4"}, "cache", "kv_cache_type", "knows C8 alone"),
        (INDEXER, {"model.layers.0.self_attn.indexer.quant_type": "INT2"}, "scheme", "indexer_quant_type", "'INT2'"),
    ],
)
def test_a_faulty_entry_for_the_cache_is_named(slim, entries, changes, kind, place, said):
    described = {k: v for k, v in {**entries, **changes}.items() if v is not None}
    found = slim(described, "qwen3")
    assert (kind, place) in kinds(found)
    assert said in next(f.message for f in found.faults if f.place == place)


def test_a_lost_scale_of_the_cache_is_named_and_a_silent_one_said_to_be(slim):
    lost = slim(FA, "qwen3", without=["model.layers.1.self_attn.fa_v.offset"])
    assert kinds(lost) == [("tensor", "model.layers.1.self_attn.fa_v.offset")]
    quiet = slim(C8, "qwen3", without=["model.layers.0.self_attn.v_proj.kv_cache_scale"])
    assert kinds(quiet) == [("tensor", "model.layers.0.self_attn.v_proj.kv_cache_scale")]
    assert "says nothing" in quiet.faults[0].message
