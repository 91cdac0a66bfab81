"""AISBench's files as its source writes them: answers as lines, failed requests apart, judgements or none."""

from __future__ import annotations

import json

import pytest

from seatrial.measure.accuracy.outside import keep
from seatrial.measure.accuracy.read_aisbench import read_aisbench

# As mmengine writes it (AISBench's `configs/TIME_PID.py`), cut to what matters.
WHOLE = """cli_args=dict(config=None,
    num_prompts=None)
datasets=[
    dict(abbr='gsm8k',
        infer_cfg=dict(inferencer=dict(type='ais_bench.GenInferencer')),
        reader_cfg=dict(input_columns=[
                'question',
            ],
            output_column='answer'),
        type='ais_bench.benchmark.datasets.GSM8KDataset'),
]
models=[
    dict(abbr='vllm-api-general-chat',
        generation_kwargs=dict(ignore_eos=False,
            temperature=0.01),
        pred_postprocessor=dict({'extra name': 1,'type': 'ais_bench.x'}),
        type='ais_bench.benchmark.models.VLLMCustomAPIChat'),
]
work_dir='outputs/default/20260820_101112'
"""
CUT = WHOLE.replace("output_column='answer'", "output_column='answer',\n            test_range='[:5]'")


@pytest.fixture
def left(tmp_path):
    """A run folder of five questions to one model: answers by id, figures, details; the fourth request failed."""
    results, predictions = (tmp_path / "o" / k / "vllm-api-general-chat" for k in ("results", "predictions"))
    results.mkdir(parents=True)
    predictions.mkdir(parents=True)
    gold, said = ["4", "6", "8", "10", "12"], ["It is 4.", "It is 7.", "eight", None, "12"]
    taken = ["4", "7", "", "", "12"]
    rows = [
        {"data_abbr": "gsm8k", "id": n, "success": True, "uuid": f"u{n}", "prediction": text, "gold": gold[n]}
        | {"origin_prompt": [{"role": "HUMAN", "prompt": f"{n + 2} + {n + 2}?"}], "input_tokens": 5, "output_tokens": 3}
        for n, text in enumerate(said)
        if text is not None
    ]

    def make(*, details=True, config=WHOLE, **more):
        (tmp_path / "o" / "configs").mkdir(exist_ok=True)
        (tmp_path / "o" / "configs" / "20260820_101112_77.py").write_text(config)
        # Lines come in the order in which answers arrived.
        (predictions / "gsm8k.jsonl").write_text("".join(json.dumps(r) + "\n" for r in reversed(rows)))
        lost = {"data_abbr": "gsm8k", "id": 3, "input": "5 + 5?", "error_info": "connection reset"}
        (predictions / "gsm8k_failed.jsonl").write_text(json.dumps(lost) + "\n" + json.dumps(lost) + "\n")
        document = {"accuracy": 40.0, "extract_rate": 60.0, "type": "GEN", **more}
        if details:
            document["details"] = {
                # Lists of one: icl_base_evaluator.py flattens the repeats of every question, of which there is one.
                str(n): {"prompt": "", "origin_prediction": text or "", "predictions": [taken[n]]}
                | {"references": [gold[n]], "correct": [taken[n] == gold[n]]}
                for n, text in enumerate(said)
            }
        (results / "gsm8k.json").write_text(json.dumps(document))
        return tmp_path / "o"

    return make


def test_answers_meet_their_judgement_by_id_and_failed_requests_have_no_answer(left, tmp_path, request_config):
    found = read_aisbench(left())
    assert [p.status for p in found.predictions] == ["correct", "wrong", "not-extracted", "no-answer", "correct"]
    assert [p.id for p in found.predictions] == [f"gsm8k/{n}" for n in range(5)]
    assert found.predictions[1].prompt == "3 + 3?"
    assert found.predictions[3].trouble == "connection reset"
    assert [(f.metric, f.value, f.n) for f in found.figures] == [("accuracy", 0.4, 5)]
    score = keep(tmp_path / "run", found, request=request_config, level="L4", limit=None, source="x")
    assert (score.status, score.num_no_answer, score.scores[0].conclusive) == ("partial", 1, False)


