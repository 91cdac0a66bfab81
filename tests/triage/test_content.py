"""Logs in which nothing failed: what their answers and scores say, and when they say nothing."""

from __future__ import annotations

import pytest

from seatrial.triage import UNKNOWN, diagnose_text
from seatrial.triage.quality import agrees, bare, look, scores

LM_EVAL = """lm_eval --model local-completions --tasks gsm8k
|Tasks|Version|     Filter     |n-shot|  Metric   |   |Value |   |Stderr|
|-----|------:|----------------|-----:|-----------|---|-----:|---|-----:|
|gsm8k|      3|flexible-extract|     5|exact_match|↑  |0.9121|±  |0.0078|
|     |       |strict-match    |     5|exact_match|↑  |0.9098|±  |0.0079|
"""
EVALSCOPE = """+-----------+-----------+----------+-------+---------+
| Model     | Dataset   | Metric   |   Num |   Score |
+===========+===========+==========+=======+=========+
| Qwen3-32B | gsm8k     | mean_acc |  1319 |  0.9477 |
| Qwen3-32B | ceval     | mean_acc |  1346 |  0.6811 |
"""
AISBENCH = """dataset      version    metric    mode    vllm-api
ceval        -          accuracy  gen     88.31
aime2024     604a78     accuracy  gen     80.00
gpqa         2a2d4e     accuracy  gen     61.11
"""


@pytest.mark.parametrize("log", [LM_EVAL, EVALSCOPE, AISBENCH, "gsm8k accuracy: 0.91\nceval accuracy: 0.55\n"])
def test_an_evaluations_own_table_is_no_failure(log):
    answer = diagnose_text(log)
    assert answer.category == UNKNOWN
    assert answer.healthy
    assert answer.candidates == ()


@pytest.mark.parametrize(
    "log",
    [
        "eager gsm8k 0.9121\naclgraph gsm8k 0.9113\n",
        "gsm8k  NPU 0.948  GPU 0.951\n",
        "TP1: gsm8k 0.9053  TP4: gsm8k 0.9061  (tolerance 0.02)\n",
        "max abs diff 0.0004 (tolerance 0.02): pass\n",
        "cosine similarity 0.99998\n",
        "rerank score GPU  [0.981, 0.012, 0.334]\nrerank score NPU  [0.980, 0.012, 0.333]\n",
    ],
)
def test_what_agrees_is_no_failure(log):
    assert agrees(log.splitlines())
    assert diagnose_text(log).healthy


@pytest.mark.parametrize(
    "log",
    [
        "eager gsm8k 0.9121\naclgraph gsm8k 0.4113\n",
        "gsm8k  NPU 0.448  GPU 0.951\n",
        "max abs diff 0.579 (tolerance 0.02)\n",
        "cosine similarity 0.71\n",
        "rerank score GPU  [0.981, 0.012, 0.334]\nrerank score NPU  [0.402, 0.377, 0.391]\n",
        LM_EVAL + "max abs diff 0.579 (tolerance 0.02)\n",
    ],
)
def test_what_differs_is_not_called_healthy(log):
    assert not agrees(log.splitlines())
    assert not bare(log.splitlines())
    assert not diagnose_text(log).healthy


def test_scores_of_the_same_thing_are_compared_and_those_of_two_data_sets_are_not():
    apart = look(["eager gsm8k 0.91", "aclgraph gsm8k 0.55"])
    assert apart is not None
    assert apart.category == "accuracy-garbled"
    assert look(["eager gsm8k 0.91", "eager ceval 0.55"]) is None
    assert (
        look(["gsm8k before 0.91", "now with graphs: score 0.55"]) is not None
    )  # one data set: the second is of it too


def test_an_uncertainty_and_a_tolerance_are_no_scores():
    assert [s.value for s in scores(["|gsm8k|3|acc|↑|0.91|±|0.008|"])] == [0.91]
    assert [s.value for s in scores(["gsm8k accuracy 0.91 (tolerance 0.02)"])] == [0.91]


def test_a_table_beside_which_somebody_says_what_he_expected_is_not_bare():
    assert bare(LM_EVAL.splitlines())
    assert not bare((LM_EVAL + "expected 0.95\n").splitlines())
    assert not bare((LM_EVAL + 'content: "of of of of"\n').splitlines())
    assert not bare([])


def test_of_more_lines_than_are_looked_at_nothing_is_said():
    from seatrial.triage.quality import MAX_LINES, fluent

    long = ["gsm8k accuracy 0.91"] * (MAX_LINES + 1)
    assert agrees(long[:9])
    assert bare(long[:9])
    assert not agrees(long)
    assert not bare(long)
    assert fluent(['"text": " Paris is the capital"'])
    assert not fluent(['"text": " Paris is the capital"', *["x"] * MAX_LINES])


def test_a_command_that_sets_the_shared_memory_is_no_full_one():
    log = "docker run --rm --shm-size=16g --device /dev/davinci0 -it quay.io/ascend/vllm-ascend:v0.18.0 bash\n"
    assert diagnose_text(log).category == UNKNOWN


def test_one_fluent_answer_is_no_failure_and_a_jumble_is_never_called_healthy():
    ask = 'curl localhost:8000/v1/chat/completions -d \'{"messages":[{"role":"user","content":"hi"}]}\'\n'
    assert diagnose_text(ask + '"text":" Paris, and it is also the largest","finish_reason":"length"\n').healthy
    assert not diagnose_text(ask + '"text":"的的的 the the,,,, 1 1 the of the 的 of of of"\n').healthy
    assert not diagnose_text('"text": " Alex Alex Alex and I I am am a student student"\n').healthy


def test_scores_far_apart_are_told_also_where_they_are_not_enough_for_an_answer():
    answer = diagnose_text("gsm8k without MTP 0.951\ngsm8k with MTP 0.702\n")
    assert not answer.healthy
    assert answer.first_cause is not None
    assert "0.702" in answer.first_cause.text
