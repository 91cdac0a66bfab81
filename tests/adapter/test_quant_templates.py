"""The quantisation templates: their numbers against plain arithmetic, and the command that writes them."""

from __future__ import annotations

import subprocess
import types

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.adapter.quant import TEMPLATES, render
from seatrial.cli.quant_template import command
from seatrial.core.errors import UsageError

AWQ_COLUMNS = [0, 2, 4, 6, 1, 3, 5, 7]


def load(name, model_type="thing"):
    module = types.ModuleType(name)
    exec(compile(render(name, model_type), name, "exec"), module.__dict__)
    return module


def pack(values, order):
    """[rows, columns] of 0..15 to [rows, words] of int32; nibble i of a word is its column order[i]."""
    rows, count = values.shape
    out = np.zeros((rows, count // 8), dtype=np.uint32)
    for word in range(count // 8):
        for nibble, column in enumerate(order):
            out[:, word] |= values[:, word * 8 + column].astype(np.uint32) << np.uint32(4 * nibble)
    return out.view(np.int32)


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 5), words=st.sampled_from([1, 3, 8, 12, 16, 24]), seed=st.integers(0, 2**31))
def test_awq_repacked_words_hold_the_same_numbers_and_come_back(rows, words, seed):
    awq = load("awq-repack")
    values = np.random.default_rng(seed).integers(0, 16, (rows, words * 8))
    packed = pack(values, AWQ_COLUMNS)
    kunlun = awq.to_kunlun(packed)
    assert kunlun.dtype == np.int32
    assert np.array_equal(awq.unpack(kunlun), values[:, awq.columns(words)])
    assert np.array_equal(awq.from_kunlun(kunlun), packed)
    assert sorted(awq.columns(words)) == list(range(words * 8))


def test_awq_orders_are_the_documented_ones():
    awq = load("awq-repack")
    assert awq.columns(1) == [1, 0, 3, 2, 5, 4, 7, 6]  # the manual's comment beside its normal order
    fast = awq.columns(8)
    # Within 64 columns the second 32 stand between the first 32: 32, 0, 33, 1, ...
    assert fast == [c for first in range(32) for c in (first + 32, first)]


def test_awq_weights_dequantise_to_the_same_matrix_after_repacking():
    awq = load("awq-repack")
    chance = np.random.default_rng(0)
    q, z = chance.integers(0, 16, (4, 64)), chance.integers(0, 16, (1, 64))
    scale = chance.random((1, 64))
    want = (q - z) * scale
    columns = awq.columns(8)
    got = awq.unpack(awq.to_kunlun(pack(q, AWQ_COLUMNS))) - awq.unpack(awq.to_kunlun(pack(z, AWQ_COLUMNS)))
    back = np.empty_like(want)
    back[:, columns] = got * scale[:, columns]
    assert np.allclose(back, want)


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 5), groups=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_gptq_repacked_words_hold_the_same_numbers_and_come_back(rows, groups, seed):
    gptq = load("gptq-repack")
    values = np.random.default_rng(seed).integers(0, 16, (rows, groups * 64))
    packed = pack(values, range(8))
    kunlun = gptq.to_kunlun(packed)
    want = [g * 64 + c for g in range(groups) for first in range(32) for c in (first + 32, first)]
    assert np.array_equal(gptq.unpack(kunlun), values[:, want])
    assert np.array_equal(gptq.from_kunlun(kunlun), packed)


def test_gptq_refuses_what_is_no_whole_group():
    with pytest.raises(ValueError, match="no whole groups"):
        load("gptq-repack").to_kunlun(np.zeros((2, 4), dtype=np.int32))


def test_a_max_scale_gives_the_same_product_through_kunluns_formula():
    module = load("max-scale")
    chance = np.random.default_rng(1)
    w = chance.normal(size=(8, 16)).astype(np.float32)
    scale = np.abs(w).max(axis=1, keepdims=True) / 127
    w_q = np.round(w / scale).astype(np.int8)
    layer = types.SimpleNamespace(weight_scale=scale.copy())
    module.to_max(layer, ["weight_scale"])
    assert np.allclose(layer.weight_scale, np.abs(w).max(axis=1, keepdims=True))
    kunlun = w_q.astype(np.float32) * layer.weight_scale / 127
    assert np.abs(kunlun - w).max() <= scale.max() / 2 + 1e-6
    module.to_max(layer, ["weight_scale"])  # a reload calls it again
    assert np.allclose(layer.weight_scale, scale * 127)
    module.from_max(layer, ["weight_scale"])
    assert np.allclose(layer.weight_scale, scale)


