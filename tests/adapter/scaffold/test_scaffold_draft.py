"""The draft (MTP) that `scaffold` writes beside a model."""

from __future__ import annotations

import re

import pytest
from scaffold_sources import dense, drafted, drafted_itself
from scaffolded import MODEL, calls, function, made, questions, weights

from seatrial.adapter.scaffold.run import scaffold

DRAFT = "vllm_harbour/models/harbour_mtp.py"
DECLARED = {"num_nextn_predict_layers": 1}


def test_a_declared_draft_is_written_and_takes_its_own_layer_and_the_embedding(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin, DECLARED, drafted(dense(), 2))
    assert questions(result) == []
    place = function(result.files[DRAFT], "draft_name", re=re)
    places = {name: place(name, 2) for name in drafted(dense(), 2)}
    assert {n for n, to in places.items() if to is not None} == {n for n in places if n.startswith("model.layers.2.")}
    assert places["model.layers.2.eh_proj.weight"] == "model.layers.2.eh_proj.weight"
    assert places["model.layers.2.embed_tokens.weight"] == "model.embed_tokens.weight"
    assert places["model.layers.2.mlp.up_proj.weight"] == "model.layers.2.mtp_block.mlp.up_proj.weight"
    with pytest.raises(ValueError, match="does not know"):
        place("model.layers.2.nothing_like_this.weight", 2)
    assert "int(layer[1]) >= self.config.num_hidden_layers" in result.files[MODEL]
    entry = result.files["vllm_harbour/__init__.py"]
    assert '"HarbourMTPModel"' in entry
    assert "harbour_mtp_config import install" in entry
    assert '"architectures": ["HarbourMTPModel"]' in result.files["vllm_harbour/models/harbour_mtp_config.py"]
    for call in ("ReplicatedLinear", "HarbourDecoderLayer", "ParallelLMHead", "VocabParallelEmbedding"):
        assert all("prefix" in [k.arg for k in c.keywords] for c in calls(result.files[DRAFT], call)), call


def test_the_tiny_checkpoint_has_the_draft_too(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin, {**DECLARED, "num_hidden_layers": 3}, drafted(dense(3), 3))
    tiny = result.files["tests/tiny_harbour.py"]
    assert '"model.layers.2.eh_proj.weight": (64, 128)' in tiny
    assert '"model.layers.2.self_attn.q_proj.weight": (64, 64)' in tiny
    assert "layers.3." not in tiny
    assert not [f for f in result.findings if f.code == "F003"]


def test_a_draft_without_an_embedding_takes_the_models(tmp_path, vllm, plugin):
    shapes = {n: s for n, s in drafted(dense(), 2).items() if n != "model.layers.2.embed_tokens.weight"}
    table = weights(made(tmp_path, vllm, plugin, DECLARED, shapes).files[DRAFT])
    assert table["model.embed_tokens.weight"] == "model.embed_tokens.weight"
    assert table["lm_head.weight"] is None


def test_the_entry_point_gets_the_draft_only_once(tmp_path, vllm, plugin):
    first = made(tmp_path, vllm, plugin, DECLARED, drafted(dense(), 2))
    for path, text in first.files.items():
        (plugin / path).parent.mkdir(exist_ok=True, parents=True)
        (plugin / path).write_text(text)
    again = scaffold(tmp_path / "checkpoint", vllm, plugin)
    assert {path: again.files[path] for path in again.files} == {path: first.files[path] for path in again.files}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {n: x for n, x in s.items() if not n.endswith("eh_proj.weight")}, "have no eh_proj.weight"),
        (lambda s: {n: x for n, x in s.items() if ".2." not in n}, "no weights are numbered on from layer 2"),
        (lambda s: {**s, "model.layers.3.enorm.weight": [64]}, "the weights have layers 2, 3"),
    ],
)
def test_a_draft_of_another_layout_is_not_written_and_the_reason_is_said(tmp_path, vllm, plugin, change, said):
    result = made(tmp_path, vllm, plugin, DECLARED, change(drafted(dense(), 2)))
    assert DRAFT not in result.files
    assert "HarbourMTPModel" not in result.files["vllm_harbour/__init__.py"]
    assert [said in f.message for f in result.findings if f.code == "F014"] == [True]


def test_a_draft_layer_that_is_not_as_the_models_is_a_question_in_its_file(tmp_path, vllm, plugin):
    shapes = {**drafted(dense(), 2), "model.layers.2.self_attn.q_norm.weight": [32], "model.layers.2.odd.weight": [3]}
    result = made(tmp_path, vllm, plugin, DECLARED, shapes)
    asked = questions(result)
    assert any("model.layers.*.odd.weight of the draft" in q for q in asked)
    assert any("Only the draft: model.layers.*.self_attn.q_norm.weight" in q for q in asked)
    assert len(calls(result.files[DRAFT], "undecided")) == len(asked)


