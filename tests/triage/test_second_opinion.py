"""The second opinion beside the signatures, and the spellings of logs that it made readable."""

from __future__ import annotations

from io import BytesIO

import pytest
from tests.cost import million_turns

from seatrial.triage import CATEGORIES, UNKNOWN, diagnose_text, likeness, page, reading
from seatrial.triage.advice import ADVICE
from seatrial.triage.lines import LOUD, PYTEST, parse
from seatrial.triage.tracebacks import SHIFTED
from seatrial.triage.words import REPEATED, split

PLACE = '  File "/v/site-packages/{path}", line 9, in {function}\n    {code}\n{error}\n'


def test_the_table_knows_every_category_and_claims_no_certainty():
    table = likeness.table()
    assert set(table.categories) == {*CATEGORIES, UNKNOWN}
    assert 0.3 <= table.floor < table.ceiling < 1
    assert f"shipped floor of {table.floor} " in page.render()  # the figures beside it are of that floor
    assert all(len(row) % 2 == 1 and row[0] > 0 for row in table.words.values())
    assert all(0 <= row[i] < len(table.categories) for row in table.words.values() for i in range(1, len(row), 2))


def test_every_category_has_advice():
    assert set(ADVICE) == set(CATEGORIES)


def test_probabilities_add_up_and_a_vote_raises_its_own_category():
    table = likeness.table()
    words = {f"m:{w}": 1.0 for w in split("RuntimeError: something about a port")}
    plain = likeness.probabilities(words, {}, table)
    voted = likeness.probabilities(words, {("other.2", "port-bind"): 1.0}, table)
    assert sum(plain.values()) == pytest.approx(1)
    assert voted["port-bind"] > plain["port-bind"]


def test_the_record_of_what_the_signatures_said_moves_the_odds_both_ways():
    table = likeness.table()
    assert set(table.said) <= set(table.categories)
    assert UNKNOWN in table.said
    assert all(len(row) == len(table.categories) for row in table.said.values())
    said = next(c for c in table.said if c != UNKNOWN and table.said[c][table.categories.index(c)] > 0)
    plain = likeness.probabilities({}, {}, table)
    told = likeness.probabilities({}, {}, table, rule=said)
    least = min(table.categories, key=lambda c: table.said[said][table.categories.index(c)])
    assert told[said] > plain[said]
    assert told[least] < plain[least]


def test_the_lines_beside_a_failure_are_read_and_those_far_from_it_are_not():
    quiet = "INFO 05-12 10:00:00 [a.py:1] "
    filler = "".join(f"{quiet}line {'x' * n} of the rest\n" for n in range(3, 40))
    log = f"{quiet}faraway thing\n{filler}{quiet}nearby thing\nRuntimeError: odd\n"
    found = reading([BytesIO(log.encode())]).words
    assert "i:nearby" in found
    assert "i:faraway" not in found
    assert "m:odd" in found


def test_who_raised_what_is_one_word():
    log = PLACE.format(
        path="vllm_ascend/worker/worker.py", function="init", code="raise TypeError(1)", error="TypeError: 1"
    )
    found = reading([BytesIO(("Traceback (most recent call last):\n" + log).encode())]).words
    assert {"k:TypeError|pk:vllm_ascend", "k:TypeError|worker", "k:TypeError|init", "k:TypeError|raise"} <= set(found)


def test_a_failure_that_no_signature_knows_is_answered_by_its_words_and_says_so():
    log = PLACE.format(
        path="vllm/lora/quux.py", function="activate_adapter", code="slot = self.slots.acquire(adapter)",
        error="LookupError: no slot for the lora adapter in the lora manager",
    )  # fmt: skip
    answer = diagnose_text("Traceback (most recent call last):\n" + log)
    assert answer.category == "lora"
    if answer.signature == "likeness":
        assert "lora" in answer.explanation
    assert answer.confidence <= likeness.table().ceiling


AMBIGUOUS = "Traceback (most recent call last):\n" + PLACE.format(
    path="vllm_ascend/worker/model_runner_v1.py", function="_prepare_inputs",
    code="self.drafter.prepare(common_attn_metadata)", error="IndexError: list index out of range",
)  # fmt: skip


def test_where_no_answer_is_sure_enough_the_likeliest_are_named_with_their_probability():
    answer = diagnose_text(AMBIGUOUS)
    assert answer.category == UNKNOWN
    assert len(answer.candidates) >= 2
    chances = [c.probability for c in answer.candidates]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] < likeness.table().floor
    assert sum(chances) <= 1.01
    assert answer.candidates[0].category in answer.explanation


def test_an_answer_is_its_own_first_candidate_and_a_healthy_log_has_none():
    answer = diagnose_text("ModuleNotFoundError: No module named 'triton'\n")
    assert answer.candidates[0].category == answer.category == "triton-missing"
    assert answer.candidates[0].probability == answer.confidence
    assert diagnose_text("INFO 05-12 10:00:00 [api.py:1] Application startup complete.\n").candidates == ()


def test_a_part_that_the_log_does_not_name_is_not_the_answer():
    answer = diagnose_text("RuntimeError: CUDA error: an illegal memory access was encountered\n")
    assert answer.category != "sleep-mode-race"


def test_words_without_meaning_stay_unknown():
    assert diagnose_text("ERROR 05-12 10:00:00 [x.py:1] quux frobnicates the zork\n").category == UNKNOWN


def test_a_traceback_shifted_to_the_right_is_read():
    frame = PLACE.format(
        path="torch_npu/npu/utils.py", function="set_device", code="torch_npu._C._npu_setDevice(device_id)",
        error="RuntimeError: NPU function error: c10_npu::SetDevice(device), error code is 107001",
    )  # fmt: skip
    shifted = "".join(f"  {line}\n" for line in ("Traceback (most recent call last):\n" + frame).splitlines())
    answer = diagnose_text(shifted)
    assert answer.category == "device-visibility"
    assert answer.first_cause.exception == "RuntimeError"
    assert answer.first_cause.frames[-1].function == "set_device"


def test_an_exception_in_the_spelling_of_pytest_is_read():
    text = "x/y.py:64: in test_it\n    m = load()\nE   ModuleNotFoundError: No module named 'triton'\n"
    assert diagnose_text(text).category == "triton-missing"


def test_a_wrapper_that_quotes_its_cause_is_answered_by_the_quote():
    text = (
        "RuntimeError: NPUModelRunner init failed, error is NPUModelRunner failed, error is ACLgraph has insufficient "
        "available streams to capture the configured number of sizes.\n"
    )
    assert diagnose_text(text).category == "graph-capture-failure"


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("[2025-11-25 17:59:09.908267] [240] [245] [llm] [ERROR] [executor.cpp:646] Invalid number: 0", "ERROR"),
        ("2025-12-15 09:27:56 - evalscope - ERROR: Failed to parse", "ERROR"),
        ("ERROR 2026-01-26 21:25:05 [multiproc_executor.py:822] RuntimeError: x", "ERROR"),
        ("the word ERROR in prose", ""),
    ],
)
def test_the_level_of_other_formats_is_found(line, level):
    assert parse(line).level == level


@pytest.mark.parametrize("pattern", [LOUD, PYTEST, SHIFTED, REPEATED])
@pytest.mark.parametrize("text", ["a" * 4000, " " * 4000, "a, " * 1400, "ab" * 2000, "[" * 4000, "E   " * 1000])
def test_the_patterns_are_safe(pattern, text):
    assert million_turns(lambda: pattern.search(text)) < 20
