"""The scheduler's limits that nobody gave: as the engine settled them for the zoo, and as its source says elsewhere."""

from __future__ import annotations

import json

import pytest
from tests.estimate.test_estimate_zoo import KEPT, RULES, read

from seatrial.core.quantity import Quantity, Source
from seatrial.estimate import Layout, Serving, engine_rules, make_plan
from seatrial.estimate.schedule import GIB, settle
from seatrial.targets.hardware import load_hardware

# Pooling models of images, whose pooler decides; nothing of it is in config.json.
POOLING = {"ColPaliForRetrieval", "EmbeddingGemma2Model"}


@pytest.mark.parametrize("name", sorted(set(KEPT) - POOLING))
def test_tokens_per_step_and_prefix_caching_are_the_engines(name, tmp_path):
    theirs = KEPT[name]["tp"]["1"]
    found = settle(read(name, tmp_path), Layout(), Serving(), RULES, None, theirs["length"])
    tokens = found.serving.max_num_batched_tokens or found.rules.batched_tokens
    assert (tokens, found.serving.prefix_caching) == (theirs["batch"], theirs["prefix"])


def test_on_a_cpu_every_rank_adds_to_the_step(make):
    # A real `vllm serve --tensor-parallel-size 2` on this engine logs max_num_batched_tokens=4096.
    found = settle(make(), Layout(tp=2, pp=2), Serving(), engine_rules("cpu"), None, 4096).rules
    assert (found.batched_tokens, found.max_seqs) == (8192, 512)


@pytest.mark.parametrize(("memory", "tokens", "seqs"), [(180, 16384, 1024), (96, 8192, 1024), (48, 2048, 256)])
def test_on_a_gpu_its_memory_decides(make, memory, tokens, seqs):
    device = Quantity(value=memory * GIB, unit="bytes", source=Source.DECLARED, note="test")
    found = settle(make(), Layout(), Serving(), engine_rules("cuda"), device, 131072).rules
    assert (found.batched_tokens, found.max_seqs) == (tokens, seqs)


def test_no_step_is_longer_than_all_requests_and_none_more_than_a_step(make):
    rules = engine_rules("cuda")
    assert settle(make(), Layout(), Serving(max_num_seqs=2), rules, None, 512).rules.batched_tokens == 1024
    assert settle(make(), Layout(), Serving(max_num_batched_tokens=100), rules, None, 512).rules.max_seqs == 100


def test_mla_without_tiles_takes_whole_prompts_whatever_was_given(tmp_path):
    model = read("HYV4ForCausalLM", tmp_path)
    device = load_hardware("nvidia-h200-sxm").memory
    plan = make_plan(model, Layout(), Serving(max_num_batched_tokens=512, max_model_len=5000), RULES, device)
    assert (plan.asked.batched_tokens, plan.asked.serving.prefix_caching) == (5000, False)
    assert any("512" in n and "5000" in n for n in plan.notes)


def test_the_plan_of_a_mamba_model_counts_its_states_as_the_engine_does_by_default(tmp_path):
    theirs = KEPT["MambaForCausalLM"]["tp"]["1"]
    model = read("MambaForCausalLM", tmp_path)
    device = load_hardware("nvidia-h200-sxm").memory
    memory, blocks, tokens = theirs["capacity"][-1]
    plan = make_plan(model, Layout(), Serving(kv_bytes=memory, max_model_len=theirs["length"]), RULES, device)
    assert (plan.capacity.blocks, plan.capacity.tokens) == (blocks, tokens)
    assert json.dumps(plan.notes).count("prefix caching") == 1