def test_without_details_no_answer_is_called_wrong_and_the_figure_is_not_whole(left, tmp_path, request_config):
    found = read_aisbench(left(details=False))
    assert [p.status for p in found.predictions] == ["no-answer"]
    assert "4 answers are kept, which of them are right is not" in found.missing
    score = keep(tmp_path / "run", found, request=request_config, level="L4", limit=None, source="x")
    assert (score.scores[0].value, score.scores[0].n, score.scores[0].complete) == (0.4, 5, False)


def test_several_answers_to_a_question_have_figures_and_no_judgement_of_their_own(tmp_path):
    results, predictions = (tmp_path / "o" / k / "m" for k in ("results", "predictions"))
    results.mkdir(parents=True)
    predictions.mkdir(parents=True)
    lines = [{"id": i // 2, "success": True, "prediction": f"text {i}", "gold": "4"} for i in range(4)]
    (predictions / "aime.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))
    grouped = [{"example_abbr": f"aime_{i}", "pred": ["4", "5"], "correct": [True, False]} for i in range(2)]
    document = {"accuracy (2 runs average)": 50.0, "avg@2": 50.0, "pass@2": 100.0, "details": grouped}
    (results / "aime.json").write_text(json.dumps(document))
    found = read_aisbench(tmp_path / "o")
    assert found.predictions == ()
    assert {(f.n, f.answers) for f in found.figures} == {(2, 4)}
    assert [(f.metric, f.value) for f in found.figures][1:] == [("avg@2", 0.5), ("pass@2", 1.0)]
    assert "several to a question, and AISBench keeps no judgement of a single one" in found.missing


def test_questions_judged_by_perplexity_have_their_choice_as_answer(tmp_path):
    folder = tmp_path / "o" / "results" / "m"
    folder.mkdir(parents=True)
    one = {"origin_prediction": {"A": {"PPL": 1.2}, "B": {"PPL": 1.4}}, "predictions": "A", "references": "A"}
    document = {"accuracy": 100.0, "correct_bpb": 12.5, "type": "PPL", "details": {"0": {**one, "correct": True}}}
    (folder / "piqa.json").write_text(json.dumps(document))
    found = read_aisbench(tmp_path / "o")
    assert [(p.status, p.text, p.extracted) for p in found.predictions] == [("correct", "A", "A")]
    assert [f.metric for f in found.figures] == ["accuracy"]


def test_the_settings_that_aisbench_dumps_say_whether_all_questions_were_asked(left, tmp_path, request_config):
    assert read_aisbench(left()).cut == ""
    found = read_aisbench(left(config=CUT))
    assert found.cut == "AISBench took only [:5] of gsm8k (configs/)"
    score = keep(tmp_path / "run", found, request=request_config, level="L4", limit=None, source="x")
    assert found.cut in score.reason
    assert not any(s.conclusive for s in score.scores)
    # The first 2000 of a data set of five are all of them.
    assert read_aisbench(left(config=CUT.replace("[:5]", "[:2000]"))).cut == ""
    assert read_aisbench(left(config=CUT.replace("'[:5]'", "0.5"))).cut == "AISBench took only 0.5 of gsm8k (configs/)"
    # As before it wrote the range itself, with the number beside its other arguments.
    told = read_aisbench(left(config=WHOLE.replace("num_prompts=None", "num_prompts=5"))).cut
    assert told == "AISBench took only [:5] of gsm8k (configs/)"


def test_a_second_start_in_the_same_folder_does_not_make_a_cut_run_whole(left):
    folder = left(config=CUT)
    (folder / "configs" / "20260820_121314_78.py").write_text(WHOLE)
    assert "took only [:5]" in read_aisbench(folder).cut


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (None, "AISBench's configs/ are not there"),
        ("models=[dict(", "cannot be read (SyntaxError)"),
        ("x=" + "(" * 5000, "cannot be read"),
        (WHOLE.replace("abbr='gsm8k'", "abbr='other'"), "its configs/ do not name gsm8k"),
        ("datasets=[dict(abbr=open('/x').read())]", "its configs/ do not name gsm8k"),
    ],
)
def test_a_run_whose_settings_are_not_there_covers_nobody_knows_how_much(left, tmp_path, request_config, config, why):
    folder = left(config=config or "")
    if config is None:
        (folder / "configs" / "20260820_101112_77.py").unlink()
    found = read_aisbench(folder)
    assert found.cut.startswith("it is not known whether all questions of gsm8k were asked: ")
    assert why in found.cut
    assert (found.temperature, found.chat) == (None, None) or config is not None
    score = keep(tmp_path / "run", found, request=request_config, level="L5", limit=None, source="x")
    assert score.status == "partial"


@pytest.mark.parametrize(
    "config",
    [
        WHOLE.replace("reader_cfg=dict(input", "reader_cfg=read(input"),
        WHOLE.replace("output_column='answer'", "**read('x')"),
        WHOLE.replace("abbr='gsm8k'", "abbr='gsm8k',\n        **{'reader_cfg': read('x')}").replace(
            "reader_cfg=d", "r=d"
        ),
        CUT.replace("'[:5]'", "first()"),
        CUT.replace("'[:5]'", "'[:5' + ']'"),
        WHOLE.replace("num_prompts=None", "num_prompts=5 - 1"),
        WHOLE.replace("cli_args=dict", "cli_args=read"),
        WHOLE + "datasets[0]['reader_cfg']=dict(test_range='[:1]')\n",
        WHOLE + "datasets+=more\n",
        WHOLE + "same=datasets\nsame[0]['reader_cfg']=dict(test_range='[:1]')\n",
        WHOLE + "from elsewhere import datasets\n",
        WHOLE.replace("datasets=[", "datasets=[\n    other(),"),
    ],
)
def test_settings_that_are_no_plain_data_do_not_say_that_all_was_asked(left, config):
    assert config not in (WHOLE, CUT)
    cut = read_aisbench(left(config=config)).cut
    assert cut.startswith("it is not known whether all questions of gsm8k were asked: ")
    assert "cannot be read (ValueError)" in cut


@pytest.mark.parametrize("taken", ["'\u00b2'", "'[:" + "9" * 5000 + "]'", "'" + "9" * 5000 + "'", "0x" + "f" * 6000])
def test_a_number_that_is_none_or_has_no_end_is_no_traceback(left, taken):
    cut = read_aisbench(left(config=CUT.replace("'[:5]'", taken))).cut
    assert "gsm8k" in cut
    assert len(cut) < 300


@pytest.mark.parametrize("place", ["num_prompts=None", "'ais_bench.benchmark.models.VLLMCustomAPIChat'"])
def test_a_number_too_long_to_write_makes_the_settings_unread(left, place):
    config = WHOLE.replace(place, place.partition("=")[0] + "=0x" + "f" * 6000 if "=" in place else "0x" + "f" * 6000)
    assert "cannot be read (ValueError)" in read_aisbench(left(config=config)).cut


def test_the_temperature_and_endpoint_are_those_of_the_model_that_was_asked(left):
    found = read_aisbench(left())
    assert (found.temperature, found.chat) == (0.01, True)
    plain = read_aisbench(left(config=WHOLE.replace("VLLMCustomAPIChat", "VLLMCustomAPI").replace("0.01", "0.6")))
    assert (plain.temperature, plain.chat) == (0.6, False)
    assert read_aisbench(left(config=WHOLE.replace("abbr='vllm-api", "abbr='other"))).temperature is None
