"""`scaffold`: what is known is written, what is not known is marked and raises, nothing is passed over."""

from __future__ import annotations

import ast
import importlib.util
import json
import re

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from quantised import write_quantised
from scaffold_sources import CONFIG, MOE, checkpoint, dense, sparse
from scaffolded import EVIL, MODEL, calls, function, made, questions, weights

from seatrial.adapter.scaffold.facts import decoder_facts
from seatrial.adapter.scaffold.plugin import plugin_files
from seatrial.adapter.scaffold.run import scaffold
from seatrial.adapter.scaffold.undecided import class_prefix, module_name
from seatrial.checkpoint import read_checkpoint
from seatrial.checkpoint.weights import Tensor
from seatrial.cli.scaffold import command
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.support.registry_read import read_registry


def test_a_plain_decoder_leaves_nothing_open(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin)
    assert (result.plan.kind, questions(result)) == ("template", [])
    text = result.files[MODEL]
    assert weights(text)["model.layers.*.mlp.up_proj.weight"] == "model.layers.*.mlp.up_proj.weight"
    assert len(weights(text)) == len({n.replace(".1.", ".0.") for n in dense()})
    assert "undecided" not in text
    assert "class HarbourForCausalLM(nn.Module, SupportsLoRA, SupportsPP)" in text
    assert "@support_torch_compile" in text


def test_every_submodule_gets_a_prefix(tmp_path, vllm, plugin):
    for config, shapes in (({}, dense()), (MOE, sparse())):
        folder = tmp_path / (config.get("architectures") or ["d"])[0]
        text = next(iter(made(folder, vllm, plugin, config, shapes).files.values()))
        for name in (
            "QKVParallelLinear",
            "RowParallelLinear",
            "Attention",
            "VocabParallelEmbedding",
            "ParallelLMHead",
            "FusedMoEFactory",
        ):
            for call in calls(text, name):
                assert any(k.arg == "prefix" for k in call.keywords), ast.unparse(call)


def test_names_of_another_house_are_mapped(tmp_path, vllm, plugin):
    other = {
        "self_attn.q_proj": "attention.wq",
        "self_attn.k_proj": "attention.wk",
        "self_attn.v_proj": "attention.wv",
        "self_attn.o_proj": "attention.wo",
        "mlp.gate_proj": "feed_forward.w1",
        "mlp.up_proj": "feed_forward.w3",
        "mlp.down_proj": "feed_forward.w2",
        "input_layernorm": "attention_norm",
        "post_attention_layernorm": "ffn_norm",
        "model.layers": "layers",
        "model.embed_tokens": "tok_embeddings",
        "lm_head": "output",
        "model.norm": "norm",
    }
    renamed = {}
    for name, shape in dense().items():
        for old, new in other.items():
            name = name.replace(old, new)  # noqa: PLW2901
        renamed[name] = shape
    result = made(tmp_path, vllm, plugin, shapes=renamed)
    assert questions(result) == []
    table = weights(result.files[MODEL])
    assert table["layers.*.feed_forward.w3.weight"] == "model.layers.*.mlp.up_proj.weight"
    assert table["output.weight"] == "lm_head.weight"


def test_an_unknown_tensor_is_a_question_with_its_evidence_and_has_no_place(tmp_path, vllm, plugin):
    shapes = {**dense(), "model.layers.0.self_attn.sink_gate.weight": [4, 64]}
    result = made(tmp_path, vllm, plugin, shapes=shapes)
    asked = questions(result)
    assert len(asked) == 1
    assert "sink_gate" in asked[0]
    assert "[4, 64]" in asked[0]
    text = result.files[MODEL]
    assert not any("sink_gate" in key for key in weights(text))
    assert len(calls(text, "undecided")) == 1


@pytest.mark.parametrize(
    ("config", "asked"),
    [
        ({"residual_multiplier": 0.22}, "residual_multiplier = 0.22"),
        ({"hidden_act": "gelu"}, "The activation is 'gelu'"),
        ({"sliding_window": 1024}, "Which layers attend within a window"),
        ({"n_group": 8}, "n_group = 8"),
        ({"rms_norm_eps": None}, "config.json has no rms_norm_eps"),
    ],
)
def test_a_field_that_changes_the_numbers_and_is_not_read_is_a_question(tmp_path, vllm, plugin, config, asked):
    result = made(tmp_path, vllm, plugin, config)
    assert any(asked in q for q in questions(result))
    assert calls(result.files[MODEL], "undecided")


