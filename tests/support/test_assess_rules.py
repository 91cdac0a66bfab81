"""Relatives by what model files read and name, the platform's attention rules, and an assessment from sources alone."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support_stack import write

from seatrial.checkpoint import read_card
from seatrial.cli.assess import command
from seatrial.platforms import PLATFORMS
from seatrial.support.by_source import relatives_of, support_by_source
from seatrial.support.class_text import class_text
from seatrial.support.platform_rules import attention_features, rules_of
from seatrial.support.relatives import ModelFiles, fields_of
from seatrial.support.source import open_source
from seatrial.targets import load_target

HEADS = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
LATENT = HEADS | {
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
}
MODELS = "vllm/model_executor/models"
SOURCES = {
    "vllm/__init__.py": "",
    "vllm/version.py": "__version__ = '0.99.0'\n",
    f"{MODELS}/__init__.py": "",
    f"{MODELS}/registry.py": (
        "_TEXT = {'PlainForCausalLM': ('plain', 'PlainForCausalLM'),"
        " 'LatentForCausalLM': ('latent', 'LatentForCausalLM'), 'LatentMTPModel': ('latent_mtp', 'LatentMTPModel')}\n"
        "_VLLM_MODELS = {**_TEXT}\n_PREVIOUSLY_SUPPORTED_MODELS = {'OldForCausalLM': '0.9.2'}\n"
        "_OOT_SUPPORTED_MODELS = {}\n"
        "ModelRegistry = _ModelRegistry({arch: _LazyRegisteredModel("
        "module_name=f'vllm.model_executor.models.{mod}', class_name=cls)"
        " for arch, (mod, cls) in _VLLM_MODELS.items()})\n"
    ),
    f"{MODELS}/plain.py": (
        "class PlainForCausalLM:\n    def __init__(self, vllm_config, config):\n"
        "        self.q_proj = config.num_attention_heads\n        self.window = config.sliding_window\n"
        "        self.size = config.hidden_size + vllm_config.kv_lora_rank\n"
    ),
    f"{MODELS}/latent.py": (
        "from .plain import PlainForCausalLM\nclass LatentForCausalLM:\n    def __init__(self, config):\n"
        "        self.kv_a_proj_with_mqa = config.kv_lora_rank\n        self.rope = config.qk_rope_head_dim\n"
        "        self.rank = getattr(config, 'q_lora_rank', None)\n"
    ),
    f"{MODELS}/latent_mtp.py": "from .latent import Latent\nx = config.kv_lora_rank, config.qk_rope_head_dim\n",
}


@pytest.fixture
def engine(tmp_path):
    return write(tmp_path / "vllm-src", SOURCES)


def card_of(folder, config, name="NewForCausalLM"):
    text = json.dumps({"architectures": [name], "model_type": "new", **config})
    return read_card(write(folder, {"config.json": text}))


def test_the_relative_is_the_model_that_reads_this_configs_rare_fields(engine, tmp_path):
    near = relatives_of(card_of(tmp_path / "c", LATENT), engine)
    assert [r.architecture for r in near] == ["LatentForCausalLM", "PlainForCausalLM"]
    assert near[0].fields > near[1].fields
    assert "kv_lora_rank" in near[0].because
    assert near[0].words is None  # no weight names are known: no basis, not 0
    plain = relatives_of(card_of(tmp_path / "p", {**HEADS, "sliding_window": 128}), engine)
    assert plain[0].architecture == "PlainForCausalLM"


def test_weight_names_count_and_what_is_lacking_is_said(engine):
    files = ModelFiles(open_source(engine))
    supported = {
        "PlainForCausalLM": f"{MODELS}/plain".replace("/", ".") + ":P",
        "LatentForCausalLM": "vllm.model_executor.models.latent:L",
    }
    near = files.nearest(["X"], (), ["model.layers.*.self_attn.kv_a_proj_with_mqa.weight"], supported)
    assert [(r.architecture, r.words) for r in near] == [("LatentForCausalLM", 1.0), ("PlainForCausalLM", 0.0)]
    assert "does not know: kv_a_proj_with_mqa" in near[1].because


def test_fields_of_sections_count_and_nulls_do_not():
    config = {"a": 1, "text_config": {"b": 2, "c": None}, "quantization_config": {"d": 3}}
    assert set(fields_of(config)) == {"a", "text_config", "b", "quantization_config", "d"}


def test_every_platform_has_rules_and_every_figure_its_source():
    for name in PLATFORMS:
        rules = rules_of(name)
        for field in ("kinds", "head_sizes", "mla_heads_per_rank", "draft_tokens", "dtypes", "quantisation"):
            assert not getattr(rules, field) or rules.sources[field], f"{name}: {field}"


@pytest.mark.parametrize(
    ("target", "config", "kind", "size"),
    [
        ("ascend-a2", {**HEADS, "head_dim": 128}, "expected", "expected"),
        ("ascend-a2", {**HEADS, "head_dim": 256}, "expected", "unknown"),
        ("ascend-a2", LATENT, "expected", "unknown"),  # TP 8 leaves 16 heads a rank
        ("kunlun-p800", LATENT, "expected", "unknown"),
        ("cpu", HEADS, "unknown", "unknown"),
    ],
)
def test_the_platforms_rules_are_laid_over_the_checkpoint(tmp_path, target, config, kind, size):
    plan = attention_features(card_of(tmp_path / "c", config), load_target(target).target)
    assert [(f.name, f.expectation) for f in plan] == [("attention kind", kind), ("head size", size)]
    assert all(f.reason for f in plan)


def test_a_state_that_no_backend_is_known_for_is_unknown_and_named(tmp_path):
    mamba = {"model_type": "mamba2", "num_hidden_layers": 2, "hidden_size": 64, "state_size": 16, "num_heads": 4}
    card = read_card(
        write(tmp_path / "c", {"config.json": json.dumps({"architectures": ["X"], **mamba, "head_dim": 32})})
    )
    kind = attention_features(card, load_target("ascend-a2").target)[0]
    assert kind.expectation == "unknown"


def test_a_registered_architecture_is_inconclusive_when_only_sources_were_read(engine, tmp_path):
    result = support_by_source(card_of(tmp_path / "c", LATENT, "LatentForCausalLM"), engine, (), "no engine here")
    assert result.outcome.verdict.value == "inconclusive"
    assert result.facts.states[0].class_path == "vllm.model_executor.models.latent:LatentForCausalLM"
    assert result.facts.case.case.value == "A"
    assert result.findings[0].code == "S015"
    gone = support_by_source(card_of(tmp_path / "d", LATENT, "OldForCausalLM"), engine, (), "no engine here")
    assert gone.outcome.verdict.value == "fail"


def test_a_plugins_class_that_cannot_import_fails_from_the_sources_alone_and_says_where(engine, tmp_path):
    plugin = {
        "plug/__init__.py": (
            "from vllm.model_executor.models.registry import ModelRegistry\n"
            "def register():\n"
            "    ModelRegistry.register_model('LatentForCausalLM', 'plug.mine:Latent')\n"
        ),
        "plug/mine.py": "from vllm.gone import X\nclass Latent: pass\n",
        "setup.py": (
            "from setuptools import setup\n"
            "setup(name='plug', entry_points={'vllm.general_plugins': ['plug = plug:register']})\n"
        ),
    }
    source = write(tmp_path / "plug", plugin)
    card = card_of(tmp_path / "c", LATENT, "LatentForCausalLM")
    result = support_by_source(card, engine, (source,), "no engine here")
    assert result.outcome.verdict.value == "fail"
    assert "plug/mine.py:1 vLLM has no module vllm.gone" in result.outcome.reason
    asked = ["--target", "ascend-a2", "--engine", str(engine), "--plugin", str(source), "--json"]
    answer = json.loads(CliRunner().invoke(command, [str(tmp_path / "c"), *asked]).stdout)
    assert answer["strategy"] == "backend patch"
    assert any("plug/mine.py:1" in line for line in answer["work"])


def test_a_classes_interfaces_are_read_through_its_bases_and_an_unseen_base_leaves_them_open(tmp_path):
    models = "vllm/model_executor/models"
    source = write(
        tmp_path / "v",
        {
            "vllm/__init__.py": "",
            "vllm/model_executor/__init__.py": "",
            f"{models}/__init__.py": "",
            f"{models}/interfaces.py": "class SupportsPP(Protocol): ...\nclass SupportsLoRA(Protocol): ...\n",
            f"{models}/base.py": (
                "from torch import nn\nfrom .interfaces import SupportsLoRA, SupportsPP\n"
                "class Base(nn.Module, SupportsPP, SupportsLoRA):\n"
                "    def forward(self, x, intermediate_tensors=None): ...\n"
                "class Draft(Base):\n    def forward(self, x): ...\n"
                "class Odd(make(), SupportsPP): ...\n"
            ),
        },
    )
    path = "vllm.model_executor.models.base"
    base = class_text(f"{path}:Base", "A", source, ()).info
    assert (base["supports_pp"], base["supports_lora"], base["supports_multimodal"]) == (True, True, False)
    assert class_text(f"{path}:Draft", "A", source, ()).info["supports_pp"] is False
    odd = class_text(f"{path}:Odd", "A", source, ()).info
    assert (odd["supports_pp"], odd["supports_lora"]) == (True, None)
    assert set(class_text(f"{path}:Gone", "A", source, ()).info.values()) == {None}


def test_the_plan_holds_the_features_that_only_a_gate_can_try(engine, tmp_path):
    card_of(tmp_path / "c", LATENT, "LatentForCausalLM")
    asked = ["--target", "cpu", "--engine", str(engine), "--json"]
    answer = json.loads(CliRunner().invoke(command, [str(tmp_path / "c"), *asked]).stdout)
    plan = {f["name"]: f for f in answer["features"]}
    assert plan["flashcomm1"]["expectation"] == "not-applicable"
    assert plan["structured-output"]["expectation"] == "unknown"
    assert len(plan) == len(answer["features"])


def test_the_command_assesses_from_sources_without_any_interpreter(engine, tmp_path):
    card_of(tmp_path / "c", LATENT)
    asked = ["--target", "ascend-a2", "--engine", str(engine), "--json"]
    done = CliRunner().invoke(command, [str(tmp_path / "c"), *asked])
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["case"], answer["strategy"]) == (3, "B", "fork with provenance")
    assert answer["relatives"][0]["architecture"] == "LatentForCausalLM"
    assert "LatentForCausalLM" in answer["work"][0]
    card_of(tmp_path / "k", LATENT, "LatentForCausalLM")
    known = json.loads(CliRunner().invoke(command, [str(tmp_path / "k"), *asked]).stdout)
    assert (known["strategy"], known["relatives"]) == ("overlay", [])
    assert "no engine was asked" in known["reasons"][0]


def test_fp8_on_ascend_is_not_promised(engine, tmp_path):
    quantised = {**LATENT, "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
    card_of(tmp_path / "c", quantised)
    asked = ["--target", "ascend-a2", "--engine", str(engine), "--json"]
    answer = json.loads(CliRunner().invoke(command, [str(tmp_path / "c"), *asked]).stdout)
    found = next(f for f in answer["features"] if f["name"] == "quantisation")
    assert (found["expectation"], "A5" in found["reason"]) == ("unknown", True)
