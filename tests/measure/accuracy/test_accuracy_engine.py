"""Parity, locate and the ladder on the real engine: what is right passes, what is broken is named."""

from __future__ import annotations

import json

import pytest

from seatrial.core.verdict import Verdict
from seatrial.engine.border import ProbeSession
from seatrial.measure.accuracy.answers import Asked, Engine, in_process, served
from seatrial.measure.accuracy.dataset import read_questions
from seatrial.measure.accuracy.ladder import Setting, assertions, one_prompt, questions, service
from seatrial.measure.accuracy.locate import locate
from seatrial.measure.accuracy.outside import keep, lm_eval_command, run_tool
from seatrial.measure.accuracy.parity import parity
from seatrial.measure.accuracy.prompts import chosen
from seatrial.measure.accuracy.read_lm_eval import read_lm_eval
from seatrial.measure.accuracy.records import RequestConfig
from seatrial.measure.accuracy.run import FILES, read_run
from seatrial.measure.accuracy.serving import during
from seatrial.measure.accuracy.tensor_account import tensor_account
from seatrial.targets import load_target

pytestmark = pytest.mark.engine

SCALE = """
def patch(model):
    done = []
    for module in model.modules():
        impl = getattr(module, "impl", None)
        if impl is not None and hasattr(impl, "scale"):
            old, impl.scale = impl.scale, impl.scale * 1.5
            done.append((impl, old))
    assert done
    return lambda: [setattr(impl, "scale", old) for impl, old in done]
"""
TASK = """
task: tiny_sums
dataset_path: json
dataset_kwargs: {data_files: {test: QUESTIONS}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 8, do_sample: false, temperature: 0}
metric_list: [{metric: exact_match}]
"""


@pytest.fixture(scope="module")
def reference(engine_python, tmp_path_factory):
    """One process for the reference of all tests here: torch and transformers are imported once."""
    with ProbeSession(engine_python, log=tmp_path_factory.mktemp("reference") / "probe.log") as session:
        yield session


def asked(count):
    return [Asked(text=text) for text in chosen(count)]


def test_a_good_engine_passes_and_a_wrong_attention_scale_is_caught_and_located(
    tiny, engine_python, reference, tmp_path
):
    checkpoint = str(tiny("qwen3"))
    file = tmp_path / "patch.py"
    file.write_text(SCALE)
    good = Engine(checkpoint=checkpoint, max_model_len=512)
    bad = Engine(checkpoint=checkpoint, max_model_len=512, patch=str(file))
    account = tensor_account(reference, tiny("qwen3"))
    reference.rest()  # the engine was imported there; what comes is Transformers alone
    assert account.trouble == ""
    with ProbeSession(engine_python, log=tmp_path / "engine.log") as engine:

        def judged(setting):
            there = in_process(engine, setting, asked(4), max_tokens=12, keep=True)
            return parity(
                reference, checkpoint, there.answers, dtype=there.dtype, how="test", engine=there.engine, keep=True
            )

        right = judged(good)
        assert right.outcome.verdict is Verdict.PASS, right.findings
        assert right.facts.agreement > 0.9
        wrong = judged(bad)
        assert wrong.outcome.verdict is Verdict.FAIL
        both = {"reference": reference, "account": account, "keep": True}
        found = locate(engine, bad, asked(1)[0], scratch=tmp_path / "bad", **both)
        assert found.facts.first.key == "layers.0.self_attn.o_proj@in"
        # The patch was undone: the same loaded engine is right again, module by module.
        clean = locate(engine, good, asked(1)[0], scratch=tmp_path / "good", **both)
        assert clean.outcome.verdict is Verdict.PASS, clean.outcome.reason
        assert {r.step for r in clean.facts.rows} == {0, 1}
        # Everything is paired by its tensors; what computes the logits has none and goes by name.
        assert {r.key for r in clean.facts.rows if r.by != "tensors"} == {"lm_head"}
        assert {r.key for r in clean.facts.rows} >= {f"layers.0.self_attn.{p}_proj" for p in "qkv"}
        assert clean.facts.unmatched == (
            "layers.0.self_attn.attn",
            "layers.0.mlp.act_fn",
            "layers.1.self_attn.attn",
            "layers.1.mlp.act_fn",
        )


def test_the_ladder_and_parity_on_a_served_engine(tiny, engine_python, lm_eval_python, reference, tmp_path):
    checkpoint = tiny("qwen3")
    data = tmp_path / "sums.jsonl"
    data.write_text("\n".join(json.dumps({"question": f"{i} + {i} =", "answer": str(2 * i)}) for i in range(6)))
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "tiny_sums.yaml").write_text(TASK.replace("QUESTIONS", str(data)))
    tool = tmp_path / "tool"
    tool.mkdir()

    def use(client, place):
        setting = Setting(api_url=place.url, model=place.model, chat=True, max_tokens=16)
        log = next((tmp_path / "server").rglob("server.log"))
        scores = [
            service(client, setting, tmp_path / "L0", log),
            one_prompt(client, setting, tmp_path / "L1"),
            assertions(client, setting, tmp_path / "L2"),
            questions(client, setting, tmp_path / "L3", read_questions(data, 4), name="sums", limit=4, level="L3"),
        ]
        argv = lm_eval_command(
            lm_eval_python, place.url, place.model, task="tiny_sums", output=tool, include=tmp_path / "task", limit=4
        )
        run_tool(argv, log=tool / "log", cwd=tool, timeout_s=1500)
        found = read_lm_eval(tool, "tiny_sums")
        request = RequestConfig(api_url=place.url, model=place.model)
        scores.append(keep(tmp_path / "L3-tool", found, request=request, level="L3", limit=4, source="tiny_sums"))
        return scores, served(client, asked(4), max_tokens=12)

    started = during(
        checkpoint, load_target("cpu").target, use, python=engine_python, scratch=tmp_path / "server", max_model_len=512
    )
    scores, answers = started.only()
    for name in ("L0", "L1", "L2", "L3", "L3-tool"):
        assert set(FILES) <= {p.name for p in (tmp_path / name).iterdir()}
        assert read_run(tmp_path / name).score.level == name[:2]
    l0, l1, l2, l3, by_tool = scores
    assert (l0.num_correct, l0.num_total) == (3, 3)
    assert l1.num_correct == 1
    # Random weights know no arithmetic, but they answer, and twice the same.
    assert l2.num_no_answer == 0
    assert not [p for p in read_run(tmp_path / "L2").predictions if p.trouble == "asked twice, two answers"]
    assert (l3.num_total, l3.status) == (4, "complete")
    assert by_tool.num_total == 4
    assert [s.metric for s in by_tool.scores] == ["exact_match,none"]
    assert by_tool.scores[0].tool_version == "0.4.13"
    result = parity(reference, str(checkpoint), answers, dtype="bfloat16", how="served", engine="vllm")
    assert result.outcome.verdict is Verdict.PASS, result.findings
