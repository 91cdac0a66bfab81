"""Failures that nobody knew become candidates: their files, their patterns, and the tests written beside them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner
from tests.cost import million_turns

from seatrial.cli.triage import command
from seatrial.core.errors import UsageError
from seatrial.triage import Library, diagnose, library
from seatrial.triage.learn import fingerprint, learn

KNOWN = "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB\n"


STRANGE = (
    'Traceback (most recent call last):\n  File "/a/b.py", line 3, in go\n    x()\nQuuxError: frob 12 of /m/x failed\n'
)


def run(*args, **more):
    return CliRunner().invoke(command, args, catch_exceptions=False, **more)


def test_learning_writes_a_candidate_and_a_test_that_fails_until_it_is_taken_over(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(STRANGE)
    made = learn(log, category="kernel-limit", cause="c", fix="f", into=tmp_path / "out")
    failing = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(made.test_file)], capture_output=True, text=True, cwd=tmp_path
    )
    assert failing.returncode == 1, failing.stdout
    scope: dict = {}
    exec(made.signature_file.read_text(), scope)
    from seatrial.triage.signature import Library
    from seatrial.triage.signatures import library

    grown = Library((*library().signatures, *scope["SIGNATURES"]))
    other = tmp_path / "other.log"
    other.write_text(STRANGE.replace("12", "977").replace("/m/x", "/n/y"))
    assert diagnose([other], signatures=grown).category == "kernel-limit"


def test_a_bare_assertion_is_learned_by_its_place_and_never_without_one(tmp_path):
    frame = '  File "/x/site-packages/quux/ops/conv.py", line 88, in update\n    assert (batch,) == indices.shape\n'
    log = tmp_path / "a.log"
    log.write_text("Traceback (most recent call last):\n" + frame + "AssertionError\n")
    made = learn(log, category="kernel-limit", cause="c", fix="f", into=tmp_path / "out")
    scope: dict[str, object] = {}
    exec(made.signature_file.read_text(), scope)
    (candidate,) = scope["SIGNATURES"]
    known = Library((candidate,))
    assert diagnose([log], signatures=known).category == "kernel-limit"
    log.write_text("Traceback (most recent call last):\n" + frame.replace("update", "forward") + "AssertionError\n")
    assert diagnose([log], signatures=known).category == "unknown"
    log.write_text("AssertionError\n")
    with pytest.raises(UsageError, match="too little"):
        learn(log, category="kernel-limit", cause="c", fix="f", into=tmp_path / "out")


PYTHON_SAYS = """Traceback (most recent call last):
  File "/x/site-packages/vllm_ascend/sample/sampler.py", line 88, in apply_top_k
    torch.ops._C_ascend.{name}(x)
  File "/x/site-packages/torch/_ops.py", line 88, in __getattr__
    raise AttributeError(
AttributeError: '_OpNamespace' '_C_ascend' object has no attribute '{name}'
"""


@pytest.mark.parametrize(
    ("log", "category"),
    [
        (STRANGE, "lora"),
        (PYTHON_SAYS.format(name="npu_zork_quux"), "dependency-conflict"),
        ("vllm serve: error: argument --zork-config/-zc: 1 validation error for ZorkConfig\n", "config-validation"),
        (KNOWN, "kernel-limit"),  # the library says otherwise: the person knows better
    ],
)
def test_the_written_test_passes_once_the_candidate_is_taken_over_and_fails_before(
    tmp_path, monkeypatch, log, category
):
    (tmp_path / "a.log").write_text(log)
    made = learn(tmp_path / "a.log", category=category, cause="c", fix="f", into=tmp_path / "out")
    scope: dict = {}
    exec(made.signature_file.read_text(), scope)
    exec(made.test_file.read_text(), scope)
    written = scope["test_the_learned_failure_gets_its_category"]
    with pytest.raises(AssertionError):
        written()
    grown = Library((*library().signatures, *scope["SIGNATURES"]))
    monkeypatch.setattr("seatrial.triage.library", lambda: grown)
    written()
    answer = diagnose([tmp_path / "a.log"])
    assert (answer.category, answer.next_step) == (category, "f")
    assert 0 < answer.confidence < 0.93  # a person's word, not the table's


def test_what_python_says_of_any_code_is_learned_with_its_names_and_its_place(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(PYTHON_SAYS.format(name="npu_zork_quux"))
    made = learn(log, category="dependency-conflict", cause="c", fix="f", into=tmp_path / "out")
    scope: dict = {}
    exec(made.signature_file.read_text(), scope)
    known = Library(scope["SIGNATURES"])
    assert diagnose([log], signatures=known).category == "dependency-conflict"
    log.write_text(PYTHON_SAYS.format(name="npu_other"))
    assert diagnose([log], signatures=known).category == "unknown"
    log.write_text(PYTHON_SAYS.format(name="npu_zork_quux").replace("sampler.py", "other.py"))
    assert diagnose([log], signatures=known).category == "unknown"
    log.write_text("IndexError: list index out of range\n")
    with pytest.raises(UsageError, match="too little"):
        learn(log, category="lora", cause="c", fix="f", into=tmp_path / "out")


def test_a_log_with_a_hostile_name_and_a_secret_in_its_failure_makes_plain_files(tmp_path):
    log = tmp_path / 'x""";raise SystemExit(9)#\\.log'
    log.write_text("RuntimeError: the zork at https://me:hunter2@host refused the token=abcdef123456 of the quux\n")
    made = learn(log, category="network-offline-hub", cause='"""', fix="it's\\", into=tmp_path / "out")
    scope: dict = {}
    for file in made:
        text = file.read_text()
        assert "hunter2" not in text
        assert "abcdef123456" not in text
        exec(text, scope)
    assert scope["SIGNATURES"][0].cause == '"""'


def test_a_candidate_is_never_written_over_nor_without_words_nor_as_a_traceback(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(STRANGE)
    words = {"category": "lora", "cause": "c", "fix": "f"}
    made = learn(log, **words, into=tmp_path / "out")
    assert learn(log, **words, into=tmp_path / "out") == made
    made.signature_file.write_text(made.signature_file.read_text() + "# reviewed\n")
    with pytest.raises(UsageError, match="there already"):
        learn(log, **words, into=tmp_path / "out")
    assert made.signature_file.read_text().endswith("# reviewed\n")
    with pytest.raises(UsageError, match="cannot be written"):
        learn(log, **words, into=log / "below-a-file")
    with pytest.raises(UsageError, match="a cause and a fix"):
        learn(log, category="lora", cause=" ", fix="f", into=tmp_path / "other")


def test_nothing_is_learned_from_what_is_known_or_healthy(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(KNOWN)
    with pytest.raises(UsageError, match="already answered"):
        learn(log, category="hbm-oom", cause="c", fix="f", into=tmp_path)
    with pytest.raises(UsageError, match="is not a category"):
        learn(log, category="nonsense", cause="c", fix="f", into=tmp_path)
    log.write_text("INFO 05-12 10:00:00 [a.py:1] fine\n")
    with pytest.raises(UsageError, match="no failure"):
        learn(log, category="lora", cause="c", fix="f", into=tmp_path)


def test_a_fingerprint_frees_numbers_paths_and_names():
    import re

    pattern = re.compile(fingerprint("ValueError: got 12 heads in /a/b for 'x'"))
    assert pattern.search("ValueError: got 9 heads in /c for 'yy'")
    assert not pattern.search("ValueError: got 9 tails in /c for 'yy'")


FREED = {
    "list": ("RuntimeError: The size [1, 2, 3, 4, 5, 6, 7] mismatch", "RuntimeError: The size [" + "1, " * 60 + "] ok"),
    "words": ("shape 1 2 3 4 5 6 7 8 9 bad value", "shape " + "1 2 3 4 5 6 7 8 9 " * 5 + "good"),
    "repeated": (
        "RuntimeError: got 1 and 2 and 3 and 4 and 5 and 6 bad heads",
        "RuntimeError: got " + "1 and " * 600 + "good heads",
    ),
    "alike": ("aaa 1 aaa 2 aaa 3 aaa 4 aaa 5 zork", "aaa " * 1000),
    "leading": ("17 of 18 and 19 of 20 kernels zork", "17 of 18 and " * 300),
}


@pytest.mark.parametrize("case", FREED)
def test_a_fingerprint_is_searched_in_little_time_where_it_is_almost_met(case):
    import re

    text, near = FREED[case]
    pattern = re.compile(fingerprint(text))
    assert pattern.search(text)
    assert pattern.search(re.sub(r"\d", "88", text))
    assert million_turns(lambda: pattern.search(near)) < 5
    assert pattern.pattern.count(".{1,200}?") <= 3


@pytest.mark.parametrize(
    "text",
    [
        "ValueError: " + ", ".join(map(str, range(200))) + " tail words",
        "ValueError: size 0x3f of\n 12 kernels",
        "ValueError: bad 'one\ntwo' name",
    ],
    ids=["long", "lines", "quoted"],
)
def test_a_fingerprint_meets_the_text_it_was_made_of(text):
    import re

    assert re.search(fingerprint(text), text)
    assert fingerprint(text).startswith("ValueError: ")


def test_a_message_of_which_too_little_is_the_same_each_time_is_not_learned_by_its_words(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("QuuxError: a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8 i 9 j 10 k 11 l 12 m 13\n")
    with pytest.raises(UsageError, match="too little"):
        learn(log, category="kernel-limit", cause="c", fix="f", into=tmp_path / "out")
