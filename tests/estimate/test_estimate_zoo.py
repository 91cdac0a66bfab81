"""The plan beside vLLM 0.32.0's own answers for the dry-run zoo (data/engine_zoo.jsonl): caches, tokens, weights.

One line per architecture that transformers configures by default and the engine builds, four layers each; written by
`bench/plan_engine.py --keep` on a processor with avx512_bf16 and without AMX.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.estimate.test_estimate_engine_figures import RULES

from seatrial.estimate import Layout, Serving, read_model
from seatrial.estimate.compared import IN_REAL_CONFIGS, IN_ZOO
from seatrial.estimate.kv_groups import capacity, pool
from seatrial.estimate.kv_layers import kv_cache
from seatrial.estimate.model import Lacking, NotModelled
from seatrial.estimate.weights import weight_bytes

DATA = Path(__file__).parent / "data"
LINES = (DATA / "engine_zoo.jsonl").read_text().splitlines()
KEPT = {row["name"]: row for row in map(json.loads, LINES)}
# Architectures of which a part has no formula: a tower, a head, a form of its own. The plan says which.
WITHOUT_WEIGHTS_NAMES = """
    AriaForConditionalGeneration AudioFlamingo3ForConditionalGeneration
    Blip2ForConditionalGeneration CLIPModel
    Cohere2VisionForConditionalGeneration ColPaliForRetrieval Cosmos3EdgeForConditionalGeneration
    DeepseekV4ForCausalLM
    EmbeddingGemma2Model Exaone4_5_ForConditionalGeneration
    Glm4vForConditionalGeneration GlmAsrForConditionalGeneration
    GlmOcrForConditionalGeneration GraniteSpeechForConditionalGeneration
    GraniteSpeechPlusForConditionalGeneration HYV4ForCausalLM HrmTextForCausalLM InklingForConditionalGeneration
    InternVLForConditionalGeneration Llama4ForConditionalGeneration

    LlavaOnevisionForConditionalGeneration MiniCPMV4_6ForConditionalGeneration
    MiniCPMV4_7ForConditionalGeneration Mistral3ForConditionalGeneration ModernBertForSequenceClassification
    ModernBertForTokenClassification ModernBertModel MuseGlimmerForConditionalGeneration
    OpenAIPrivacyFilterForTokenClassification PaddleOCRVLForConditionalGeneration
    Qwen2AudioForConditionalGeneration Qwen2VLForConditionalGeneration
    Qwen2_5OmniForConditionalGeneration Qwen2_5_VLForConditionalGeneration Qwen3ASRForConditionalGeneration
    SiglipModel
    Zamba2ForCausalLM
"""
WITHOUT_WEIGHTS = set(WITHOUT_WEIGHTS_NAMES.split())


def read(name, folder):
    (folder / "config.json").write_text(json.dumps(KEPT[name]["config"]))
    return read_model(folder)


@pytest.mark.parametrize("name", sorted(KEPT))
def test_every_layers_cache_and_all_capacities_are_the_engines(name, tmp_path):
    model = read(name, tmp_path)
    for tp, theirs in KEPT[name]["tp"].items():
        serving = Serving(
            max_model_len=theirs["length"], max_num_batched_tokens=theirs["batch"], prefix_caching=theirs["prefix"]
        )
        cache = kv_cache(model, Layout(tp=int(tp)), serving, RULES)
        assert Counter(f"{s.block} {s.page} {s.window or s.chunk or 0}" for s in cache.specs) == theirs["specs"]
        made = pool(cache, serving, RULES)
        for memory, blocks, tokens in theirs["capacity"]:
            held = capacity(made, memory, theirs["length"], theirs["batch"], cache, serving)
            if blocks is None:
                assert not held.fits
            else:
                assert (held.blocks, held.tokens, held.fits) == (blocks, tokens, True)


@pytest.mark.parametrize("name", sorted(KEPT))
def test_the_weights_are_the_engines_or_named_as_unknown(name, tmp_path):
    model = read(name, tmp_path)
    for tp, theirs in KEPT[name]["tp"].items():
        if name in WITHOUT_WEIGHTS:
            with pytest.raises((Lacking, NotModelled), match=r"tower|head of|the weights of|is mixed"):
                weight_bytes(model, Layout(tp=int(tp)))
            continue
        found = weight_bytes(model, Layout(tp=int(tp)))
        assert found.stages[0].total() == theirs["weights"]
        assert model.kind() in IN_ZOO
        assert not any("never compared" in n for n in found.notes)


def test_the_list_of_compared_families_is_what_was_compared(tmp_path, shared_data):
    def equal(files, sizes):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        model = read_model(folder)
        try:
            same = all(weight_bytes(model, Layout(tp=int(t))).stages[0].total() == w for t, w in sizes.items())
        except (Lacking, NotModelled):
            return set()
        return {model.kind()} if same else set()

    zoo = set()
    for row in KEPT.values():
        zoo |= equal({"config.json": json.dumps(row["config"])}, {t: x["weights"] for t, x in row["tp"].items()})
    assert zoo == IN_ZOO
    real = set()
    for name, theirs in json.loads((DATA / "engine_weights.json").read_text()).items():
        source = Path(shared_data) / "configs"
        files = {n: source / f"{name}_{n}" for n in ("config.json", "hf_quant_config.json")}
        real |= equal({n: p.read_text() for n, p in files.items() if p.is_file()}, theirs["weights"])
    assert real >= IN_REAL_CONFIGS


def test_a_family_that_was_never_compared_gets_a_note_with_the_exact_ways(tmp_path):
    config = {**KEPT["ArceeForCausalLM"]["config"], "model_type": "nobody_read_this"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (told,) = weight_bytes(read_model(tmp_path), Layout()).notes
    assert "never compared" in told
    assert "--ask-engine" in told
    assert "--dry" in told


def test_the_kept_answers_are_of_the_whole_zoo():
    assert len(KEPT) >= 128
    assert sum(not tp["specs"] for row in KEPT.values() for tp in row["tp"].values()) == 32
