"""What other tools leave: lm-eval's files, AISBench's, msProbe's; and a tool that does not work."""

from __future__ import annotations

import json
import struct
import sys

import pytest

from seatrial.core.errors import EngineError, FileFormatError, UsageError
from seatrial.core.record import replace
from seatrial.core.verdict import Verdict, inconclusive
from seatrial.engine.border import ProbeReply
from seatrial.measure.accuracy.answers import Asked
from seatrial.measure.accuracy.locate import LocateFacts, ModuleRow, against, conclude
from seatrial.measure.accuracy.msprobe import npy_shape, read_msprobe
from seatrial.measure.accuracy.outside import keep, lm_eval_command, run_tool
from seatrial.measure.accuracy.read_aisbench import read_aisbench
from seatrial.measure.accuracy.read_lm_eval import read_lm_eval


@pytest.fixture
def lm_eval(tmp_path):
    """Files in the form lm-eval 0.4.13 writes them, cut down."""
    folder = tmp_path / "out" / "tiny"
    folder.mkdir(parents=True)
    results = {
        "results": {
            "sums": {
                "alias": "sums",
                "exact_match,strict": 0.5,
                "exact_match_stderr,strict": 0.2,
                "exact_match,loose": 1.0,
                "exact_match_stderr,loose": "N/A",
            }
        },
        "n-samples": {"sums": {"original": 9, "effective": 2}},
        "n-shot": {"sums": 0},
        "higher_is_better": {"sums": {"exact_match": True}},
        "lm_eval_version": "0.4.13",
    }
    (folder / "results_2026-11-20T00-00-00.json").write_text(json.dumps(results))
    rows = []
    for number, (text, taken, right) in enumerate((("it is 4", "4", 1.0), ("no idea", "[invalid]", 0.0))):
        rows.append(
            {
                "doc_id": number,
                "target": "4",
                "arguments": {"gen_args_0": {"arg_0": "What is 2 + 2?", "arg_1": {"until": ["\n"]}}},
                "resps": [[text]],
                "filtered_resps": [taken],
                "filter": "strict",
                "metrics": ["exact_match"],
                "exact_match": right,
            }
        )
    (folder / "samples_sums_2026-11-20T00-00-00.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "out"


def test_lm_eval_files_become_the_five_files(lm_eval, tmp_path, request_config):
    found = read_lm_eval(lm_eval, "sums")
    assert [(f.metric, f.value, f.n, f.stderr) for f in found.figures] == [
        ("exact_match,strict", 0.5, 2, 0.2),
        ("exact_match,loose", 1.0, 2, None),
    ]
    assert [p.status for p in found.predictions] == ["correct", "not-extracted"]
    assert found.predictions[0].prompt == "What is 2 + 2?"
    score = keep(tmp_path / "run", found, request=request_config, level="L3", limit=2, source="x")
    assert [s.metric for s in score.scores] == ["exact_match,strict", "exact_match,loose"]
    assert score.scores[0].tool_version == "0.4.13"
    assert not score.scores[0].conclusive


def test_empty_answers_of_lm_eval_make_the_result_partial(lm_eval, tmp_path, request_config):
    (file,) = lm_eval.rglob("samples_*.jsonl")
    file.write_text(file.read_text().replace("no idea", ""))
    score = keep(
        tmp_path / "run", read_lm_eval(lm_eval, "sums"), request=request_config, level="L4", limit=None, source="x"
    )
    assert score.status == "partial"
    assert not score.scores[0].conclusive


def test_a_folder_that_is_not_lm_evals_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"no results_\*"):
        read_lm_eval(tmp_path, "sums")
    (tmp_path / "results_x.json").write_text('{"results": 3}')
    with pytest.raises(FileFormatError, match="no table"):
        read_lm_eval(tmp_path, "sums")


def test_aisbench_percentages_become_fractions_and_silent_zeros_no_score(tmp_path, request_config):
    for kind in ("results", "predictions"):
        (tmp_path / "o" / kind / "m").mkdir(parents=True)
    details = {"type": "GEN", "0": {"predictions": "4", "references": "4", "correct": True}, "1": {"correct": [False]}}
    (tmp_path / "o/results/m/gsm8k.json").write_text(json.dumps({"accuracy": 50.0, "details": details}))
    answers = {"0": {"prediction": "It is 4", "gold": "4"}, "1": {"prediction": "five?", "gold": "4"}}
    (tmp_path / "o/predictions/m/gsm8k.json").write_text(json.dumps(answers))
    found = read_aisbench(tmp_path / "o")
    assert [(f.task, f.value, f.n) for f in found.figures] == [("gsm8k", 0.5, 2)]
    assert [p.status for p in found.predictions] == ["correct", "not-extracted"]
    # A wrong pairing of data set and API: every answer empty, accuracy 0.
    (tmp_path / "o/results/m/gsm8k.json").write_text(json.dumps({"accuracy": 0.0, "details": {}}))
    (tmp_path / "o/predictions/m/gsm8k.json").write_text(json.dumps({"0": {"prediction": ""}}))
    silent = read_aisbench(tmp_path / "o")
    assert silent.figures == ()
    score = keep(tmp_path / "run", silent, request=request_config, level="L4", limit=None, source="x")
    assert (score.status, score.scores) == ("partial", ())


