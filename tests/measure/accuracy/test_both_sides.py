"""Engine and reference brought together: what each calls something else, and ties of a router in either."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from seatrial_probes import accuracy_locate as locate
from seatrial_probes import accuracy_rows as both

TOKENS, WIDTH, TIED = 12, 16, 5
CONFIG = SimpleNamespace(num_experts_per_tok=1)


@pytest.fixture
def side(tmp_path):
    """Records of one side from arrays by key, as `accuracy_watch` writes them."""

    def make(name, arrays):
        records = []
        for number, (key, rows) in enumerate(arrays.items()):
            file = tmp_path / f"{name}-{number}.f32"
            rows.astype("<f4").tofile(file)
            records.append(
                {"key": key, "module": key, "class": "M", "width": rows.shape[1], "step": 0, "rank": 0, "bad": 0}
                | {"rows": list(range(len(rows))), "file": str(file)}
            )
        return records

    return make


@pytest.fixture
def block():
    """One layer of experts and the norm behind it; token TIED has two experts of the same weight."""
    source = np.random.default_rng(1)
    gate = source.normal(size=(TOKENS, 4)) * 5
    gate[TIED, :2] = 9.0, 9.0001
    gate[TIED, 2:] = 0.0
    names = ("mlp.shared_expert", "mlp.experts", "mlp")
    outputs = {f"layers.0.{n}": source.normal(size=(TOKENS, WIDTH)) for n in names}
    return {"layers.0.mlp.gate": gate, **outputs, "layers.1.input_layernorm": source.normal(size=(TOKENS, WIDTH))}


def rounded(arrays, seed):
    source = np.random.default_rng(seed)
    return {k: a * (1 + 0.003 * source.normal(size=a.shape)) for k, a in arrays.items()}


def compared(side, block, engine, rough):
    request = {"engine": side("engine", engine), "dtype": "bfloat16"}
    found = locate.compare(request, side("truth", block), side("rough", rough), {}, CONFIG)
    return {r["key"]: r for r in found["rows"]}


def test_rounding_on_both_sides_leaves_nothing_outside(side, block):
    rows = compared(side, block, rounded(block, 2), rounded(block, 3))
    assert set(rows) == set(block)
    assert not [k for k, r in rows.items() if r["out"]]


def test_a_tie_that_fell_the_other_way_in_the_references_rounding_hides_no_fault_behind_it(side, block):
    rough = rounded(block, 3)
    for key in ("layers.0.mlp.experts", "layers.0.mlp", "layers.1.input_layernorm"):
        rough[key][TIED] = np.random.default_rng(4).normal(size=WIDTH) * 3
    engine = rounded(block, 2)
    clean = compared(side, block, engine, rough)
    assert not [k for k, r in clean.items() if r["out"]]
    engine["layers.1.input_layernorm"] *= 1.2
    rows = compared(side, block, engine, rough)
    assert [k for k, r in rows.items() if r["out"]] == ["layers.1.input_layernorm"]


def test_a_tie_that_fell_the_other_way_in_the_engine_is_no_fault(side, block):
    engine = rounded(block, 2)
    for key in ("layers.0.mlp.experts", "layers.0.mlp", "layers.1.input_layernorm"):
        engine[key][TIED] = np.random.default_rng(4).normal(size=WIDTH) * 3
    rows = compared(side, block, engine, rounded(block, 3))
    assert not [k for k, r in rows.items() if r["out"]]


def test_a_fault_of_some_tokens_is_seen_although_a_tie_fell_the_other_way(side, block):
    rough, engine = rounded(block, 3), rounded(block, 2)
    for key in ("layers.0.mlp.experts", "layers.0.mlp"):
        rough[key][TIED] = np.random.default_rng(4).normal(size=WIDTH) * 3
        engine[key][[1, 8]] *= 1.5  # two of twelve tokens were routed to the broken expert
    out = [k for k, r in compared(side, block, engine, rough).items() if r["out"]]
    assert out == ["layers.0.mlp.experts", "layers.0.mlp"]
    # Behind the next attention the tokens before the first that strayed are still judged one and all.
    later = rounded(block, 2)
    later["layers.1.input_layernorm"][[1, 2]] *= 1.5
    assert [k for k, r in compared(side, block, later, rough).items() if r["out"]] == ["layers.1.input_layernorm"]


def test_a_decoded_token_that_looks_back_at_a_strayed_one_is_judged_by_what_that_did_to_the_prompt(side, block):
    key = "layers.1.self_attn.o_proj@in"
    source = np.random.default_rng(9)
    truth = {"layers.0.mlp.gate": block["layers.0.mlp.gate"], "layers.0.mlp": block["layers.0.mlp"]}
    truth[key] = source.normal(size=(TOKENS, WIDTH))
    rough, engine = rounded(truth, 3), rounded(truth, 2)
    engine["layers.0.mlp"][TIED] = source.normal(size=WIDTH) * 3
    engine[key][TIED + 2] += 0.3 * source.normal(size=WIDTH)  # one later token of the prompt looked at it

    def decoded(shift):
        one = source.normal(size=(1, WIDTH))
        found = []
        for name, rows in (("t", one), ("r", one), ("e", one + shift * source.normal(size=(1, WIDTH)))):
            (record,) = side("decode-" + name, {key: rows})
            found.append({**record, "step": 1, "rows": [TOKENS]})
        return found

    for shift, out in ((0.25, False), (3.0, True)):
        sides = dict(zip("tre", decoded(shift), strict=True))
        request = {"engine": [*side("engine", engine), sides["e"]], "dtype": "bfloat16"}
        both_steps = []
        for name, arrays in (("truth", truth), ("rough", rough)):
            records = side(name, arrays)
            last = next(r for r in records if r["key"] == key)
            whole = np.concatenate([arrays[key], np.fromfile(sides[name[0]]["file"], dtype="<f4")[None]])
            whole.astype("<f4").tofile(last["file"])
            last["rows"] = list(range(TOKENS + 1))
            both_steps.append(records)
        rows = locate.compare(request, *both_steps, {}, CONFIG)["rows"]
        assert [(r["step"], r["out"]) for r in rows if r["key"] == key] == [(0, False), (1, out)]


def test_the_engines_gated_shared_expert_and_its_sum_with_the_experts_are_compared_as_such(side, block):
    gate = np.random.default_rng(6).normal(size=(TOKENS, 1))
    block = {"layers.0.mlp.shared_expert_gate": gate, **block}
    shared = block["layers.0.mlp.shared_expert"] / (1 + np.exp(-gate))
    engine = rounded(block, 2)
    engine["layers.0.mlp.shared_expert"] = shared
    engine["layers.0.mlp.experts"] = block["layers.0.mlp.experts"] + shared
    assert not [k for k, r in compared(side, block, engine, rounded(block, 3)).items() if r["out"]]
    # With a fault among the experts it is they that are named, not the shared one before them.
    engine["layers.0.mlp.experts"] = block["layers.0.mlp.experts"] * 1.5 + shared
    engine["layers.0.mlp"] = block["layers.0.mlp"] * 1.5
    out = [k for k, r in compared(side, block, engine, rounded(block, 3)).items() if r["out"]]
    assert out == ["layers.0.mlp.experts", "layers.0.mlp"]


def test_the_router_of_an_output_is_the_one_beside_it():
    known = {"layers.0.mlp.gate", "layers.1.block_sparse_moe.router"}
    assert both.router_of("layers.0.mlp.experts", known) == "layers.0.mlp.gate"
    assert both.router_of("layers.0.mlp", known) == "layers.0.mlp.gate"
    assert both.router_of("layers.1.block_sparse_moe", known) == "layers.1.block_sparse_moe.router"
    assert both.router_of("layers.2.mlp", known) == ""


def test_the_shares_of_two_ranks_are_put_side_by_side_and_their_heads_looked_at_together(side, block):
    source = np.random.default_rng(7)
    heads = source.normal(size=(TOKENS, 4, 4))  # four heads of four features
    config = SimpleNamespace(num_experts_per_tok=1, head_dim=4, num_attention_heads=4)
    key = "layers.0.self_attn.o_proj@in"
    whole = {key: heads.reshape(TOKENS, 16)}
    moved = heads[:, [1, 0, 3, 2]].reshape(TOKENS, 16)  # each rank holds its two heads in the wrong order
    ranks = []
    for rank in range(2):
        (record,) = side(f"rank{rank}", {key: moved[:, 8 * rank : 8 * rank + 8]})
        ranks.append({**record, "rank": rank})
    request = {"engine": ranks, "dtype": "bfloat16"}
    found = locate.compare(request, side("t", whole), side("r", rounded(whole, 3)), {}, config)
    rows = found["rows"]
    assert found["unmatched"] == []
    assert [r["out"] for r in rows] == [True]
    assert {"head-order", "feature-order"} <= {s["name"] for s in rows[0]["suspects"]}


@pytest.mark.parametrize("broken", ["truth", "rough"])
def test_an_output_of_which_the_reference_has_no_numbers_is_unjudged_and_not_the_engines_fault(side, block, broken):
    key = "layers.1.input_layernorm"
    sides = {"truth": block, "rough": rounded(block, 3)}
    engine = rounded(block, 2)
    sides[broken] = {**sides[broken], key: np.full((TOKENS, WIDTH), np.nan)}
    request = {"engine": side("engine", engine), "dtype": "float16"}
    found = locate.compare(request, side("truth", sides["truth"]), side("rough", sides["rough"]), {}, CONFIG)
    assert found["unjudged"] == [key]
    assert not [r["key"] for r in found["rows"] if r["out"] or r["key"] == key]
    # The engine's own are its fault.
    wrong = compared(side, block, {**engine, key: np.full((TOKENS, WIDTH), np.nan)}, rounded(block, 3))
    assert [k for k, r in wrong.items() if r["out"]] == [key]