def test_a_field_that_is_off_is_listed_and_no_question(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin, {"use_strange_gate": False, "other_scale": None})
    assert questions(result) == []
    assert "other_scale, " in result.files[MODEL]
    assert "use_strange_gate" in result.files[MODEL]


def test_a_norm_over_all_heads_is_a_question(tmp_path, vllm, plugin):
    shapes = dense()
    for n in range(2):
        shapes[f"model.layers.{n}.self_attn.q_norm.weight"] = [128]
        shapes[f"model.layers.{n}.self_attn.k_norm.weight"] = [64]
    assert any("Over what does q_norm" in q for q in questions(made(tmp_path, vllm, plugin, shapes=shapes)))


def test_experts_are_written_with_what_the_config_says_of_the_router(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin, {**MOE, "scoring_func": "sigmoid", "routed_scaling_factor": 2.5}, sparse())
    text = result.files["vllm_harbour/models/harbour_moe.py"]
    assert questions(result) == []
    call = calls(text, "FusedMoEFactory")[0]
    given = {k.arg: ast.unparse(k.value) for k in call.keywords}
    assert given["renormalize"] == "config.norm_topk_prob"
    assert given["scoring_func"] == "config.scoring_func"
    assert given["routed_scaling_factor"] == "config.routed_scaling_factor"


def test_a_router_without_norm_topk_prob_is_a_question_in_its_place(tmp_path, vllm, plugin):
    config = {k: v for k, v in {**CONFIG, **MOE}.items() if k != "norm_topk_prob"}
    folder = checkpoint(tmp_path / "c", config, sparse())
    result = scaffold(folder, vllm, plugin)
    assert [q for q in questions(result) if "normalised" in q]
    text = result.files["vllm_harbour/models/harbour_moe.py"]
    given = {k.arg: k.value for k in calls(text, "FusedMoEFactory")[0].keywords}
    assert ast.unparse(given["renormalize"].func) == "undecided"


@pytest.mark.parametrize(
    ("config", "test"),
    [
        ({"first_k_dense_replace": 1}, "index < config.first_k_dense_replace"),
        ({"mlp_only_layers": [0], "decoder_sparse_step": 1}, "index in config.mlp_only_layers"),
        ({"first_k_dense_replace": 2}, "index in (0,)"),
    ],
)
def test_which_layers_are_dense_is_what_the_weights_say(tmp_path, vllm, plugin, config, test):
    result = made(tmp_path, vllm, plugin, {**MOE, **config}, sparse(dense_layers=1))
    assert test in result.files["vllm_harbour/models/harbour_moe.py"]


def test_weights_beyond_the_last_layer_belong_to_a_draft_and_are_left_out(tmp_path, vllm, plugin):
    shapes = {**dense(), "model.layers.2.eh_proj.weight": [64, 128], "model.layers.2.enorm.weight": [64]}
    table = weights(made(tmp_path, vllm, plugin, shapes=shapes).files[MODEL])
    assert table["model.layers.*.eh_proj.weight"] is None


def test_a_tied_head_is_left_out(tmp_path, vllm, plugin):
    shapes = {n: s for n, s in dense().items() if n != "lm_head.weight"}
    assert questions(made(tmp_path, vllm, plugin, {"tie_word_embeddings": True}, shapes)) == []


def test_a_model_type_that_transformers_does_not_know_gets_a_config_class(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin)
    assert 'model_type = "harbour"' in result.files["vllm_harbour/models/configuration_harbour.py"]
    assert 'AutoConfig.register("harbour", HarbourConfig, exist_ok=True)' in result.files["vllm_harbour/__init__.py"]
    known = made(tmp_path / "k", vllm, plugin, {"model_type": "qwen3"})
    assert "AutoConfig" not in known.files["vllm_harbour/__init__.py"]


def test_the_plugin_then_registers_the_architecture(tmp_path, vllm, plugin):
    for path, text in made(tmp_path, vllm, plugin).files.items():
        (plugin / path).parent.mkdir(exist_ok=True, parents=True)
        (plugin / path).write_text(text)
    entry = read_registry(vllm, [plugin]).get("HarbourForCausalLM")
    assert entry.class_path == "vllm_harbour.models.harbour:HarbourForCausalLM"


