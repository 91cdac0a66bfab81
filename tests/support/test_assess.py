"""The assessment, from small configs and the answers an engine may give."""

from __future__ import annotations

import json

import msgspec
import pytest

from seatrial.checkpoint import read_card
from seatrial.core.verdict import failed, passed
from seatrial.support import ArchitectureState, SupportFacts
from seatrial.support.assess import assess
from seatrial.support.case import decide
from seatrial.targets import load_target

CONFIG = {
    "architectures": ["GoodForCausalLM"],
    "model_type": "good",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 256,
    "max_position_embeddings": 4096,
}


def state(**changes):
    base = ArchitectureState(
        architecture="GoodForCausalLM", registered=True, class_path="vllm.m:Good", owner="vllm", upstream_class_path="",
        importable=True, error="", traceback="", file="", info={"supports_pp": True, "supports_lora": False},
        platform_refusal="", converted_from="", previously_supported_until="", out_of_tree_plugin="",
        transformers_class="absent", transformers_error="",
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


NOTHING = {"registered": False, "class_path": "", "owner": "", "importable": None, "info": {}}


@pytest.fixture
def judge(tmp_path):
    def run(one, target="cpu", serve=None, quantization=(), supported=("GoodForCausalLM",), **config):
        (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **config}))
        card = read_card(tmp_path)
        chosen = load_target(target).target
        if serve is not None:
            arguments = msgspec.structs.replace(chosen.serve, args=serve)
            chosen = msgspec.structs.replace(chosen, serve=arguments)
        served = one if one.serves else None
        case = decide(
            architectures=(one.architecture,), served=one.serves, fallback=False, registered=bool(one.class_path),
            has_experts=card.feed_forward.moe is not None, is_multimodal=card.multimodal is not None,
            supported=supported,
        )  # fmt: skip
        facts = SupportFacts(
            architectures=(one.architecture,), model_type="good", road="native" if served else "none", served_by=served,
            case=case, states=(one,), platform_quantization=quantization, supported=tuple(supported),
            platform_class="p.P",
        )  # fmt: skip
        return assess(card, facts, passed() if served else failed("not registered"), chosen)

    return run


def features(done):
    return {f.name: f.expectation for f in done.features}


def test_an_upstream_class_is_reused_on_the_cpu_and_overlaid_on_a_plugins_platform(judge):
    assert (judge(state()).strategy, judge(state(), "ascend-a2", serve={}).strategy) == ("reuse", "overlay")
    assert judge(state(owner="ascend"), "ascend-a2", serve={}).strategy == "reuse"


def test_features_are_expected_by_the_class_and_not_applicable_by_the_config(judge):
    plan = features(judge(state(), serve={}))
    assert plan == {
        "pipeline parallel": "expected",
        "LoRA": "not-expected",
        "multimodal": "not-applicable",
        "MTP": "not-applicable",
        "expert parallel": "not-applicable",
        "quantisation": "not-applicable",
        "tensor parallel": "not-applicable",
        "context length": "expected",
        "attention kind": "unknown",
        "head size": "unknown",
    }


def test_what_the_engine_did_not_say_is_unknown(judge):
    assert features(judge(state(info={})))["LoRA"] == "unknown"


@pytest.mark.parametrize(
    ("serve", "name"),
    [
        ({"tensor-parallel-size": 8}, "tensor parallel"),
        ({"max-model-len": 8192}, "context length"),
        ({"enable-lora": True}, "LoRA"),
    ],
)
def test_what_the_targets_own_arguments_demand_and_nothing_gives_fails(judge, serve, name):
    done = judge(state(), serve=serve, vocab_size=250, num_attention_heads=4)
    assert done.outcome.verdict.value == "fail"
    assert any(item.startswith(name) for item in done.work)


def test_a_quantisation_the_platform_does_not_take_fails(judge):
    config = {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}
    assert judge(state(), quantization=("ascend", "gptq"), serve={}, **config).outcome.verdict.value == "pass"
    assert judge(state(), quantization=("ascend",), serve={}, **config).outcome.verdict.value == "fail"


@pytest.mark.parametrize(
    ("changes", "strategy", "effort"),
    [
        ({"importable": False, "error": "ImportError: x"}, "backend patch", "small"),
        ({**NOTHING, "previously_supported_until": "0.10.2"}, "fork with provenance", "medium"),
        ({**NOTHING, "out_of_tree_plugin": "https://example.org/p"}, "reuse", "small"),
        ({**NOTHING, "architecture": "GoodMoeForCausalLM"}, "fork with provenance", "medium"),
        ({**NOTHING, "architecture": "ZqxwForCausalLM"}, "fork with provenance", "large"),
    ],
)
def test_the_road_of_what_is_not_served(judge, changes, strategy, effort):
    done = judge(state(**changes), serve={})
    assert (done.strategy, done.effort, done.outcome.verdict.value) == (strategy, effort, "fail")
    assert done.work


def test_the_nearest_relative_is_named_with_its_score_and_why(judge):
    unknown = state(**{**NOTHING, "architecture": "Good2ForCausalLM"})
    done = judge(unknown, serve={}, supported=("GoodForCausalLM", "OtherForCausalLM"))
    assert [r.architecture for r in done.relatives] == ["GoodForCausalLM"]
    assert done.relatives[0].because == "family 'good' against 'good2'; by name alone"
