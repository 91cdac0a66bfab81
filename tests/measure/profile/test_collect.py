"""Collecting, with a stand-in for the server: a capture that is not whole is inconclusive and says why."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from seatrial.core.errors import UsageError
from seatrial.core.verdict import Verdict
from seatrial.measure.profile import collect as module
from seatrial.measure.profile.collect import Workload, address, collect, judged
from seatrial.measure.profile.msprof_plan import attach_plan
from seatrial.measure.profile.whole import faults

STEP = "execute_context_0(0)_generation_1(1)"


@pytest.fixture
def service(write, tmp_path, monkeypatch):
    """A server with a profiler; `fault` changes one thing about it."""
    monkeypatch.setattr(module, "SETTLED_S", 0.05)
    monkeypatch.setattr(module, "POLL_S", 0.01)
    started = []

    def make(fault=""):
        folder = tmp_path / "traces"
        folder.mkdir()
        calls = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self, status, body):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

            def do_GET(self):
                if self.path == "/v1/models":
                    self.answer(200, {"data": [{"id": "m"}]})
                else:
                    self.answer(200, {"paths": {} if fault == "no-profiler" else {"/start_profile": {}}})

            def do_POST(self):
                calls.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path == "/v1/completions" and fault == "fails" and "/start_profile" in calls:
                    self.answer(500, {"error": "no"})
                    return
                if self.path == "/stop_profile" and fault != "no-trace":
                    events = [(STEP, "user_annotation", 1, 1, 1000, 500), ("aten::mm", "cpu_op", 1, 1, 1100, 100)]
                    events = events[1:] if fault == "no-steps" else events
                    write(events, name="traces/w.pt.trace.json", cut=-40 if fault == "torn" else None)
                self.answer(200, {})

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_port}", folder, calls

    yield make
    for server in started:
        server.shutdown()
        server.server_close()


def run(url, folder, **options):
    from pathlib import Path

    capture = collect(url, folder, Workload(**{"trace_s": 300, "request_s": 300, **options}))
    return judged(capture, faults([Path(t) for t in capture.traces]) if capture.traces else [])


def test_warm_up_lies_before_the_window_and_the_workload_within(service):
    url, folder, calls = service()
    capture = run(url, folder, warmup=2, requests=3)
    assert capture.outcome.verdict is Verdict.PASS, capture.reasons
    assert calls == ["/v1/completions"] * 2 + ["/start_profile"] + ["/v1/completions"] * 3 + ["/stop_profile"]
    assert (capture.profiler_attached, capture.answered, len(capture.traces)) == (True, 3, 1)


@pytest.mark.parametrize(
    ("fault", "reason", "attached"),
    [
        ("no-profiler", "without a profiler", False),
        ("fails", "HTTP 500", True),
        ("no-trace", "no new trace", True),
        ("torn", "T001", True),
        ("no-steps", "no engine step", True),
    ],
)
def test_a_capture_that_is_not_whole_is_inconclusive_and_says_why(service, fault, reason, attached):
    url, folder, calls = service(fault)
    capture = run(url, folder, trace_s=0.5 if fault == "no-trace" else 300)
    assert capture.outcome.verdict is Verdict.INCONCLUSIVE
    assert reason in capture.outcome.reason
    assert capture.profiler_attached is attached
    assert ("/stop_profile" in calls) is attached


def test_a_service_that_does_not_answer_is_inconclusive(tmp_path):
    capture = collect("http://127.0.0.1:9", tmp_path, Workload())
    assert capture.outcome.verdict is Verdict.INCONCLUSIVE
    assert "refused" in capture.outcome.reason


@pytest.mark.parametrize("text", ["ftp://x:1", "http://x", "http://:80", "http://x:99999999"])
def test_an_address_that_cannot_be_right_is_refused(text):
    with pytest.raises(UsageError):
        address(text)


def test_the_attach_plan_says_what_is_not_met_for_this_very_process(tmp_path):
    plan = attach_plan(os.getpid(), tmp_path)
    mode = next(p for p in plan.preconditions if p.name == "PROFILING_MODE")
    assert mode.met is False
    assert plan.outcome.verdict is Verdict.INCONCLUSIVE
    assert f"--pid={os.getpid()}" in plan.commands[0].argv
    with pytest.raises(UsageError):
        attach_plan(2**22 + 5, tmp_path)
