"""The feature matrix with the stand-in: each status has its evidence, a failing feature leaves the others alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.shards import write_shard

from seatrial.checkpoint import read_checkpoint
from seatrial.core.errors import UsageError
from seatrial.core.record import replace
from seatrial.core.verdict import Verdict
from seatrial.gates.agree import greedy
from seatrial.gates.exchange import Exchange
from seatrial.gates.features import features
from seatrial.gates.features.base import Model, Situation
from seatrial.gates.liveness import living
from seatrial.gates.matrix import matrix
from seatrial.gates.quality import look, read_answer

DENSE = {"model_type": "qwen3", "num_attention_heads": 4, "num_hidden_layers": 2}
MOE = {**DENSE, "model_type": "qwen3_moe", "num_experts": 8}
SHARD = {
    f"{base}.{layer}.self_attn.{kind}.weight": ("BF16", [height, 16])
    for base in ("model.layers", "vision_tower.layers")
    for layer in range(3)
    for kind, height in (("q_proj", 16), ("v_proj", 4))
}
QUANTISED = ("--quantization", "fp8")
SPEECH = '"[EP Rank %s/%s] Expert parallelism is enabled. Expert "'


@pytest.fixture
def run(stand_in_target, engine_home, checkpoint, tmp_path, alive, monkeypatch):
    import os

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})

    def go(fault: str, only: tuple[str, ...], config=DENSE, source: str | None = SPEECH, **more):
        (checkpoint / "config.json").write_text(json.dumps(config))
        write_shard(checkpoint / "model.safetensors", SHARD)
        if source is not None:
            package = engine_home.parent.parent / "lib" / "python3.11" / "site-packages" / "vllm"
            package.mkdir(parents=True, exist_ok=True)
            (package / "experts.py").write_text(source)
        result = matrix(
            checkpoint,
            stand_in_target(fault),
            python=engine_home,
            stage="real",
            scratch=tmp_path / "scratch",
            only=only,
            **more,
        )
        assert alive() == []
        return result, {row.name: row for row in result.facts.rows}

    return go


def test_features_that_need_no_switch_share_one_start(run):
    result, rows = run("", ("streaming", "prefix-cache", "structured-output"))
    assert {name: row.status for name, row in rows.items()} == dict.fromkeys(rows, "supported")
    assert list(result.facts.starts) == ["base"]
    assert "rose by" in rows["prefix-cache"].proofs[0].says
    assert result.outcome.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("fault", "name", "words"),
    [
        ("no-stream", "streaming", "not [DONE]"),
        ("no-hits", "prefix-cache", "stayed at"),
        ("deaf-to-schema", "structured-output", "not of the schema"),
        ("deaf-to-adapter", "lora", "the adapter changes nothing"),
    ],
)
def test_an_answer_that_shows_the_contrary_is_unsupported(run, fault, name, words):
    _, rows = run(fault, (name, "streaming"))
    assert rows[name].status == "unsupported", rows[name]
    assert words in rows[name].reason


def test_the_prompt_of_the_prefix_cache_is_longer_than_the_blocks_the_server_names(run):
    _, rows = run("long-blocks=640", ("prefix-cache",))
    assert rows["prefix-cache"].status == "supported"
    _, rows = run("long-blocks=640,no-hits", ("prefix-cache",))
    assert "8 equal prompts of 1296 tokens" in rows["prefix-cache"].reason
    _, rows = run("long-blocks=640", ("prefix-cache",), max_model_len=512)
    assert rows["prefix-cache"].status == "inconclusive"
    assert "blocks are of 640 tokens and the longest prompt of 496" in rows["prefix-cache"].reason


def test_a_prefix_cache_that_the_server_says_is_off_is_not_unsupported(run):
    _, rows = run("cache-off,no-hits", ("prefix-cache",))
    assert rows["prefix-cache"].status == "inconclusive"
    assert "enable-prefix-caching in serve.args" in rows["prefix-cache"].reason


def test_an_adapter_is_made_for_the_checkpoints_own_projections(run, tmp_path):
    result, rows = run("", ("lora",))
    assert rows["lora"].status == "supported"
    folder = tmp_path / "scratch" / "made" / "lora-adapter"
    assert f"seatrial-lora={folder}" in result.facts.starts["lora"].command.argv
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["r"], config["target_modules"]) == (8, ["q_proj", "v_proj"])
    made = {t.name: (t.dtype, t.shape) for t in read_checkpoint(folder).tensors}
    assert made["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"] == ("F32", (8, 16))
    assert made["base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"] == ("F32", (4, 8))
    assert not any("layers.2." in name or "vision" in name for name in made)


def test_replicas_are_supported_when_both_have_answered(run):
    _, rows = run("", ("data-parallel",))
    assert rows["data-parallel"].status == "supported"
    assert "engine 0: 4, engine 1: 4" in rows["data-parallel"].proofs[0].says
    _, rows = run("idle-replica", ("data-parallel",))
    assert rows["data-parallel"].status == "inconclusive"


def test_an_answer_cut_off_in_white_space_is_asked_for_once_more(run):
    _, rows = run("endless", ("structured-output",))
    assert rows["structured-output"].status == "supported"


def test_a_switch_that_kills_the_server_is_unsupported_and_the_base_run_goes_on(run):
    result, rows = run("crash-with=--enable-expert-parallel", ("expert-parallel", "streaming"), MOE)
    assert rows["expert-parallel"].status == "unsupported"
    assert "false-ready" in rows["expert-parallel"].reason
    assert rows["streaming"].status == "supported"
    assert result.outcome.verdict is Verdict.PASS
    assert result.facts.starts["expert-parallel"].tp == 2


def test_a_request_that_kills_the_server_leaves_the_other_features_their_starts(run):
    result, rows = run("crash-stream", ("streaming", "structured-output", "expert-parallel"), MOE)
    assert {name: row.status for name, row in rows.items()} == {
        "expert-parallel": "supported",
        "streaming": "unsupported",
        "structured-output": "supported",
    }
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "a request of a feature ends the server" in result.outcome.reason
    required, _ = run("crash-stream", ("streaming", "structured-output"), required=("streaming",))
    assert required.outcome.verdict is Verdict.FAIL


def test_a_request_that_kills_the_engine_behind_the_server_leaves_the_others_their_starts(run):
    result, rows = run("sick-stream", ("prefix-cache", "streaming", "structured-output"))
    assert {name: row.status for name, row in rows.items()} == {
        "prefix-cache": "supported",
        "streaming": "unsupported",
        "structured-output": "supported",
    }
    assert list(result.facts.starts) == ["base", "base-2"]


def test_a_feature_is_not_blamed_for_what_the_gates_own_requests_show(run):
    result, rows = run("nan", ("streaming", "expert-parallel"), MOE)
    assert {row.status for row in rows.values()} == {"inconclusive"}
    assert "log-probabilities are not numbers" in rows["streaming"].reason
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert result.outcome.reason.startswith("the base run's own gate fails: ")


def test_a_replica_with_a_cache_of_its_own_is_asked_until_one_hits(run):
    _, rows = run("late-hits=5", ("prefix-cache",))
    assert rows["prefix-cache"].status == "supported"


def test_a_line_after_a_real_request_is_the_evidence(run):
    _, rows = run("", ("expert-parallel",), MOE)
    assert rows["expert-parallel"].status == "supported"
    assert "EP Rank 0/2" in rows["expert-parallel"].proofs[0].says


def test_an_engine_that_no_longer_has_the_words_is_inconclusive(run):
    _, rows = run("", ("tensor-parallel",), source="nothing of the kind")
    assert rows["tensor-parallel"].status == "inconclusive"
    assert rows["tensor-parallel"].silent == ("rank %s in world size %s is assigned as ",)


def test_an_engine_that_has_the_words_and_never_says_them_is_unsupported(run):
    _, rows = run("", ("tensor-parallel",), source='"rank %s in world size %s is assigned as "')
    assert rows["tensor-parallel"].status == "unsupported"


def test_a_dead_base_run_leaves_features_not_attempted(run):
    result, rows = run("crash-on-request", ("streaming", "expert-parallel"), MOE)
    assert {row.status for row in rows.values()} == {"not-attempted"}
    assert result.outcome.verdict is Verdict.INCONCLUSIVE


def test_a_required_feature_that_is_not_supported_fails(run):
    result, _ = run("", ("streaming",), DENSE, required=("expert-parallel",))
    assert result.outcome.verdict is Verdict.FAIL
    assert "expert-parallel is not-applicable" in result.outcome.reason


def test_an_unknown_feature_is_refused_with_the_known_ones(run):
    with pytest.raises(UsageError, match="unknown feature 'warp-drive'"):
        run("", ("warp-drive",))


HERE = Situation(
    platform="ascend", vllm_version="", plugin_version="0.20.2", tp=1, max_model_len=None, devices=8, eager=False
)


@pytest.mark.parametrize(
    ("name", "config", "field"),
    [
        ("expert-parallel", DENSE, "expert"),
        ("flashcomm1", DENSE, "expert"),
        ("mtp", DENSE, "num_nextn_predict_layers"),
        ("mtp", {**DENSE, "num_nextn_predict_layers": 0}, "num_nextn_predict_layers is 0"),
        ("multimodal", DENSE, "vision_config"),
        ("quantisation", DENSE, "no quantization_config, and no quant_model_description.json"),
        ("pipeline-parallel", {**DENSE, "num_hidden_layers": 1}, "num_hidden_layers is 1"),
    ],
)
def test_what_does_not_apply_names_the_field(name, config, field):
    reason = features().get(name).not_applicable(Model(config=config, tensors=frozenset()), HERE)
    assert field in reason


def test_flashcomm_hangs_on_the_plugins_version_and_its_source_goes_before(tmp_path):
    model = Model(config=MOE, tensors=frozenset())
    feature = features().get("flashcomm1")
    assert feature.not_applicable(model, HERE) == ""
    assert feature.switch(model, HERE).merged == {"additional-config": {"enable_flashcomm1": True}}
    assert feature.switch(model, HERE).env == {}
    older = replace(HERE, plugin_version="0.18.0")
    assert feature.not_applicable(model, older) == ""
    assert feature.switch(model, older).env == {"VLLM_ASCEND_ENABLE_FLASHCOMM1": "1"}
    assert feature.switch(model, older).merged == {}
    assert "has none" in feature.not_applicable(model, replace(HERE, plugin_version="0.10.2rc1"))
    # A build of the main branch counts from an old tag; its source tells.
    (tmp_path / "config.py").write_text("x = 1")
    built = replace(HERE, plugin_version="0.19.1rc2.dev1637+g182b75ea8")
    assert feature.not_applicable(model, built) == ""
    assert str(tmp_path) in feature.not_applicable(model, replace(built, plugin_source=str(tmp_path)))


def test_declared_and_absent_mtp_is_missing_from_the_checkpoint():
    config = {**DENSE, "num_nextn_predict_layers": 1, "num_hidden_layers": 61}
    absent = Model(config=config, tensors=frozenset({"model.layers.60.mlp.up_proj.weight"}))
    present = Model(config=config, tensors=frozenset({"model.layers.61.eh_proj.weight"}))
    assert "num_nextn_predict_layers = 1" in features().get("mtp").missing(absent)
    assert features().get("mtp").missing(present) == ""


def test_of_files_whose_tensors_nobody_can_name_nothing_is_said_to_be_missing():
    unread = Model(config={**DENSE, "num_nextn_predict_layers": 1}, tensors=frozenset())
    assert features().get("mtp").missing(unread) == ""
    assert "could be read" in features().get("lora").not_attempted(unread, HERE)


def test_a_number_of_layers_that_is_none_is_no_pattern():
    config = {**DENSE, "num_nextn_predict_layers": 1, "num_hidden_layers": "(x+x+)+y["}
    model = Model(config=config, tensors=frozenset({"model.layers." + "x" * 40 + ".a"}))
    assert "no tensor of the checkpoint" in features().get("mtp").missing(model)


def test_every_feature_has_a_name_a_title_and_patterns_that_compile():
    import re

    for name in features():
        feature = features().get(name)
        assert feature.title
        for line in (*feature.positive, *feature.negative):
            re.compile(line.pattern)
            assert len(line.source) > 8


def test_modelslims_own_description_makes_quantisation_apply(tmp_path):
    feature, here = features().get("quantisation"), replace(HERE, checkpoint=str(tmp_path))
    assert feature.not_applicable(Model(config=DENSE, tensors=frozenset()), here)
    for name in ("quant_model_description.json", "hf_quant_config.json"):
        (tmp_path / name).write_text("{}")
        assert feature.not_applicable(Model(config=DENSE, tensors=frozenset()), here) == ""
        (tmp_path / name).unlink()
    # Compressed tensors of early days name groups and no method.
    groups = {**DENSE, "quantization_config": {"config_groups": {}}}
    assert feature.not_applicable(Model(config=groups, tensors=frozenset()), here) == ""


def test_a_method_that_was_given_is_neither_found_nor_missed(run):
    _, rows = run(
        "", ("quantisation",), {**DENSE, "quantization_config": {"quant_method": "fp8"}}, extra_args=QUANTISED
    )
    assert rows["quantisation"].status == "inconclusive"
    assert "--quantization was given" in rows["quantisation"].reason


class Answering:
    """A server that gives every request the same answer."""

    model = "m"

    def __init__(self, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.reply = Exchange(method="POST", path="/", how="answered", duration_s=0.1, status=200, body=data)

    def post(self, path, body):
        return self.reply


CALL = {"function": {"arguments": '{"side": "port"}'}}


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("streaming", b'data: {"choices":[{"tex\n\ndata: [DONE]\n', "not those of a completion"),
        ("streaming", b'data: {"choices":[{"delta":{}}]}\n\ndata: [DONE]\n', "not those of a completion"),
        ("streaming", b'data: {"choices":[{"text":"a"}]}\ndata: {"error":{"message":"boom"}}\ndata: [DONE]\n', "boom"),
        ("logprobs", {"choices": [{"logprobs": {"top_logprobs": [{"a": 1000.0}]}}]}, "logarithms of probabilities"),
        ("tool-calls", {"choices": [{"finish_reason": "stop", "message": {"tool_calls": [CALL]}}]}, "no call"),
        (
            "structured-output",
            {"choices": [{"finish_reason": "stop", "message": {"content": "[" * 100_000}}]},
            "not of the schema",
        ),
    ],
)
def test_an_answer_of_another_shape_is_unsupported_and_no_fault_of_ours(name, body, words):
    assert words in features().get(name).ask(Answering(body), HERE).against


def test_a_text_in_one_piece_and_an_empty_end_do_not_show_streaming():
    events = b'data: {"choices": [{"text": "all of it"}]}\n\ndata: {"choices": [{"text": ""}]}\n\ndata: [DONE]\n'
    asked = features().get("streaming").ask(Answering(events), HERE)
    assert (asked.proofs, asked.against) == ((), "")
    assert "of 2 events 1 had text" in asked.unsure


def test_an_adapter_whose_answers_are_not_numbers_changes_nothing_to_speak_of():
    body = b'{"choices": [{"logprobs": {"tokens": ["a"], "token_logprobs": [NaN]}}]}'
    assert "not numbers" in features().get("lora").ask(Answering(body), HERE).against


def test_a_counter_that_is_gone_behind_the_prompts_is_unknown():
    class Silent(Answering):
        numbers = iter((3.0, None))

        def number(self, counter):
            return next(self.numbers)

        def labels(self, metric):
            return {}

    asked = features().get("prefix-cache").ask(Silent({}), HERE)
    assert (asked.against, bool(asked.unsure)) == ("", True)


ATOMS = st.sampled_from([None, True, 0, -1, 1.5, float("nan"), 10**400, "", "a", "length", '{"side": "port"}', "["])
KEYS = st.sampled_from(["message", "content", "text", "logprobs", "tokens", "token_logprobs", "tool_calls", "function"])
ANYTHING = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
LOGPROBS = st.fixed_dictionaries({}, optional=dict.fromkeys(["tokens", "token_logprobs", "top_logprobs"], ANYTHING))
CHOICE = st.fixed_dictionaries({}, optional={"text": ANYTHING, "message": ANYTHING, "logprobs": LOGPROBS | ANYTHING})
ANSWERS = st.fixed_dictionaries({}, optional={"choices": st.lists(CHOICE, max_size=2) | ANYTHING, "usage": ANYTHING})


@settings(max_examples=200)
@given(ANSWERS | ANYTHING, st.sampled_from([None, 0.0, 2.0, float("nan")]), st.sampled_from(["16", "²", "", "x"]))
def test_whatever_a_server_answers_is_no_fault_of_ours(body, count, block):
    class Odd(Answering):
        def once(self, method, path, body):
            return self.reply

        def get(self, path):
            return self.reply

        def number(self, counter):
            return count

        def labels(self, metric):
            return {"block_size": block}

    known = features()
    for name in known:
        assert known.get(name).ask(Odd(body), HERE) is not None
    greedy(Odd(body), at_once=1, lengths=(12,))
    answer = read_answer(Odd(body).reply.json())
    if answer is not None:
        look(answer, "real", "text request", asked=True)


@pytest.mark.parametrize("place", ["lora", "greedy", "look"])
def test_a_whole_number_beyond_any_float_is_no_log_probability(place):
    body = {"choices": [{"logprobs": {"tokens": ["a"], "token_logprobs": [10**400], "top_logprobs": [{}]}}]}
    if place == "lora":
        assert "no log-probabilities" in features().get("lora").ask(Answering(body), HERE).against
    elif place == "greedy":
        client = Answering(body)
        client.once = lambda *_: client.reply
        assert "no log-probabilities" in greedy(client, at_once=1, lengths=(12,))[0].trouble
    else:
        assert read_answer(body).logprobs == (None,)


def test_spaces_between_the_words_of_an_event_change_nothing():
    events = b'data: {"choices": [{"text": "a"}]}\n\ndata: {"choices": [{"text": "b"}]}\n\ndata: [DONE]\n'
    assert features().get("streaming").ask(Answering(events), HERE).proofs


def test_liveness_of_nothing_to_look_at_is_unknown(tmp_path):
    assert living({"words"}, []) == {}
    (tmp_path / "a.py").write_text("some words here")
    assert living({"words", "others"}, [tmp_path]) == {"words": True, "others": False}


def test_flashcomm_is_decided_by_its_line_only_where_there_are_shared_experts():
    feature = features().get("flashcomm1")
    assert feature.absence(Model(config={**MOE, "n_shared_experts": 1}, tensors=frozenset())) == "unsupported"
    assert feature.absence(Model(config=MOE, tensors=frozenset())) == "inconclusive"


@pytest.mark.parametrize(
    ("said", "config", "status"),
    [
        ("[fused_moe/layer] Sequence parallelism is enabled, shared experts are replicated for best", {}, "supported"),
        ("nothing of the kind", {"n_shared_experts": 1}, "unsupported"),
        ("nothing of the kind", {}, "inconclusive"),
    ],
)
def test_flashcomm_by_what_the_plugin_says(run, monkeypatch, said, config, status):
    from seatrial.gates import matrix as module

    words = '"[fused_moe/layer] Sequence parallelism is enabled, shared experts are replicated for best performance."'
    on_ascend = replace(HERE, plugin_version="0.23.0")
    plain = module._Matrix.__init__

    def init(self, *given):
        plain(self, *given)
        self.situation = on_ascend

    monkeypatch.setattr(module._Matrix, "__init__", init)
    _, rows = run(f"say={said.replace(',', ';')}", ("flashcomm1",), {**MOE, **config}, source=words)
    assert rows["flashcomm1"].status == status


def test_flashcomms_successor_takes_over_where_the_plugin_dropped_it(tmp_path):
    feature, model = features().get("sequence-parallel-moe"), Model(config=MOE, tensors=frozenset())
    newer = replace(HERE, plugin_version="0.28.0", vllm_version="0.28.0", tp=8)
    assert "FlashComm1 in its place" in feature.not_applicable(model, HERE)
    assert feature.not_applicable(model, newer) == feature.not_attempted(model, newer) == ""
    switch = feature.switch(model, newer)
    assert switch.tp == 4
    assert switch.merged == {"additional-config": {"enable_flashcomm1": True}}
    assert "additional-config" not in switch.drop
    (tmp_path / "config.py").write_text(
        "if 'enable_flashcomm1' in config or getenv('VLLM_ASCEND_ENABLE_FLASHCOMM1'):\n    logger.warning('gone')\n"
    )
    assert feature.switch(model, replace(newer, plugin_source=str(tmp_path))).merged == {}
    assert feature.switch(model, replace(newer, platform="cuda")).merged == {}
    assert "expert" in feature.not_applicable(Model(config=DENSE, tensors=frozenset()), newer)
    assert "4 devices" in feature.not_attempted(model, replace(newer, devices=2))
    assert "all2all" in feature.not_attempted(model, replace(newer, vllm_version="0.11.0"))


def test_a_key_is_laid_over_the_targets_additional_config_not_put_in_its_place(run, monkeypatch):
    from seatrial.gates import matrix as module

    plain = module._Matrix.__init__

    def init(self, checkpoint, target, *given):
        args = {**target.serve.args, "additional-config": '{"weight_nz_mode": 1, "enable_flashcomm1": false}'}
        plain(self, checkpoint, replace(target, serve=replace(target.serve, args=args)), *given)
        self.situation = replace(HERE, plugin_version="0.23.0")

    monkeypatch.setattr(module._Matrix, "__init__", init)
    result, rows = run("", ("flashcomm1",), MOE)
    argv = result.facts.starts["flashcomm1"].command.argv
    assert argv.count("--additional-config") == 1
    given = json.loads(argv[argv.index("--additional-config") + 1])
    assert given == {"weight_nz_mode": 1, "enable_flashcomm1": True}
    assert "--additional-config" in result.facts.starts["base"].command.argv
    assert rows["flashcomm1"].start == "flashcomm1"


def test_an_additional_config_that_is_none_leaves_the_feature_untried_and_the_others_alone(run, monkeypatch):
    from seatrial.gates import matrix as module

    plain = module._Matrix.__init__

    def init(self, *given):
        plain(self, *given)
        self.situation, self.extra_args = replace(HERE, plugin_version="0.23.0"), ("--additional-config=[1]",)

    monkeypatch.setattr(module._Matrix, "__init__", init)
    _, rows = run("", ("flashcomm1", "streaming"), MOE)
    assert (rows["flashcomm1"].status, rows["streaming"].status) == ("not-attempted", "supported")
    assert "no JSON object: '[1]'" in rows["flashcomm1"].reason