def test_the_tiny_checkpoint_has_every_kind_of_the_real_one(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin, {**MOE, "first_k_dense_replace": 1}, sparse(layers=3, dense_layers=1))
    script = tmp_path / "tiny.py"
    script.write_text(result.files["tests/tiny_harbour_moe.py"])
    spec = importlib.util.spec_from_file_location("tiny_script", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write(tmp_path / "tiny")
    whole = read_checkpoint(tmp_path / "tiny")
    assert not [f for f in whole.card.findings if f.severity.value == "error"]
    config = json.loads((tmp_path / "tiny/config.json").read_text())
    facts = decoder_facts(config, whole.tensors)
    assert facts.open == ()
    real = weights(result.files["vllm_harbour/models/harbour_moe.py"])
    assert {k.pattern for k in facts.kinds} == set(real)


@pytest.mark.parametrize(("method", "moe"), [("fp8", False), ("fp8", True), ("int8", True), ("awq", False)])
def test_a_quantised_checkpoint_keeps_every_scale_and_its_tiny_one_is_plain(tmp_path, vllm, plugin, method, moe):
    folder = write_quantised(tmp_path / "checkpoint", method, "HarbourForCausalLM", moe=moe)
    result = scaffold(folder, vllm, plugin)
    assert (result.plan.kind, questions(result)) == ("template", [])
    mapping = weights(result.files[MODEL])
    assert all(target == name for name, target in mapping.items())
    kinds = {re.sub(r"\.\d+(?=\.)", ".*", t.name) for t in read_checkpoint(folder).tensors}
    plain = {re.sub("qweight$", "weight", kind) for kind in kinds}
    assert set(mapping) == kinds | plain
    assert not [f for f in result.findings if f.code == "F003"]
    shapes = next(
        ast.literal_eval(n.value)
        for n in ast.parse(result.files["tests/tiny_harbour.py"]).body
        if isinstance(n, (ast.Assign, ast.AnnAssign)) and "SHAPES" in ast.unparse(n).split("=")[0]
    )
    assert {name.rpartition(".")[2] for name in shapes} == {"weight"}
    assert "model.layers.0.self_attn.q_proj.weight" in shapes
    # The unit test asks the same of the written file.
    place = function(result.files[MODEL], "model_name", re=re)
    places = {place(name) for name in shapes}
    assert len(places - {None}) == len(shapes)
    assert "not kind.endswith(QUANTISED)" in result.files["tests/test_harbour.py"]


def test_what_the_engine_has_is_not_written_again_without_fork(tmp_path, vllm, plugin):
    with pytest.raises(UsageError, match="has KnownForCausalLM already"):
        made(tmp_path, vllm, plugin, {"architectures": ["KnownForCausalLM"]})
    assert made(tmp_path / "f", vllm, plugin, {"architectures": ["KnownForCausalLM"]}, fork=True).files


def test_an_edited_model_file_is_not_written_over(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin)
    (plugin / MODEL).write_text(result.files[MODEL] + "# answered\n")
    with pytest.raises(UsageError, match="not as it would be written"):
        scaffold(tmp_path / "checkpoint", vllm, plugin)


@pytest.mark.parametrize(("text", "said"), [("{", "config.json cannot be used"), (None, "there is none")])
def test_a_config_that_cannot_be_read_is_refused_for_that(tmp_path, vllm, plugin, text, said):
    folder = checkpoint(tmp_path / "checkpoint", CONFIG, dense())
    if text is None:
        (folder / "config.json").unlink()
    else:
        (folder / "config.json").write_text(text)
    with pytest.raises(FileFormatError, match=said):
        scaffold(folder, vllm, plugin)


def test_a_checkpoint_without_tensors_is_refused(tmp_path, vllm, plugin):
    folder = checkpoint(tmp_path / "checkpoint", CONFIG, dense())
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileFormatError, match="has no tensors"):
        scaffold(folder, vllm, plugin)


