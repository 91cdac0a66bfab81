"""The module map from the tensor account: fused, split, sharded, stacked, nested; names only as a last resort."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from seatrial_probes import accuracy_locate as locate
from seatrial_probes import accuracy_outputs as outputs
from seatrial_probes.accuracy_pairs import Pairs, owners

TOKENS = 8
CONFIG = SimpleNamespace(num_experts_per_tok=1)


def account(**into):
    """Tensor (dots as `__`) to its places; every tensor has 64 elements unless its name says `small`."""
    named = {name.replace("__", "."): places for name, places in into.items()}
    return {"into": named, "sizes": {n: 1 if "small" in n else 64 for n in named}}


def modules(account_, owned, here, there):
    made = Pairs(account_, owned, here, there)
    return {m: [(p["module"], p["by"]) for p in found] for m, found in made.of.items()}


def test_a_fused_projection_belongs_to_each_module_whose_tensor_fills_some_of_its_rows():
    told = account(
        q=[[0, "attn.qkv.weight", 0, 0, 4, 0]],
        k=[[0, "attn.qkv.weight", 4, 0, 2, 0]],
        v=[[0, "attn.qkv.weight", 6, 0, 2, 0]],
        qb=[[0, "attn.qkv.bias", 0, -1, 0, 0]],
    )
    owned = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "qb": "self_attn.q_proj"}
    made = Pairs(told, owned, ["attn.qkv", "attn"], ["self_attn", *owned.values()])
    assert [(p["module"], p["spans"]) for p in made.of["attn.qkv"]] == [
        ("self_attn.q_proj", [[0, 0, 0, 4]]),
        ("self_attn.k_proj", [[0, 4, 0, 2]]),
        ("self_attn.v_proj", [[0, 6, 0, 2]]),
    ]
    # What is around the same tensors is the same block, whatever it is called.
    assert made.of["attn"] == [{"module": "self_attn", "by": "tensors", "spans": []}]


def test_stacked_experts_are_the_references_merged_ones_or_its_list():
    told = account(
        **{
            f"experts__{i}__{p}": [[0, f"mlp.experts.{w}", 0, -1, 0, 0]]
            for i in (0, 1)
            for p, w in (("gate", "w13"), ("down", "w2"))
        }
    )
    merged = dict.fromkeys(told["into"], "layers.0.mlp.experts")
    assert modules(told, merged, ["mlp.experts"], ["layers.0.mlp.experts"]) == {
        "mlp.experts": [("layers.0.mlp.experts", "tensors")]
    }
    listed = {n: "layers.0.mlp." + n for n in told["into"]}
    # The list itself is never called: the block around it is what was seen.
    assert modules(told, listed, ["mlp.experts"], ["layers.0.mlp", *listed.values()]) == {
        "mlp.experts": [("layers.0.mlp", "tensors")]
    }


def test_nested_modules_around_the_same_tensors_go_by_their_names_and_then_by_depth():
    told = account(a=[[0, "decoder.layers.0.w", 0, -1, 0, 0]], b=[[0, "decoder.layers.0.u", 0, -1, 0, 0]])
    owned = {"a": "model.h.0.mlp", "b": "model.h.0.mlp"}
    here, there = ["decoder.layers.0", "decoder"], ["model", "model.h.0", "model.h.0.mlp"]
    assert modules(told, owned, here, there) == {
        "decoder": [("model", "tensors")],
        "decoder.layers.0": [("model.h.0", "tensors")],
    }
    assert modules(told, owned, ["decoder.mlp", *here], there)["decoder"] == [("model", "tensors")]


def test_a_block_with_a_small_tensor_more_is_the_same_block_and_one_with_half_of_them_is_not():
    told = account(
        a=[[0, "mlp.shared.w", 0, -1, 0, 0]],
        b=[[0, "mlp.shared.u", 0, -1, 0, 0]],
        small=[[0, "mlp.shared.gate", 0, -1, 0, 0]],
        other=[[0, "mlp.other", 0, -1, 0, 0]],
    )
    owned = {"a": "ffn.one", "b": "ffn.one", "small": "ffn.gate", "other": "ffn.two.x"}
    assert modules(told, owned, ["mlp.shared"], ["ffn.one", "ffn"]) == {"mlp.shared": [("ffn.one", "most tensors")]}
    owned["b"] = "ffn.two.y"
    assert modules(told, owned, ["mlp.shared"], ["ffn.one", "ffn.two"]) == {}


def test_a_tensor_that_only_one_side_knows_is_no_difference():
    told = account(norm=[[0, "norm.weight", 0, -1, 0, 0]], mtp=[[0, "norm.mtp", 0, -1, 0, 0]])
    assert modules(told, {"norm": "ln_f"}, ["norm"], ["ln_f"]) == {"norm": [("ln_f", "tensors")]}


@pytest.fixture
def side(tmp_path):
    def make(name, arrays, rank=0, parts=None):
        records = []
        for number, (key, rows) in enumerate(arrays.items()):
            file = tmp_path / f"{name}-{rank}-{number}.f32"
            rows.astype("<f4").tofile(file)
            module = key.split("@")[0].split("#")[0]
            records.append(
                {"key": key if key != module else "", "module": module, "class": "M", "width": rows.shape[1], "step": 0}
                | {"rank": rank, "bad": 0, "rows": list(range(len(rows))), "file": str(file)}
                | {"parts": (parts or {}).get(key, [])}
            )
        return records

    return make


@pytest.fixture
def rows():
    source = np.random.default_rng(1)
    return lambda width: source.normal(size=(TOKENS, width))


def compared(side, engine, truth, told, owned):
    request = {"engine": engine, "dtype": "bfloat16", "account": told}
    return locate.compare(request, side("t", truth), side("r", truth), {}, CONFIG, owned)


def test_shares_of_ranks_with_a_key_head_on_two_of_them_are_put_where_they_belong(side, rows):
    q, k = rows(8), rows(2)  # four ranks, two query features each; two key features, each on two ranks
    told = account(
        q=[[r, "layers.0.attn.qk.weight", 0, 2 * r, 2, 0] for r in range(4)],
        k=[[r, "layers.0.attn.qk.weight", 2, r // 2, 1, 0] for r in range(4)],
    )
    owned = {"q": "model.layers.0.self_attn.q_proj", "k": "model.layers.0.self_attn.k_proj"}
    engine = []
    for rank in range(4):
        share = np.concatenate([q[:, 2 * rank : 2 * rank + 2], k[:, rank // 2 : rank // 2 + 1]], axis=1)
        engine += side("e", {"layers.0.attn.qk": share}, rank)
    found = compared(side, engine, {owned["q"]: q, owned["k"]: k}, told, owned)
    assert found["unmatched"] == []
    assert [(r["key"], r["by"], r["width"], r["out"]) for r in found["rows"]] == [
        ("layers.0.self_attn.q_proj", "tensors", 8, False),
        ("layers.0.self_attn.k_proj", "tensors", 2, False),
    ]
    # The same numbers with two key heads exchanged are a fault of k_proj alone.
    for record in engine:
        data = np.fromfile(record["file"], dtype="<f4").reshape(TOKENS, 3)
        data[:, 2] = k[:, 1 - record["rank"] // 2]
        data.tofile(record["file"])
    found = compared(side, engine, {owned["q"]: q, owned["k"]: k}, told, owned)
    assert [r["key"] for r in found["rows"] if r["out"]] == ["layers.0.self_attn.k_proj"]


def test_a_tensor_that_is_fused_on_both_sides_is_compared_feature_by_feature_where_the_loader_put_it(side, rows):
    whole = rows(8)  # gate and up in one tensor; each of two ranks has half of both
    told = account(gu=[[r, "mlp.gate_up.weight", 2 * p, 4 * p + 2 * r, 2, 0] for r in range(2) for p in range(2)])
    engine = []
    for rank in range(2):
        share = whole[:, [2 * rank, 2 * rank + 1, 4 + 2 * rank, 5 + 2 * rank]]
        engine += side("e", {"mlp.gate_up": share}, rank, parts={"mlp.gate_up": [["gate", 2], ["up", 2]]})
    found = compared(side, engine, {"ffn.gate_up_proj": whole}, told, {"gu": "ffn.gate_up_proj"})
    assert [(r["by"], r["out"]) for r in found["rows"]] == [("tensors", False)]
    assert found["unmatched"] == []


def test_an_embedding_is_compared_whole_although_its_weight_is_split_by_tokens(side, rows):
    out = rows(4)
    told = account(emb=[[r, "embed.weight", 0, 32 * r, 32, 0] for r in range(2)])
    engine = [*side("e", {"embed": out}, 0), *side("e", {"embed": out}, 1)]
    found = compared(side, engine, {"wte": out}, told, {"emb": "wte"})
    assert [(r["key"], r["width"], r["out"]) for r in found["rows"]] == [("wte", 4, False)]


def test_what_has_no_tensors_goes_by_name_and_what_has_no_counterpart_is_reported(side, rows):
    a, b = rows(4), rows(4)
    told = account(w=[[0, "layers.0.attn.o_proj.weight", 0, 0, 4, 0]])
    owned = {"w": "layers.0.self_attn.dense"}
    names = ("layers.0.attn.o_proj", "layers.0.attn.o_proj@in", "layers.0.dropout", "layers.0.attn.core")
    engine = side("e", {n: a if "drop" not in n else b for n in names})
    truth = {"layers.0.self_attn.dense@in": a, "layers.0.self_attn.dense": a, "layers.0.dropout": b, "alone": a}
    found = compared(side, engine, truth, told, owned)
    assert [(r["key"], r["by"]) for r in found["rows"]] == [
        ("layers.0.self_attn.dense", "tensors"),
        ("layers.0.self_attn.dense@in", "tensors"),
        ("layers.0.dropout", "name"),
    ]
    assert found["unmatched"] == ["layers.0.attn.core"]
    assert found["only_reference"] == ["alone"]


def test_a_name_is_not_believed_against_the_tensors(side, rows):
    a, b = rows(4), rows(4)
    told = account(one=[[0, "layers.0.norm.weight", 0, -1, 0, 0]], two=[[0, "layers.0.ln.weight", 0, -1, 0, 0]])
    owned = {"one": "layers.0.gone.x", "two": "layers.0.norm"}
    engine = side("e", {"layers.0.norm": a})
    found = compared(side, engine, {"layers.0.norm": b}, told, owned)
    assert (found["rows"], found["unmatched"]) == ([], ["layers.0.norm"])
    (row,) = compared(side, engine, {"layers.0.norm": b}, {}, {})["rows"]
    assert (row["by"], row["out"]) == ("name", True)


def test_the_rotation_is_its_callers_even_where_the_engine_calls_it_a_level_deeper(side, rows):
    q = rows(4)
    told = account(o=[[0, "layers.0.attn.o.weight", 0, 0, 4, 0]])
    engine = side("e", {"layers.0.attn.mla#rope_q": q, "layers.0.attn": q})
    truth = {"layers.0.self_attn#rope_q": q, "layers.0.self_attn": q}
    found = compared(side, engine, truth, told, {"o": "layers.0.self_attn.o_proj"})
    assert [(r["key"], r["by"]) for r in found["rows"]] == [
        ("layers.0.self_attn#rope_q", "tensors"),
        ("layers.0.self_attn", "tensors"),
    ]


def test_two_modules_of_one_short_name_are_told_apart(side, rows):
    a, b = rows(4), rows(4)
    truth = {"audio_tower.norm": a, "model.norm": b}
    found = compared(side, side("e", truth), truth, {}, {})
    assert [r["key"] for r in found["rows"]] == ["audio_tower.norm", "model.norm"]


class Reference:
    """A model as far as names go; transformers is not there, so its class's patterns are what it renames by."""

    base_model_prefix = "model"

    def __init__(self):
        self._checkpoint_conversion_mapping = {r"^language_model\.model": "model.language_model"}

    def named_modules(self):
        return [(n, None) for n in ("", "model", "model.norm", "model.language_model.norm", "model.experts", "lm_head")]

    def state_dict(self):
        return dict.fromkeys(("model.norm.weight", "model.language_model.norm.weight", "lm_head.weight"))


def test_the_owner_of_a_tensor_is_found_by_the_references_own_renaming(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers.conversion_mapping", None)
    told = owners(
        Reference(),
        [
            "language_model.model.norm.weight",
            "norm.weight",
            "lm_head.weight",
            "model.experts.gate_scale",
            "mtp.0.weight",
        ],
    )
    assert told == {
        "language_model.model.norm.weight": "model.language_model.norm",
        "norm.weight": "model.norm",
        "lm_head.weight": "lm_head",
        "model.experts.gate_scale": "model.experts",
    }


def test_a_key_says_what_of_its_module_it_is():
    assert [outputs.suffix(k) for k in ("a.b", "a.b@in", "a#rope_q")] == ["", "@in", "#rope_q"]
