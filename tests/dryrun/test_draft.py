"""Draft models beside their target: MTP layers of the target's own checkpoint, and a separate EAGLE head."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from headers import without, write_config

from seatrial.core.verdict import Verdict
from seatrial.dryrun import HeaderTensor, dry

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
from dry_models import SMALL_DEEPSEEK, deepseek_v3

pytestmark = pytest.mark.engine
CONFIG = {key: value for key, value in SMALL_DEEPSEEK.items() if key != "quantization_config"}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_hidden_layers": 1,
    "vocab_size": 256,
    "rms_norm_eps": 1e-6,
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
}
EAGLE = {
    "fc.weight": (64, 128),
    "layers.0.self_attn.q_proj.weight": (64, 64),
    "layers.0.self_attn.k_proj.weight": (32, 64),
    "layers.0.self_attn.v_proj.weight": (32, 64),
    "layers.0.self_attn.o_proj.weight": (64, 64),
    "layers.0.mlp.gate_proj.weight": (128, 64),
    "layers.0.mlp.up_proj.weight": (128, 64),
    "layers.0.mlp.down_proj.weight": (64, 128),
    "layers.0.post_attention_layernorm.weight": (64,),
}


def test_mtp_layers_are_accounted_for_and_a_lost_one_is_named(engine, tmp_path):
    folder = write_config(tmp_path / "model", CONFIG)
    tensors = deepseek_v3(CONFIG, block=0)
    lost = "model.layers.3.eh_proj.weight"
    sound = dry(folder, tensors, session=engine, target=folder)
    assert sound.outcome.verdict is Verdict.PASS
    assert sound.facts.config.architecture == "DeepSeekMTPModel"
    # The target's own layers are handed over too, and the draft's loader says why it leaves them.
    assert any(line.state == "dropped" and line.rule is not None for line in sound.facts.tensors)
    # The model alone does not miss it; its draft does.
    assert dry(folder, without(tensors, lost), session=engine).outcome.verdict is Verdict.PASS
    assert [(f.code, f.place) for f in dry(folder, without(tensors, lost), session=engine, target=folder).findings] == [
        ("D001", lost)
    ]


def test_an_eagle_head_shares_its_targets_embedding_and_misses_nothing_else(engine, tmp_path):
    target = write_config(tmp_path / "target", {**LLAMA, "num_hidden_layers": 2})
    draft = write_config(tmp_path / "draft", LLAMA)
    tensors = [HeaderTensor(name=name, dtype="BF16", shape=shape) for name, shape in EAGLE.items()]
    sound = dry(draft, tensors, session=engine, target=target, draft_method="eagle")
    assert sound.outcome.verdict is Verdict.PASS
    assert "initialised by design" in {p.state for p in sound.facts.parameters if "embed_tokens" in p.kind}
    faulty = dry(draft, tensors[1:], session=engine, target=target, draft_method="eagle")
    assert [(f.code, f.place) for f in faulty.findings] == [("D001", "model.fc.weight")]