@pytest.mark.parametrize("house", ["mimo", "qwen"])
def test_a_draft_with_numbers_of_its_own_takes_its_tensors_and_the_models_embedding_and_head(
    tmp_path, vllm, plugin, house
):
    shapes = drafted_itself(dense(), 2, house)
    result = made(tmp_path, vllm, plugin, DECLARED if house == "mimo" else {}, shapes)
    assert questions(result) == []
    assert not [f for f in result.findings if f.code in ("F003", "F014")]
    place = function(result.files[DRAFT], "draft_name", re=re)
    places = {name: place(name, 2) for name in shapes}
    mine = {name for name in shapes if "mtp" in name}
    assert {n for n, to in places.items() if to is not None} == mine | {"model.embed_tokens.weight", "lm_head.weight"}
    assert len(set(filter(None, places.values()))) == len(mine) + 2
    ends = ("token_layernorm", "input_proj") if house == "mimo" else ("pre_fc_norm_embedding", "fc")
    norm, projection = (next(n for n in mine if f".{end}." in n) for end in ends)
    assert places[norm] == "model.layers.2.enorm.weight"
    assert places[projection] == "model.layers.2.eh_proj.weight"
    with pytest.raises(ValueError, match="does not know"):
        place(f"{norm}.more", 2)
    assert all(weights(result.files[MODEL])[re.sub(r"\.0\.", ".*.", name)] is None for name in mine)
    text = result.files[DRAFT]
    first = "torch.cat([hidden_states, embeds]" if house == "mimo" else "torch.cat([embeds, hidden_states]"
    assert first in text
    assert ("masked_fill" in text) == (house == "mimo")
    assert "self.shared_head.norm(hidden_states + residual)" in text
    assert "self.logits_processor(self.lm_head, hidden_states)" in text
    tiny = result.files["tests/tiny_harbour.py"]
    assert f'"{projection}": (64, 128)' in tiny


def test_a_layout_that_is_known_with_a_tensor_that_is_not_is_a_question(tmp_path, vllm, plugin):
    shapes = drafted_itself(dense(), 2, "qwen") | {"mtp.layers.0.odd.weight": [3]}
    asked = questions(made(tmp_path, vllm, plugin, {}, shapes))
    assert [q for q in asked if "mtp.layers.*.odd.weight of the draft" in q]


@pytest.mark.parametrize(
    ("change", "config", "said"),
    [
        (lambda s: {n: x for n, x in s.items() if n != "mtp.fc.weight"}, {}, "have no mtp.fc.weight"),
        (lambda s: s, {"mtp_num_hidden_layers": 2}, "say 2 layers, and the weights have layers 0"),
        (lambda s: {n.replace("mtp.", "mtp.deep."): x for n, x in s.items()}, {}, "none of the known layouts"),
    ],
)
def test_own_numbers_that_do_not_fit_are_said(tmp_path, vllm, plugin, change, config, said):
    result = made(tmp_path, vllm, plugin, config, change(drafted_itself(dense(), 2, "qwen")))
    assert DRAFT not in result.files
    assert [said in f.message for f in result.findings if f.code == "F014"] == [True], result.findings


def test_a_draft_that_the_config_switches_off_is_none(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin, {"mtp_num_hidden_layers": 0}, drafted_itself(dense(), 2, "qwen"))
    assert DRAFT not in result.files
    assert not [f for f in result.findings if f.code == "F014"]


def test_one_draft_layer_is_compiled_and_several_are_not(tmp_path, vllm, plugin):
    one = made(tmp_path, vllm, plugin, DECLARED, drafted(dense(), 2)).files[DRAFT]
    assert "@support_torch_compile\nclass HarbourMTPModel(nn.Module):" in one
    second = {n.replace(".2.", ".3."): s for n, s in drafted(dense(), 2).items() if ".2." in n}
    two = made(tmp_path / "two", vllm, plugin, {"num_nextn_predict_layers": 2}, drafted(dense(), 2) | second)
    assert "@support_torch_compile" not in two.files[DRAFT]
    assert questions(two) == []


def test_several_layers_that_share_their_norms_and_projection_are_written_with_one_of_each(tmp_path, vllm, plugin):
    shapes = drafted_itself(dense(), 2, "qwen")
    second = {n.replace("mtp.layers.0.", "mtp.layers.1."): s for n, s in shapes.items() if "mtp.layers.0." in n}
    result = made(tmp_path, vllm, plugin, {"mtp_num_hidden_layers": 2}, shapes | second)
    assert questions(result) == []
    assert not [f for f in result.findings if f.code in ("F003", "F014")]
    text = result.files[DRAFT]
    place = function(text, "draft_name", re=re)
    assert place("mtp.layers.1.mlp.up_proj.weight", 2) == "model.layers.3.mtp_block.mlp.up_proj.weight"
    assert place("mtp.fc.weight", 2) == "model.layers.2.eh_proj.weight"
    places = [place(name, 2) for name in shapes | second if "mtp" in name]
    assert len(places) == len(set(places))
    assert "layer.eh_proj, layer.shared_head = first.eh_proj, first.shared_head" in text
    assert "first.eh_proj" not in made(tmp_path / "one", vllm, plugin, {}, shapes).files[DRAFT]


def test_several_layers_with_all_of_their_own_share_nothing(tmp_path, vllm, plugin):
    shapes = drafted_itself(dense(), 2, "mimo")
    second = {n.replace("mtp_layers.0.", "mtp_layers.1."): s for n, s in shapes.items() if "mtp_layers.0." in n}
    text = made(tmp_path, vllm, plugin, {"num_nextn_predict_layers": 2}, shapes | second).files[DRAFT]
    place = function(text, "draft_name", re=re)
    assert place("model.mtp_layers.1.input_proj.weight", 2) == "model.layers.3.eh_proj.weight"
    assert "first.eh_proj" not in text


def test_a_tied_head_is_the_drafts_too(tmp_path, vllm, plugin):
    shapes = {n: s for n, s in drafted_itself(dense(), 2, "mimo").items() if n != "lm_head.weight"}
    text = made(tmp_path, vllm, plugin, DECLARED | {"tie_word_embeddings": True}, shapes).files[DRAFT]
    assert "lm_head.weight" not in weights(text)
    assert "self.lm_head.tie_weights(self.model.embed_tokens)" in text
