"""Every fault a server can have, through the whole gate, with the stand-in; no process and no port is ever left."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from tests.cost import loop_s, million_turns

from seatrial.core.collector import without_collector
from seatrial.core.errors import EngineError, WorkspaceError
from seatrial.core.verdict import Verdict
from seatrial.gates import gate
from seatrial.gates.readiness import POLL_S
from seatrial.targets import Target


@pytest.fixture
def run(stand_in_target, engine_home, checkpoint, tmp_path, alive):
    def go(fault: str = "", *, stage="real", multimodal=False, **limits):
        target: Target = stand_in_target(fault, **limits)
        result = gate(
            checkpoint, target, python=engine_home, stage=stage, scratch=tmp_path / "scratch", multimodal=multimodal
        )
        assert alive() == []
        assert result.facts.processes_left == ()
        assert result.facts.port_free_after
        return result

    return go


def codes(result) -> list[str]:
    return [f.code for f in result.findings]


def test_a_good_server_passes_with_its_evidence(run):
    result = run()
    facts = result.facts
    assert (result.step, result.outcome.verdict, facts.ending) == ("real", Verdict.PASS, "ready")
    assert [m.name for m in facts.milestones] == [
        "started", "port-open", "healthy", "model-listed", "text", "second", "alive", "ended",
    ]  # fmt: skip
    assert [m.at_s for m in facts.milestones] == sorted(m.at_s for m in facts.milestones)
    first = facts.requests[0]
    assert (first.name, first.status, first.text) == ("text", 200, "aye, aye, captain! All well.")
    assert facts.server_pid in facts.engine_pids
    assert (facts.stopped_by, facts.exit_code) == ("asked", 0)
    assert result.findings == ()
    names = {a.name: Path(a.path) for a in result.attachments}
    assert {"server.log", "models.json", "request-text.json", "response-second.json"} <= set(names)
    assert json.loads(names["request-text.json"].read_bytes())["temperature"] == 0
    assert json.loads(names["models.json"].read_bytes())["data"][0]["id"] == "tiny-model"


def test_the_command_by_hand_is_the_command_that_ran(run):
    result = run(stage="dummy")
    line = result.commands[0].shell()
    assert "--load-format dummy" in line
    assert f"--port {result.facts.port}" in line
    assert "bin/vllm serve " in line
    assert "SEATRIAL" not in line
    assert result.step == "dummy"
    assert any(c.argv[0] == "curl" for c in result.commands[1:])


def test_readiness_is_noticed_at_the_first_look_after_it_at_little_cost(run, monkeypatch):
    """A look comes every POLL_S seconds; how late the machine lets it come is not for a test to say."""
    monkeypatch.setattr("seatrial.gates.readiness.CALL_S", 300.0)
    with without_collector():
        result = run("slow-start=1.5")
    facts = result.facts
    log = Path(next(a.path for a in result.attachments if a.name == "server.log")).read_text()
    ready_at = float(log.split("READY AT ")[1].split()[0])
    # Both clocks are CLOCK_MONOTONIC: the keeper's report of the start, and the stand-in's own word.
    events = [json.loads(line) for line in (Path(facts.cwd).parent / "keeper.jsonl").read_text().splitlines()]
    noticed = events[0]["t"] + facts.ready_s
    assert noticed >= ready_at
    assert POLL_S <= 0.25
    # No look at a server that was ready was in vain.
    asked = [line.split('"')[1].split()[1] for line in log.split('"POST ')[0].splitlines() if '"GET ' in line]
    assert asked == ["/health", "/v1/models"]
    looks = facts.waited_s / POLL_S + 5
    assert facts.seatrial_cpu_s / loop_s() < 0.5 * looks


def test_seatrial_itself_takes_little_time(run):
    assert million_turns(run) < 40


@pytest.mark.parametrize(
    ("fault", "ending", "words"),
    [
        ("die-at-start", "died", "with exit code 7"),
        ("die-late", "died", "SIGABRT"),
        ("traceback", "died", "KeyError: 'layers.3.mlp.gate.e_score_correction_bias'"),
        ("wrong-model", "wrong-model", "something-else, not tiny-model"),
        ("error-500", "false-ready", "EngineCore encountered an issue"),
        ("bad-request", "request-refused", "no chat template"),
        ("crash-on-request", "false-ready", "SIGSEGV"),
        ("crash-after=2", "false-ready", "with exit code 3 after the last request"),
        ("cut", "false-ready", "cut"),
        ("garbage", "false-ready", "without an answer"),
        ("huge", "false-ready", "too-large"),
        ("empty", "bad-output", "text is empty"),
        ("nan", "bad-output", "not numbers"),
        ("nan-refused", "bad-output", "not numbers"),
    ],
)
def test_a_fault_fails_the_gate_with_its_own_ending(run, fault, ending, words):
    result = run(fault)
    assert (result.outcome.verdict, result.facts.ending) == (Verdict.FAIL, ending)
    assert words in result.outcome.reason
    assert ("false-ready" in result.outcome.reason) == (ending == "false-ready")


@pytest.mark.parametrize(
    ("fault", "limits", "ending", "words"),
    [
        ("never-ready", {"ready": 0.8}, "never-ready", "not ready within {} s: nobody accepts connections"),
        ("health-503", {"ready": 0.8}, "never-ready", "not ready within {} s: /health: HTTP 503"),
        ("models-hang", {"ready": 0.8}, "never-ready", "not ready within {} s: /v1/models: no complete answer"),
        ("silent", {"stuck": 0.8}, "stuck", "no line in the log"),
        ("hang", {"request": 0.7}, "false-ready", "no complete answer within"),
        ("half-open", {"request": 0.7}, "false-ready", "no complete answer within"),
    ],
)
def test_a_limit_ends_the_waiting(run, fault, limits, ending, words):
    # A machine may be too slow for the stand-in to get as far as its fault within the limit: then with a longer one.
    for factor in (1, 5, 25, 125):
        longer = {name: value * factor for name, value in limits.items()}
        result = run(fault, **longer)
        told = words.format(*(f"{value:.0f}" for value in longer.values()))
        if result.facts.ending == ending and told in result.outcome.reason:
            break
    assert (result.outcome.verdict, result.facts.ending) == (Verdict.FAIL, ending)
    assert told in result.outcome.reason


def test_a_silent_engine_that_computes_is_not_stuck(run):
    result = run("busy", stuck=3.0, ready=4.0)
    assert result.facts.ending == "never-ready"


def test_a_server_without_a_health_page_can_pass(run):
    result = run("no-health")
    assert result.outcome.verdict is Verdict.PASS
    assert next(m.note for m in result.facts.milestones if m.name == "healthy") == "the server has no /health"


def test_an_image_is_asked_of_a_multimodal_model_only(run):
    result = run("no-image", multimodal=True)
    assert result.facts.ending == "false-ready"
    assert "image request failed" in result.outcome.reason
    assert run("no-image").outcome.verdict is Verdict.PASS
    assert [q.name for q in run(multimodal=True).facts.requests] == ["text", "image", "second"]


@pytest.mark.parametrize(("fault", "code"), [("repeat", "G102"), ("replacement", "G103")])
def test_strange_text_is_a_warning(run, fault, code):
    result = run(fault)
    assert result.outcome.verdict is Verdict.PASS
    assert set(codes(result)) == {code}


def test_dummy_weights_may_answer_nothing(run):
    result = run("empty", stage="dummy")
    assert result.outcome.verdict is Verdict.PASS
    assert set(codes(result)) == {"G101"}


def test_a_server_that_ignores_the_request_to_end_is_killed_and_reported(run):
    result = run("deaf,grandchild", stop=0.5)
    assert result.outcome.verdict is Verdict.PASS
    assert result.facts.stopped_by == "killed"
    assert result.facts.exit_code == -9
    assert codes(result) == ["G202"]


def test_a_daemon_that_the_server_leaves_behind_is_ended_too(run):
    result = run("grandchild,die-at-start")
    assert result.facts.ending == "died"


def test_a_flood_of_log_lines_is_kept_whole_and_read_in_passing(run):
    result = run("flood")
    assert result.outcome.verdict is Verdict.PASS
    log = Path(next(a.path for a in result.attachments if a.name == "server.log"))
    assert log.stat().st_size > 3_000_000
    # What was not looked at may have held the line of a plugin that failed: the facts say so.
    assert any("came too fast to be read" in note for note in result.facts.notes)


def test_a_taken_port_is_refused_before_anything_starts(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(EngineError, match=f"port {port} on 127.0.0.1 is already taken by process") as caught:
            run(port=port)
    assert "serve.port" in caught.value.one_line()
    assert not (tmp_path / "scratch").exists()


def test_a_command_that_cannot_run_is_an_error_of_the_environment(run, engine_home):
    (engine_home.parent / "vllm").write_text("#!/nowhere/python\n")
    with pytest.raises(EngineError, match=r"cannot be started.*No such file"):
        run()


def test_a_scratch_folder_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "scratch").write_text("in the way")
    with pytest.raises(WorkspaceError, match="scratch"):
        run()


def test_log_probabilities_that_were_asked_for_and_did_not_come_are_said(run):
    result = run("no-logprobs")
    assert result.facts.ending == "ready"
    (finding,) = [f for f in result.findings if f.code == "G106"]
    assert finding.place == "second request"
    assert not [f for f in run("").findings if f.code == "G106"]