def test_an_unknown_platform_is_refused(tmp_path, vllm, plugin):
    argv = [str(checkpoint(tmp_path / "c", CONFIG, dense())), "--into", str(plugin), "--engine", str(vllm)]
    with pytest.raises(UsageError, match="unknown platform 'tpu'"):
        CliRunner().invoke(command, [*argv, "--platform", "tpu"], catch_exceptions=False, standalone_mode=False)


def test_a_config_without_architecture_is_refused(tmp_path, vllm, plugin):
    with pytest.raises(FileFormatError, match="names no class"):
        made(tmp_path, vllm, plugin, {"architectures": []})


def test_the_command_makes_a_plugin_and_a_model_in_it(tmp_path, vllm):
    root = tmp_path / "vllm-harbour"
    first = CliRunner().invoke(command, ["plugin", "vllm-harbour", "--into", str(root)], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    folder = checkpoint(tmp_path / "c", {**CONFIG, "residual_multiplier": 2.0}, dense())
    argv = [str(folder), "--into", str(root), "--engine", str(vllm)]
    second = CliRunner().invoke(command, argv, catch_exceptions=False)
    assert second.exit_code == 3, second.output  # one place is open
    assert "1 places are open" in second.output
    assert (root / MODEL).is_file()
    undone = CliRunner().invoke(command, ["model", "--undo", "--into", str(root)], catch_exceptions=False)
    assert undone.exit_code == 0, undone.output
    assert not (root / MODEL).exists()


@pytest.mark.parametrize("name", ["vllm", "a b", "../x", "1x", "class", "vllm_ascend"])
def test_a_name_that_is_no_plugins_is_refused(name):
    with pytest.raises(UsageError):
        plugin_files(name)


def test_class_and_module_names_follow_the_architecture():
    assert [class_prefix(a) for a in ("Qwen3MoeForCausalLM", "GPT2LMHeadModel", "Model")] == [
        "Qwen3Moe",
        "GPT2",
        "Model",
    ]
    assert [module_name(a) for a in ("Qwen3MoeForCausalLM", "OPTForCausalLM")] == ["qwen3_moe", "opt"]


NAME = st.text(st.sampled_from("abcq_.019*\"'\\\n{}%"), max_size=40)


@given(
    st.dictionaries(NAME, st.lists(st.integers(0, 9), max_size=3), max_size=8),
    st.dictionaries(
        st.sampled_from([*CONFIG, "odd_field", "num_experts", "n_group"]), st.none() | st.integers(-3, 99) | NAME
    ),
)
def test_no_names_or_fields_make_the_facts_fail(shapes, config):
    tensors = [Tensor(name=n, dtype="BF16", shape=tuple(s), nbytes=0, shard="x") for n, s in shapes.items()]
    facts = decoder_facts(config, tensors)
    assert sum(k.count for k in facts.kinds) == len(shapes)


@pytest.mark.parametrize("field", ["hidden_size", "vocab_size", "intermediate_size", "num_experts"])
def test_a_missing_field_is_a_question_where_it_would_be_read(tmp_path, vllm, plugin, field):
    config = {k: v for k, v in {**CONFIG, **MOE}.items() if k != field}
    folder = checkpoint(tmp_path / "c", config, sparse(dense_layers=1))
    result = scaffold(folder, vllm, plugin)
    text = result.files["vllm_harbour/models/harbour_moe.py"]
    ast.parse(text)
    assert any(field in ast.unparse(call) for call in calls(text, "undecided"))
    assert any(field in q for q in questions(result))


def test_hostile_names_and_fields_stay_text(tmp_path, vllm, plugin):
    shapes = {**dense(), f'model.layers.0.{EVIL}"]: print(1), ["x': [4], EVIL: [4]}
    config = {"model_type": f'x"); import os; os.abort() #{EVIL}', f"odd{EVIL}": None, f"on{EVIL}": 3.5}
    result = made(tmp_path, vllm, plugin, config, shapes)
    for path, text in result.files.items():
        tree = ast.parse(text)
        names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
        if path == MODEL or "configuration" in path:
            assert "os" not in names, path
        assert not calls(text, "os.abort")
        assert not calls(text, "print")
    written = ast.parse(result.files["vllm_harbour/models/configuration_harbour.py"])
    value = next(n for n in ast.walk(written) if isinstance(n, ast.Assign)).value
    assert ast.literal_eval(value) == config["model_type"]
    assert len(questions(result)) == 3
