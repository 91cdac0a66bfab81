"""Draft models beside their target: MTP layers of the target's own checkpoint, and a separate EAGLE head."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from headers import without, write_config

from seatrial.cli.dry import command
from seatrial.core.verdict import Verdict
from seatrial.dryrun import HeaderTensor, dry
from shards import write_shard

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
# As published heads have it: three of the target's hidden states in, a vocabulary of the draft's own, and its maps.
EAGLE3 = {
    "d2t": (128,),
    "t2d": (256,),
    "fc.weight": (64, 192),
    "midlayer.self_attn.q_proj.weight": (64, 128),
    "midlayer.self_attn.k_proj.weight": (32, 128),
    "midlayer.self_attn.v_proj.weight": (32, 128),
    "midlayer.self_attn.o_proj.weight": (64, 64),
    "midlayer.mlp.gate_proj.weight": (128, 64),
    "midlayer.mlp.up_proj.weight": (128, 64),
    "midlayer.mlp.down_proj.weight": (64, 128),
    "midlayer.hidden_norm.weight": (64,),
    "midlayer.input_layernorm.weight": (64,),
    "midlayer.post_attention_layernorm.weight": (64,),
    "norm.weight": (64,),
    "lm_head.weight": (128, 64),
}
EAGLE3_CONFIG = {**LLAMA, "architectures": ["LlamaForCausalLMEagle3"], "draft_vocab_size": 128}
EAGLE3_DTYPES = {"d2t": "I64", "t2d": "BOOL"}


def eagle3():
    return [HeaderTensor(name=n, dtype=EAGLE3_DTYPES.get(n, "BF16"), shape=shape) for n, shape in EAGLE3.items()]


def shards(folder, tensors):
    """The tensors as a real file in a folder that has its config."""
    write_shard(folder / "model.safetensors", {t.name: (t.dtype, list(t.shape)) for t in tensors})
    return folder


def llama(layers):
    """The target: names as the hub has them."""
    shapes = {"model.embed_tokens.weight": (256, 64), "model.norm.weight": (64,), "lm_head.weight": (256, 64)}
    for layer in range(layers):
        for name, shape in EAGLE.items():
            if name.startswith("layers.0."):
                shapes[f"model.layers.{layer}.{name.removeprefix('layers.0.')}"] = shape
        shapes[f"model.layers.{layer}.input_layernorm.weight"] = (64,)
    return [HeaderTensor(name=n, dtype="BF16", shape=shape) for n, shape in shapes.items()]


@pytest.fixture
def cli(engine_python, tmp_path, monkeypatch):
    """`seatrial dry ... --json` in a folder whose seatrial.toml names the engine; its exit code and documents."""
    (tmp_path / "seatrial.toml").write_text(
        f'[targets.here]\nextends = "cpu"\n'
        f'[targets.here.engine]\nkind = "interpreter"\ninterpreter = {json.dumps(str(engine_python))}\n'
    )
    monkeypatch.chdir(tmp_path)

    def go(*words):
        ended = CliRunner().invoke(command, [*map(str, words), "--target", "here", "--json"])
        return ended.exit_code, json.loads(ended.stdout)

    return go


def test_an_eagle3_head_is_accounted_for_with_its_vocabulary_maps(engine, tmp_path):
    target = write_config(tmp_path / "target", {**LLAMA, "num_hidden_layers": 8})
    draft = write_config(tmp_path / "draft", EAGLE3_CONFIG)
    sound = dry(draft, eagle3(), session=engine, target=target, draft_method="eagle3")
    assert sound.outcome.verdict is Verdict.PASS, sound.outcome.reason
    lines = {line.kind: line for line in sound.facts.tensors}
    assert lines["d2t"].into == ("draft_id_to_target_id",)
    assert lines["t2d"].state == "dropped"
    assert lines["t2d"].rule.source == "continue"


def test_the_command_fails_for_a_sound_model_with_a_faulty_draft_and_says_whose_fault_it_is(cli, tmp_path):
    target = shards(write_config(tmp_path / "target", {**LLAMA, "num_hidden_layers": 8}), llama(8))
    lost = "midlayer.hidden_norm.weight"
    draft = shards(write_config(tmp_path / "draft", EAGLE3_CONFIG), without(eagle3(), lost))
    code, said = cli(target, "--draft", draft, "--draft-method", "eagle3")
    assert (code, said["model"]["outcome"]["verdict"], said["draft"]["outcome"]["verdict"]) == (1, "pass", "fail")
    # The checkpoint's word for the layer comes from the parameter's neighbours.
    (finding,) = said["draft"]["findings"]
    assert (finding["code"], finding["place"]) == ("D001", "model.layers.0.hidden_norm.weight")
    assert finding["message"].endswith(f"expected in the checkpoint: {lost}")


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


def test_experts_of_another_rank_say_nothing_of_those_that_nobody_builds(engine, tmp_path):
    folder = write_config(tmp_path / "model", CONFIG)
    tensors = deepseek_v3(CONFIG, block=0)
    sound = dry(folder, tensors, session=engine, tp=2, ep=True)
    assert sound.outcome.verdict is Verdict.PASS, sound.outcome.reason
    assert any(line.state == "dropped" and ".experts." in line.kind for line in sound.facts.tensors)
    stray = "model.layers.2.mlp.experts.99.up_proj.weight"
    shape = next(t.shape for t in tensors if t.name == stray.replace("99", "0"))
    more = [*tensors, HeaderTensor(name=stray, dtype="BF16", shape=shape)]
    found = dry(folder, more, session=engine, tp=2, ep=True)
    assert found.outcome.verdict is Verdict.FAIL
    assert stray in {f.place for f in found.findings} | {t.name for t in found.facts.tensor_troubles}


def test_an_eagle_head_shares_its_targets_embedding_and_misses_nothing_else(engine, tmp_path):
    target = write_config(tmp_path / "target", {**LLAMA, "num_hidden_layers": 2})
    draft = write_config(tmp_path / "draft", LLAMA)
    tensors = [HeaderTensor(name=name, dtype="BF16", shape=shape) for name, shape in EAGLE.items()]
    sound = dry(draft, tensors, session=engine, target=target, draft_method="eagle")
    assert sound.outcome.verdict is Verdict.PASS
    assert "initialised by design" in {p.state for p in sound.facts.parameters if "embed_tokens" in p.kind}
    faulty = dry(draft, tensors[1:], session=engine, target=target, draft_method="eagle")
    assert [(f.code, f.place) for f in faulty.findings] == [("D001", "model.fc.weight")]
