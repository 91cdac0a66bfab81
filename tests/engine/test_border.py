"""The border: whatever happens in the engine's interpreter comes back as a reply."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from seatrial.core.errors import EngineError
from seatrial.engine import border
from seatrial.engine.border import ProbeSession


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A session whose probes are the test's own files, run by this Python."""
    probes = tmp_path / "probes"
    probes.mkdir()
    (probes / "_harness.py").write_bytes((border.PROBES / "_harness.py").read_bytes())
    monkeypatch.setattr(border, "PROBES", probes)

    def make(name: str, body: str) -> None:
        (probes / f"{name}.py").write_text(body)

    with ProbeSession(Path(sys.executable), log=tmp_path / "probe.log") as running:
        running.make = make  # type: ignore[attr-defined]
        yield running


def test_an_answer_and_progress_come_back_and_prints_stay_in_the_log(session):
    session.make("echo", "def probe(r, p):\n    print('noise')\n    p('half way')\n    return {'got': r}\n")
    seen: list[str] = []
    reply = session.call("echo", {"a": [1, None, "ü"]}, progress=seen.append)
    assert (reply.status, reply.answer, seen) == ("answered", {"got": {"a": [1, None, "ü"]}}, ["half way"])
    session.close()
    assert "noise" in Path(reply.log).read_text()


def test_the_interpreter_is_started_once_for_several_calls(session):
    session.make("pid", "import os\ndef probe(r, p): return os.getpid()\n")
    assert session.call("pid", {}).answer == session.call("pid", {}).answer


def test_an_exception_is_a_reply_with_its_traceback(session):
    session.make("bad", "def probe(r, p):\n    raise KeyError('layers.3')\n")
    reply = session.call("bad", {})
    assert reply.status == "raised"
    assert reply.trouble() == "KeyError: 'layers.3'"
    assert "bad.py" in reply.error.traceback


def test_a_death_by_signal_is_a_reply_and_the_next_call_starts_afresh(session):
    session.make("die", "import os, signal\ndef probe(r, p): os.kill(os.getpid(), signal.SIGSEGV)\n")
    session.make("ok", "def probe(r, p): return 1\n")
    reply = session.call("die", {})
    assert (reply.status, reply.exit_code) == ("crashed", -11)
    assert "SIGSEGV" in reply.trouble()
    assert session.call("ok", {}).answer == 1


def test_a_quiet_exit_is_a_crash_with_its_code_even_if_a_child_keeps_the_channel_open(session):
    session.make(
        "quit",
        "import os, time\ndef probe(r, p):\n    if os.fork() == 0:\n        time.sleep(3600)\n    os._exit(7)\n",
    )
    # Whoever waits for the end of the channel waits for the time limit, and says so.
    reply = session.call("quit", {}, timeout_s=300)
    assert (reply.status, reply.exit_code) == ("crashed", 7)


def test_a_hang_is_stopped_at_its_time_limit_with_all_its_children(session):
    session.make(
        "hang",
        "import subprocess, sys, time\ndef probe(r, p):\n"
        "    c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])\n"
        "    p(str(c.pid))\n    time.sleep(3600)\n",
    )
    pids: list[str] = []
    for limit in (1.5, 15, 150):  # until it is enough for the child to be started and told of
        reply = session.call("hang", {}, timeout_s=limit, progress=pids.append)
        assert reply.status == "timed-out"
        if pids:
            break
    if psutil.pid_exists(int(pids[0])):
        child = psutil.Process(int(pids[0]))
        assert child.status() == psutil.STATUS_ZOMBIE or child.wait(300) is None


def test_an_interpreter_that_does_not_exist_is_an_error_with_a_mend(tmp_path):
    with (
        pytest.raises(EngineError) as caught,
        ProbeSession(tmp_path / "no" / "python", log=tmp_path / "l") as running,
    ):
        running.call("identity", {})
    assert "engine install" in caught.value.one_line()