def test_a_max_scale_refuses_the_weight_itself():
    layer = types.SimpleNamespace(weight=np.zeros(4, dtype=np.int8))
    with pytest.raises(TypeError, match="int8"):
        load("max-scale").to_max(layer, ["weight"])


PLAIN = {"quantised": lambda t: t.dtype == np.int8, "widen": lambda t: t.astype(np.float32), "narrow": lambda t: t}


def stream(rows=5, columns=7, block=(2, 3)):
    """int8 stands in for fp8, which numpy lacks: the arithmetic of pairing and blocks is the same."""
    chance = np.random.default_rng(2)
    weight = chance.integers(-100, 100, (rows, columns)).astype(np.int8)
    scale = chance.random((-(-rows // block[0]), -(-columns // block[1]))).astype(np.float32)
    want = np.empty((rows, columns), dtype=np.float32)
    for r in range(rows):
        for c in range(columns):
            want[r, c] = weight[r, c] * scale[r // block[0], c // block[1]]
    return weight, scale, want


@pytest.mark.parametrize("scale_first", [False, True])
def test_block_scales_are_applied_block_by_block_whichever_comes_first(scale_first):
    weight, scale, want = stream()
    pairs = [("a.weight", weight), ("a.weight_scale_inv", scale)]
    norm = ("n.weight", np.ones(3, dtype=np.float32))
    out = dict(load("fp8-dequant").dequantised([norm, *(pairs[::-1] if scale_first else pairs)], block=(2, 3), **PLAIN))
    assert list(out) == ["n.weight", "a.weight"]
    assert np.allclose(out["a.weight"], want)


@pytest.mark.parametrize("count", [1, 5])
def test_scales_of_a_tensor_or_a_row_are_applied(count):
    weight, _, _ = stream()
    scale = np.arange(1, count + 1, dtype=np.float32)
    pairs = [("a.weight", weight), ("a.weight_scale", scale)]
    [(_, got)] = load("fp8-dequant").dequantised(pairs, block=None, **PLAIN)
    assert np.allclose(got, weight * scale.reshape(-1, 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w, s: [("a.weight", w)], r"a\.weight \(no scale\)"),
        (lambda w, s: [("a.weight_scale_inv", s)], r"a\.weight \(a scale without fp8 weight\)"),
        (lambda w, s: [("a.weight", w), ("b.weight_scale_inv", s)], "2 unpaired"),
        (lambda w, s: [("a.weight", w), ("a.weight", w)], "comes twice"),
        (lambda w, s: [("a.weight_scale_inv", s), ("a.weight_scale", s)], "two scales"),
        (lambda w, s: [("a.weight", w), ("a.weight_scale_inv", s[:1])], "does not fit"),
        (lambda w, s: [("a.weight", w), ("a.weight_scale_inv", s * np.inf)], "not finite"),
    ],
)
def test_what_does_not_pair_is_named(change, said):
    weight, scale, _ = stream()
    with pytest.raises(ValueError, match=said):
        list(load("fp8-dequant").dequantised(change(weight, scale), block=(2, 3), **PLAIN))


def test_a_modelslim_entry_finds_the_type_of_a_merged_layer_or_says_what_is_wrong():
    module = load("modelslim-mapping", "thing_moe")
    assert module.MODEL_TYPE == "thing_moe"
    layer = "model.layers.0.self_attn"
    description = {f"{layer}.{p}_proj.weight": "W8A8" for p in "qkvo"}
    assert module.quant_type(description, f"{layer}.qkv_proj") == "W8A8"
    assert module.quant_type(description, f"{layer}.o_proj") == "W8A8"
    with pytest.raises(ValueError, match=r"no .*gate_proj\.weight"):
        module.quant_type(description, "model.layers.0.mlp.gate_up_proj")
    description[f"{layer}.k_proj.weight"] = "FLOAT"
    with pytest.raises(ValueError, match="FLOAT, W8A8"):
        module.quant_type(description, f"{layer}.qkv_proj")


def test_the_command_writes_once_refuses_another_content_and_takes_back(tmp_path):
    subprocess.run(["git", "-C", str(tmp_path), "init", "-q"], check=True)
    (tmp_path / "ops").mkdir()
    into = ["--into", str(tmp_path / "ops")]
    first = CliRunner().invoke(command, ["awq-repack", *into])
    assert (first.exit_code, first.stdout) == (0, "created awq_repack.py\n")
    assert (tmp_path / "ops/awq_repack.py").read_bytes() == render("awq-repack")
    assert "already" in CliRunner().invoke(command, ["awq-repack", *into]).stdout
    assert CliRunner().invoke(command, ["x", "--undo", *into]).exit_code == 0
    assert not (tmp_path / "ops/awq_repack.py").exists()
    (tmp_path / "ops/awq_repack.py").write_text("mine\n")
    refused = CliRunner().invoke(command, ["awq-repack", *into, "--allow-dirty"])
    assert isinstance(refused.exception, UsageError)
    assert (tmp_path / "ops/awq_repack.py").read_text() == "mine\n"


def test_a_dry_run_shows_the_file_and_writes_nothing(tmp_path):
    shown = CliRunner().invoke(command, ["max-scale", "--into", str(tmp_path), "--dry-run"])
    assert "+FACTOR = 127.0" in shown.stdout
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_and_a_missing_model_type_are_usage_errors(tmp_path):
    for words in (["nope"], ["modelslim-mapping"], ["modelslim-mapping", "--model-type", "a b"]):
        assert isinstance(CliRunner().invoke(command, [*words, "--into", str(tmp_path)]).exception, UsageError)


def test_every_template_is_listed_and_renders():
    listed = CliRunner().invoke(command, []).stdout
    for name in TEMPLATES:
        assert name in listed
        compile(render(name, "thing"), name, "exec")


IN_TORCH = """
import sys, torch
def load(path):
    space = {}
    exec(compile(open(path).read(), path, "exec"), space)
    return space
awq, gptq, scale, fp8 = (load(p) for p in sys.argv[1:5])
packed = torch.randint(-2**31, 2**31 - 1, (3, 16), dtype=torch.int32)
for space in (awq, gptq):
    there = space["to_kunlun"](packed)
    assert there.dtype == torch.int32 and not torch.equal(there, packed)
    assert torch.equal(space["from_kunlun"](there), packed)
layer = torch.nn.Module()
layer.s = torch.nn.Parameter(torch.rand(4, 1))
before = layer.s.detach().clone()
scale["to_max"](layer, ["s"]); scale["to_max"](layer, ["s"])
assert torch.allclose(layer.s, before * 127)
wide = torch.randn(256, 384)
scales = torch.stack([torch.stack([wide[r:r+128, c:c+128].abs().max() / 448 for c in (0, 128, 256)]) for r in (0, 128)])
full = scales.repeat_interleave(128, 0).repeat_interleave(128, 1)
weight = (wide / full).to(torch.float8_e4m3fn)
pairs = [("a.weight_scale_inv", scales), ("n.weight", torch.ones(3)), ("a.weight", weight)]
out = dict(fp8["dequantised"](pairs, block=(128, 128)))
assert out["a.weight"].dtype == torch.bfloat16 and list(out) == ["n.weight", "a.weight"]
assert torch.equal(out["a.weight"], (weight.float() * full).bfloat16())
assert ((out["a.weight"].float() - wide).abs() <= wide.abs() * 0.08 + full * 0.01).all()
print("held")
"""


@pytest.mark.engine
def test_the_templates_hold_on_torch_tensors_of_the_engine(tmp_path):
    from seatrial.engine.choose import target_python
    from seatrial.targets import load_target

    files = []
    for name in ("awq-repack", "gptq-repack", "max-scale", "fp8-dequant"):
        file = tmp_path / TEMPLATES[name].file
        file.write_bytes(render(name))
        files.append(str(file))
    python = target_python(load_target("cpu").target)
    done = subprocess.run([str(python), "-c", IN_TORCH, *files], capture_output=True, text=True, timeout=120)
    assert done.stdout == "held\n", done.stderr
