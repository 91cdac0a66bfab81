"""Properties over hostile input: nothing raises, nothing outside the folder is opened, what is wrong is found."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from checkpoint_maker import TINY, entries, shard_bytes, tiny, tiny_tensors, write_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seatrial.checkpoint import inspect, read_card
from seatrial.checkpoint.documents import load
from seatrial.checkpoint.files import Folder
from seatrial.checkpoint.headers import check_layout, decode, decode_slowly
from seatrial.checkpoint.names import ASTERISK, fill, group, split
from seatrial.checkpoint.quant import _covers
from seatrial.core.finding import Severity
from seatrial.core.record import to_json
from seatrial.core.verdict import Verdict

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([2**63, -(2**63), 2**64, 10**40]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=8,
)
KINDS = st.tuples(st.sampled_from(["F32", "U8", "BF16"]), st.lists(st.integers(0, 9), max_size=3))
FIELDS = [
    *sorted(TINY),
    "layer_types", "text_config", "vision_config", "audio_config", "quantization_config", "compress_ratios",
    "hybrid_override_pattern", "block_configs", "kv_lora_rank", "num_experts", "mlp_only_layers", "rope_scaling",
    "rope_parameters", "sliding_window", "attn_type_list", "num_nextn_predict_layers", "linear_attn_config",
    "auto_map", "moe_layer_freq", "attention_chunk_size", "no_rope_layers", "mamba_num_heads", "indexer_types",
]  # fmt: skip


def folder_with(**files) -> tempfile.TemporaryDirectory:
    scratch = tempfile.TemporaryDirectory()
    for name, content in files.items():
        (Path(scratch.name) / name.replace("__", ".")).write_bytes(content)
    return scratch


@FEW
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=8), st.booleans())
def test_any_config_gives_a_card(changes, nested):
    config = {**TINY, **changes}
    if nested:
        config = {"architectures": ["X"], "text_config": config}
    raw = json.dumps(config).encode()
    with folder_with(config__json=raw) as folder:
        card = read_card(Path(folder))
    assert card.parameters.total.value is None or card.parameters.total.value >= 0
    assert len(card.attention.pattern) in (0, card.architecture.layers)
    assert all("\n" not in f.one_line() for f in card.findings)
    assert to_json(card)


@FEW
@given(st.binary(max_size=300))
def test_any_bytes_as_a_config_give_a_card_or_an_error(raw):
    with folder_with(config__json=raw) as folder:
        card = read_card(Path(folder))
    assert card.architecture.architectures or card.findings


@FEW
@given(st.integers(0, 2**64 - 1), st.binary(max_size=200))
def test_any_bytes_as_a_shard_are_an_error_unless_they_are_one(length, raw):
    with folder_with(
        config__json=json.dumps(TINY).encode(), model__safetensors=struct.pack("<Q", length) + raw
    ) as folder:
        card = read_card(Path(folder))
    assert any(f.severity is Severity.ERROR for f in card.findings)


@FEW
@given(st.dictionaries(st.text(max_size=12), KINDS, max_size=6))
def test_a_valid_header_reads_back_as_it_was_written_whatever_its_names(tensors):
    tensors.pop("__metadata__", None)
    rows = entries({n: (d, tuple(s)) for n, (d, s) in tensors.items()})
    raw = json.dumps({"__metadata__": {"format": "pt", "note": 'a "quoted" {brace}'}, **rows}).encode()
    found = decode(raw, "x")
    assert not found.findings
    assert {n: (e.dtype, list(e.shape), list(e.data_offsets)) for n, e in found.entries.items()} == {
        n: (e["dtype"], e["shape"], e["data_offsets"]) for n, e in rows.items()
    }
    assert found.metadata["note"] == 'a "quoted" {brace}'
    assert not check_layout(found.entries, sum(e["data_offsets"][1] - e["data_offsets"][0] for e in rows.values()), "x")


@FEW
@given(st.data())
def test_the_fast_and_the_slow_way_agree_on_what_a_header_says(data):
    raw = bytearray(json.dumps(entries(dict(list(tiny_tensors().items())[:3]))).encode())
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    fast, slow = decode(bytes(raw), "x"), decode_slowly(bytes(raw), "x")
    assert fast.entries == slow.entries
    assert {f.code for f in fast.findings} == {f.code for f in slow.findings}


@FEW
@given(st.lists(st.text(alphabet="ab.019*", max_size=12), unique=True, max_size=20))
def test_grouping_loses_no_name(names):
    class Row:
        dtype, shape = "F32", (2, 3)

    groups = group((n, Row) for n in names)
    plain = sorted(n for n in names if "*" not in n)
    assert sorted(fill(g.pattern, row) for g in groups for row in g.indices if g.pattern != ASTERISK) == plain
    assert sum(g.count for g in groups) == len(names)
    assert sum(g.elements for g in groups) == 6 * len(names)


def test_a_late_layer_is_a_pattern_of_its_own_only_in_the_language_model():
    late = frozenset({"61"})
    assert split("model.layers.61.mlp.experts.3.w", late) == ["model.layers.61.mlp.experts", "3", ".w"]
    assert split("model.layers.6.w", late) == ["model.layers", "6", ".w"]
    assert split("vision_tower.encoder.layers.61.w", late) == ["vision_tower.encoder.layers", "61", ".w"]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a":[' + b"[]," * 4_000_000 + b"[]]}",
        b'{"a":' + b"9" * 100_000 + b"}",
        b'{"a": NaN, "b": -Infinity}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b"",
    ],
    ids=["deep", "many lists", "long number", "nan", "byte-order mark", "utf-16", "empty"],
)
def test_documents_that_parsers_choke_on_are_findings(raw):
    found = load(raw, "config.json")
    assert found.findings


def test_a_duplicate_key_is_found_at_any_depth():
    found = load(b'{"a": {"b": 1, "c": {"b": 1, "b": 2}}}', "config.json")
    assert [f.code for f in found.findings] == ["C003"]


def test_a_duplicate_key_among_very_many_is_named():
    names = ",".join(f'"k{i}":1' for i in range(100_000))
    found = load(f'{{{names},"z":1,"z":2}}'.encode(), "config.json")
    assert [f.message for f in found.findings] == ["the key 'z' stands twice in one object"]


@pytest.mark.parametrize("spelling", ['"model.norm.weight"', '"model.norm\\u002eweight"'])
def test_a_duplicate_tensor_is_found_however_it_is_spelled(spelling):
    entry = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    found = decode(f'{{"model.norm.weight":{entry},{spelling}:{entry}}}'.encode(), "x")
    assert "C035" in {f.code for f in found.findings}


def test_a_million_defects_are_counted_and_only_a_few_are_named():
    rows = {str(i): {"dtype": "U8", "shape": [2], "data_offsets": [i, i + 1]} for i in range(20_000)}
    raw = json.dumps(rows).encode()
    findings = check_layout(decode(raw, "x").entries, 20_000, "x")
    assert len([f for f in findings if f.code == "C038"]) == 6
    assert "19995 more" in findings[-1].message


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "x\0y"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    (tmp_path / "x").write_text("secret")
    (tmp_path / "in").mkdir()
    assert getattr(Folder(tmp_path / "in").open(name), "code", None) == "C009"


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "generation_config.json", "hf_quant_config.json"])
def test_no_small_file_is_read_through_a_link_that_leaves(tmp_path, file):
    folder = tiny(tmp_path / "model")
    (tmp_path / "outside").write_text("{}")
    (folder / file).unlink(missing_ok=True)
    (folder / file).symlink_to(tmp_path / "outside")
    result = inspect(folder)
    assert result.outcome.verdict is Verdict.FAIL
    assert any(f.code == "C009" and f.place == file for f in result.findings)


def test_a_link_to_a_device_and_a_link_to_itself_are_findings(tmp_path):
    folder = tiny(tmp_path / "model")
    (folder / "zero.safetensors").symlink_to("/dev/zero")
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    (folder / "model.safetensors.index.json").unlink()
    found = {f.place: f.code for f in read_card(folder).findings if f.severity is Severity.ERROR}
    assert found["zero.safetensors"] == "C009"
    assert found["loop.safetensors"] == "C008"


def test_an_unreadable_shard_is_a_finding(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    folder = tiny(tmp_path / "model")
    (folder / "model-00001-of-00002.safetensors").chmod(0)
    assert any(f.code == "C008" for f in read_card(folder).findings)


def test_names_without_a_scheme_do_not_make_the_card_grow(tmp_path):
    write_config(tmp_path / "odd")
    rows = {f"t{i}": {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i in range(30_000)}
    (tmp_path / "odd" / "model.safetensors").write_bytes(shard_bytes(rows))
    card = read_card(tmp_path / "odd")
    assert len(card.weights.tree) <= 20_001
    assert card.weights.tensors == 30_000
    assert any(f.code == "C098" for f in card.findings)


def test_text_that_no_file_can_hold_is_a_finding_and_never_breaks_the_json(tmp_path):
    folder = tiny(tmp_path / "model")
    (folder / "config.json").write_text('{"architectures": ["\\ud800"], "hidden_size": 64}')
    Path(os.fsdecode(bytes(folder) + b"/\xff.safetensors")).write_bytes(b"x")
    card = read_card(folder)
    assert {"C002", "C008"} <= {f.code for f in card.findings}
    assert to_json(card)


def test_an_asterisk_in_a_name_is_no_number(tmp_path):
    # Found by the fuzzer (case 96088 of seed 1): a literal asterisk was counted as a layer's number.
    write_config(tmp_path / "odd")
    rows = {"model.layers*.mlp.experts.0.up_proj.weight": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    (tmp_path / "odd" / "model.safetensors").write_bytes(shard_bytes(rows))
    card = read_card(tmp_path / "odd")
    assert card.weights.tensors == 1
    assert any(f.code == "C098" for f in card.findings)


@pytest.mark.parametrize("rule", ["*" * 40 + "z", "*e*" * 12 + "q", "*.*" * 30 + "!"])
def test_a_rule_of_many_asterisks_is_answered_at_once(tmp_path, rule):
    # As a regular expression each takes longer than anybody waits.
    method = {"quant_method": "fp8", "weight_block_size": [16, 16], "modules_to_not_convert": [rule]}
    (tmp_path / "config.json").write_text(json.dumps({**TINY, "quantization_config": method}))
    assert read_card(tmp_path).quantization.excluded == (rule,)
    assert not _covers(rule, "model.layers.0.self_attn.o_proj")


@given(st.text("ab.*", max_size=8).filter(lambda rule: "*" in rule), st.text("ab.", max_size=10))
def test_an_asterisk_stands_for_anything(rule, module):
    assert _covers(rule, module) == fnmatchcase(module, rule)
