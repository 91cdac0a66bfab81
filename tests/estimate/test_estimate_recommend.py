"""Recommended flags pass the plan they came from, and load as a target."""

from __future__ import annotations

import pytest

from seatrial.core.quantity import Source
from seatrial.core.record import replace
from seatrial.estimate import Layout, Serving, engine_rules, make_plan
from seatrial.estimate.model import altered
from seatrial.estimate.recommend import overlay, recommend
from seatrial.targets import load_target
from seatrial.targets.hardware import load_hardware

RULES = engine_rules("cuda")
HARDWARE = load_hardware("nvidia-h20")


def ask(model, aim, **more):
    return recommend(model, HARDWARE, RULES, Serving(max_model_len=4096), aim, devices=8, requests=16, **more)


def test_the_fewest_cards_are_the_fewest_that_pass(make):
    found = ask(make(), "fewest-cards")
    assert found.chosen.devices == 1
    assert found.flags["tensor-parallel-size"] == 1


def test_the_longest_context_passes_when_planned_with_its_flags(make):
    model = make(max_position_embeddings=131072, num_hidden_layers=48, num_key_value_heads=8)
    found = ask(model, "longest-context")
    flags = found.flags
    made = make_plan(
        model, Layout(tp=flags["tensor-parallel-size"], pp=flags.get("pipeline-parallel-size", 1)),
        Serving(max_model_len=flags["max-model-len"]), RULES, HARDWARE.memory, requests=16,
    )  # fmt: skip
    assert made.level == "pass"


def test_every_flag_has_its_reason_and_the_overlay_loads_as_a_target(make, tmp_path):
    found = ask(make(), "most-throughput")
    assert set(found.flags) == set(found.reasons)
    file = tmp_path / "seatrial.toml"
    file.write_text(overlay(found, "cpu", "mine"))
    target = load_target("mine", file).target
    assert target.serve.args["tensor-parallel-size"] == found.flags["tensor-parallel-size"]
    assert target.serve.args["max-num-seqs"] == found.flags["max-num-seqs"]


def test_limits_that_no_layout_meets_leave_nothing_and_say_why(make):
    found = ask(make(), "most-throughput", tpot_s=1e-12)
    assert found.chosen is None
    assert overlay(found, "cpu", "mine") == ""
    assert all("TPOT" in why or "divide" in why or "multiple" in why for why in found.refused.values())


def test_unknown_peaks_give_no_throughput_but_name_the_field(make):
    hardware = load_hardware("kunlun-p800")
    found = recommend(make(), hardware, RULES, Serving(max_model_len=512), "most-throughput", devices=2, requests=1)
    assert found.chosen is None
    assert any("memory" in why or "peak" in why for why in found.refused.values())


@pytest.mark.parametrize("aim", ["longest-context", "most-throughput", "fewest-cards"])
def test_every_layout_is_chosen_from_or_refused(make, aim):
    found = ask(make(), aim)
    assert found.considered >= len(found.refused) + (found.chosen is not None)


@pytest.mark.parametrize("limit", ["ttft_s", "tpot_s"])
def test_a_limit_that_cannot_be_held_against_anything_is_not_met(make, limit):
    hardware = load_hardware("nvidia-h20")
    blind = replace(hardware, memory_bandwidth=replace(hardware.memory_bandwidth, value=None, source=Source.UNKNOWN))
    ask_ = {"devices": 2, "requests": 4}
    assert recommend(make(), blind, RULES, Serving(max_model_len=4096), "fewest-cards", **ask_).chosen is not None
    found = recommend(make(), blind, RULES, Serving(max_model_len=4096), "fewest-cards", **ask_, **{limit: 10.0})
    assert found.chosen is None
    assert any(f"{limit[:4].upper()} is unknown: hardware field memory_bandwidth" in w for w in found.refused.values())


def test_the_overlay_serves_as_the_plan_counted(make, tmp_path):
    serving = Serving(max_model_len=4096, kv_bytes=4 << 30, block_size=32, prefix_caching=False, eager=True)
    model = altered(make(), given="float16")
    found = recommend(model, HARDWARE, RULES, serving, "fewest-cards", devices=1, requests=4)
    wanted = {
        "kv-cache-memory-bytes": 4 << 30, "block-size": 32, "no-enable-prefix-caching": True, "enforce-eager": True,
        "dtype": "float16",
    }  # fmt: skip
    assert {k: found.flags.get(k) for k in wanted} == wanted
    assert set(found.flags) == set(found.reasons)
    file = tmp_path / "seatrial.toml"
    file.write_text(overlay(found, "cpu", "mine"))
    assert load_target("mine", file).target.serve.args["enforce-eager"] is True