def test_the_command_of_lm_eval_is_offline_greedy_and_limited(tmp_path):
    argv = lm_eval_command(tmp_path / "python", "http://h:1", "m", task="t", output=tmp_path, limit=3, chat=True)
    assert argv[1:3] == ("-m", "lm_eval")
    assert "--apply_chat_template" in argv
    assert argv[argv.index("--limit") + 1] == "3"
    assert "base_url=http://h:1/v1/chat/completions" in argv[argv.index("--model_args") + 1]


def test_a_tool_that_fails_is_an_error_with_its_last_line(tmp_path):
    argv = [sys.executable, "-c", "import sys; print('no such task: x'); sys.exit(3)"]
    with pytest.raises(EngineError, match="exit code 3: no such task: x"):
        run_tool(argv, log=tmp_path / "log", cwd=tmp_path, timeout_s=300)
    with pytest.raises(EngineError, match="did not end within"):
        run_tool(
            [sys.executable, "-c", "import time; time.sleep(3600)"], log=tmp_path / "log", cwd=tmp_path, timeout_s=0.5
        )
    with pytest.raises(EngineError, match="cannot be started"):
        run_tool([str(tmp_path / "absent")], log=tmp_path / "log", cwd=tmp_path, timeout_s=300)


def npy(path, shape, descr="<f4"):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    count = 1
    for n in shape:
        count *= n
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(4 * count))


def test_an_msprobe_dump_gives_modules_with_their_shapes(tmp_path):
    tensors = tmp_path / "dump_tensor_data"
    tensors.mkdir()
    name = "Module.model.layers.0.self_attn.o_proj.RowParallelLinear.forward.0"
    lost = "Module.model.norm.RMSNorm.forward.0"
    (tmp_path / "dump.json").write_text(json.dumps({"data": {name: {}, lost: {}, "Functional.add.0.forward": {}}}))
    npy(tensors / f"{name}.output.0.npy", (1, 7, 64))
    dump = read_msprobe(tmp_path)
    (module,) = dump.modules
    assert (module["module"], module["tokens"], module["width"]) == ("model.layers.0.self_attn.o_proj", 7, 64)
    assert dump.dropped == (f"{lost}: no {lost}.output.0.npy",)


def msprobe(folder, *calls):
    """A dump of these calls in their order: (module and class, number of the call, shape)."""
    (folder / "dump_tensor_data").mkdir()
    names = {f"Module.{module}.forward.{call}": shape for module, call, shape in calls}
    for name, shape in names.items():
        npy(folder / "dump_tensor_data" / f"{name}.output.0.npy", shape)
    (folder / "dump.json").write_text(json.dumps({"data": {name: {} for name in names}}))
    return read_msprobe(folder)


def test_a_later_pass_goes_on_with_the_tokens_and_the_logits_are_of_the_last_one(tmp_path):
    dump = msprobe(
        tmp_path,
        ("visual.merger.Merger", 0, (9, 8)),
        ("model.embed_tokens.VocabParallelEmbedding", 0, (5, 8)),
        ("model.layers.0.self_attn.q_norm.RMSNorm", 0, (5, 4, 2)),
        ("model.layers.0.mlp.MLP", 0, (5, 8)),
        ("logits_processor.LogitsProcessor", 0, (1, 32)),
        ("model.embed_tokens.VocabParallelEmbedding", 1, (1, 8)),
        ("model.layers.0.mlp.MLP", 1, (1, 8)),
        ("logits_processor.LogitsProcessor", 1, (1, 32)),
    )
    assert dump.passes == (5, 1)
    assert {m["width"] for m in dump.modules} == {8, 32}
    assert [(m["module"].split(".")[-1], m["step"], m["rows"]) for m in dump.modules] == [
        ("merger", 0, list(range(9))),
        ("embed_tokens", 0, [0, 1, 2, 3, 4]),
        ("q_norm", 0, [0, 1, 2, 3, 4]),
        ("mlp", 0, [0, 1, 2, 3, 4]),
        ("logits_processor", 0, [4]),
        ("embed_tokens", 1, [5]),
        ("mlp", 1, [5]),
        ("logits_processor", 1, [5]),
    ]


