"""A key the server is started with: it is used, and it is nowhere but in the raw log."""

from __future__ import annotations

import pytest

from seatrial.core.errors import EngineError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import to_json
from seatrial.core.secrets import secret_values
from seatrial.core.verdict import Verdict
from seatrial.gates import gate
from seatrial.gates.facts import Milestone
from seatrial.gates.matrix import matrix
from seatrial.gates.veil import Veil
from seatrial.measure.load.service import started

KEY = "bosuns-whistle-7731"


@pytest.fixture
def run(stand_in_target, engine_home, checkpoint, tmp_path, alive):
    def go(fault="", what=gate, **more):
        extra = ("--api-key", KEY)
        result = what(
            checkpoint,
            stand_in_target(fault),
            python=engine_home,
            stage="real",
            scratch=tmp_path / "scratch",
            extra_args=extra,
            **more,
        )
        assert alive() == []
        return result

    return go


def test_a_server_that_wants_a_key_gets_it(run):
    result = run()
    assert result.outcome.verdict is Verdict.PASS, result.outcome.reason
    assert KEY.encode() not in to_json(result)
    assert any("<redacted>" in word for command in result.commands for word in command.argv)


def test_a_key_the_engine_prints_stays_in_the_raw_log_only_and_that_is_said(run, tmp_path):
    result = run("secret,error-500")
    assert result.facts.ending == "false-ready"
    log = tmp_path / "scratch" / "real" / "server.log"
    assert KEY in log.read_text()
    assert "non-default args" in result.facts.first_error.text
    assert KEY.encode() not in to_json(result)
    assert any("the raw log is kept" in note for note in result.facts.notes)


def test_the_matrix_quotes_no_key_as_evidence(run):
    assert KEY.encode() not in to_json(run("secret", matrix, only=("streaming", "chunked-prefill")))


def test_a_service_that_does_not_come_up_is_told_without_the_key(
    stand_in_target, engine_home, checkpoint, tmp_path, alive
):
    target = stand_in_target("secret,die-at-start")
    more = {"python": engine_home, "scratch": tmp_path / "scratch", "extra_args": ("--api-key", KEY)}
    with pytest.raises(EngineError) as raised, started(checkpoint, target, **more):
        pass
    assert "non-default args" in raised.value.message
    assert KEY not in raised.value.message
    assert alive() == []


def test_values_of_secret_flags_and_variables_are_known():
    argv = ("vllm", "--api-key", "first-key", "second-key", "--port", "8000", "--hf-token=third-key")
    assert secret_values(argv, {"MY_PASSWORD": "fourth-key", "HOME": "/root", "API_KEY": "1"}) == {
        "first-key", "second-key", "third-key", "fourth-key",
    }  # fmt: skip


def test_a_password_spelled_like_one_of_our_own_words_spoils_no_record():
    veil = Veil((), {"DB_PASSWORD": "second"})
    seen = veil.record(Milestone(name="second", at_s=1.0, note="the second one"))
    assert (seen.name, seen.note) == ("second", "the <redacted> one")
    finding = Finding(code="G101", severity=Severity.ERROR, place="second", message="m", next_step="n")
    assert (veil.record(finding).place, veil.record(finding).severity) == ("<redacted>", Severity.ERROR)