@pytest.mark.parametrize(("passes", "fits"), [((7,), True), ((4, 3, 1), True), ((8,), False), ((6,), False)])
def test_a_dump_of_another_number_of_tokens_than_the_prompts_is_refused(tmp_path, passes, fits):
    class Session:
        def call(self, probe, request, **_):
            answer = {"rows": [], "unmatched": [], "only_reference": [], "unjudged": [], "class": "R"}
            answer |= {"transformers": "5", "prompt_tokens": 7}
            return ProbeReply(probe=probe, status="answered", duration_s=0.1, log="", answer=answer)

    words = {"modules": (), "watched": {"prompt_ids": [], "tokens": []}, "dtype": "bfloat16", "scratch": tmp_path}
    if fits:
        facts = against(Session(), "c", Asked(text="x"), passes=passes, **words).facts
        assert facts.prompt_tokens == 7
        return
    with pytest.raises(UsageError, match=f"first pass has {passes[0]} tokens of {passes[0]}, the prompt 7"):
        against(Session(), "c", Asked(text="x"), passes=passes, **words)


def test_a_dump_without_tensors_and_an_array_of_objects_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"no dump\.json"):
        read_msprobe(tmp_path)
    (tmp_path / "dump.json").write_text('{"data": {}}')
    with pytest.raises(FileFormatError, match="no tensor to compare"):
        read_msprobe(tmp_path)
    npy(tmp_path / "x.npy", (2, 2), descr="|O")
    with pytest.raises(FileFormatError, match="not an array of numbers"):
        npy_shape(tmp_path / "x.npy")
    (tmp_path / "y.npy").write_bytes(b"\x80\x04pickle....")
    with pytest.raises(FileFormatError, match=r"no \.npy"):
        npy_shape(tmp_path / "y.npy")


def test_figures_whose_samples_were_not_kept_are_no_whole_score(lm_eval, tmp_path, request_config):
    (file,) = lm_eval.rglob("samples_*.jsonl")
    file.write_text(file.read_text().splitlines()[0])
    cut = keep(
        tmp_path / "a", read_lm_eval(lm_eval, "sums"), request=request_config, level="L4", limit=None, source="x"
    )
    assert cut.status == "partial"
    assert "samples of sums are kept" in cut.reason
    assert not any(s.conclusive for s in cut.scores)
    file.unlink()
    none = keep(
        tmp_path / "b", read_lm_eval(lm_eval, "sums"), request=request_config, level="L4", limit=None, source="x"
    )
    assert "no sample was kept" in none.reason


def test_an_aisbench_accuracy_without_its_answers_is_no_score_of_another_set(tmp_path, request_config):
    results = tmp_path / "results" / "m"
    results.mkdir(parents=True)
    (results / "bare.json").write_text(json.dumps({"accuracy": 90.0}))
    details = {"0": {"correct": True, "predictions": "4", "origin_prediction": "4"}}
    (results / "whole.json").write_text(json.dumps({"accuracy": 100.0, "details": details}))
    score = keep(tmp_path / "run", read_aisbench(tmp_path), request=request_config, level="L4", limit=None, source="x")
    assert [(s.task, s.n, s.conclusive) for s in score.scores] == [("whole", 1, False)]
    assert "bare: no answer is kept" in score.reason


def test_modules_of_a_dump_without_their_tensors_count_against_a_pass():
    words = dict.fromkeys(("checkpoint", "prompt", "reference"), "x")
    words |= {"prompt_tokens": 2, "serving_dtype": "bfloat16", "truth_dtype": "float32", "first": None}
    row = ModuleRow(
        key="norm", step=0, by="name", engine_key="norm", module="norm", kind="Norm", width=8, relative=0.0, noise=0.1,
        limit=0.3, out=False, excused=False, cosine=1.0, ulps=0.0, bad=0, tokens=(0,), tokens_out=(), strayed=(),
        suspects=(),
    )  # fmt: skip
    facts = LocateFacts(**words, rows=(row,), unmatched=(), only_reference=())
    assert conclude(facts).outcome.verdict is Verdict.PASS
    lost = replace(facts, dropped=tuple(f"Module.{n}: no file" for n in range(9)))
    assert conclude(lost).outcome == inconclusive("only 1 of 10 outputs have a counterpart")
    # Nor is a pass made of the one output that no router's near-tie took away.
    strayed = replace(facts, unjudged=("norm", *(f"layers.{n}.mlp" for n in range(9))))
    assert conclude(strayed).outcome == inconclusive("only 1 of 10 outputs have a counterpart that could be judged")
