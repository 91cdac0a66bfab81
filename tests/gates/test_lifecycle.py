"""Whoever dies, and how: seatrial, the keeper or the server; afterwards no process of the server lives."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from seatrial.core.errors import Stopped
from seatrial.gates import gate
from seatrial.gates.ports import free_port
from seatrial.gates.server import Server

PROGRAM = Path(__file__).parent / "start_and_wait.py"


def gone(alive, within_s: float = 300.0) -> bool:
    """Wait for the event "no process left"; processes that are not our children can only be watched."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        left = alive()
        if not left:
            return True
        psutil.wait_procs(left, timeout=min(0.5, max(0.01, deadline - time.monotonic())))
    return False


@pytest.fixture
def program(stand_in_target, checkpoint, tmp_path):
    """Starts the program in the background and returns once the server runs, or hangs in a request."""
    started = []

    def start(fault: str, **limits):
        stand_in_target(fault, **limits)
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(tmp_path / "seatrial.toml"), str(checkpoint), str(tmp_path / "scratch")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        awaited = "asking: text" if "hang" in fault else "waiting for the engine"
        while awaited not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("fault", ["never-ready,grandchild", "hang,grandchild", "hang,deaf"])
def test_a_signal_to_seatrial_leaves_no_process(program, alive, number, fault):
    process = program(fault, stop=1.0)
    assert alive()
    process.send_signal(number)
    assert process.wait(300) != 0
    assert gone(alive)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, lambda: Stopped(15), lambda: RuntimeError("a fault of ours")])
def test_an_exception_in_the_middle_stops_the_server(stand_in_target, engine_home, checkpoint, tmp_path, alive, kind):
    error = kind()

    def say(text):
        if text.startswith("asking"):
            assert alive()
            raise error

    with pytest.raises(type(error)):
        gate(checkpoint, stand_in_target(), python=engine_home, stage="real", scratch=tmp_path / "s", say=say)
    assert alive() == []


def test_the_death_of_the_keeper_is_noticed_and_swept_up_after(tmp_path, alive):
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
    code += "start_new_session=True); print('up', flush=True); time.sleep(600)"
    server = make_server(tmp_path, [sys.executable, "-c", code])
    with server:
        await_log(server, b"up")
        assert len(alive()) >= 2
        os.kill(server.keeper_pid, signal.SIGKILL)
        server.wait(300)
        assert not server.running
        departure = server.stop(1)
    assert departure.keeper_lost
    assert departure.left == ()
    assert gone(alive)


def test_the_exit_code_and_what_had_to_be_killed_are_told(tmp_path):
    with make_server(tmp_path, [sys.executable, "-c", "raise SystemExit(9)"]) as server:
        while server.running:
            server.wait(300)
        departure = server.stop(5)
    assert (departure.exit_code, departure.asked, departure.killed) == (9, False, 0)
    assert server.stop(5).exit_code == 9
    events = [json.loads(line)["event"] for line in (tmp_path / "keeper.jsonl").read_text().splitlines()]
    assert events == ["started", "exited", "gone"]


def test_a_detached_server_outlives_us_and_ends_with_its_keeper(tmp_path, alive):
    server = make_server(tmp_path, [sys.executable, "-c", "import time; time.sleep(600)"])
    server.start()
    server.detach()
    keeper = psutil.Process(server.keeper_pid)
    with pytest.raises(psutil.TimeoutExpired):
        keeper.wait(0.3)
    assert psutil.Process(server.pid).is_running()
    keeper.terminate()
    assert gone(alive)
    server._keeper.wait(300)


def test_start_and_kill_cycles_at_random_moments_leave_nothing(stand_in_target, engine_home, tmp_path, alive):
    """A short form of `bench/gate_cycles.py`, which does 200."""
    dice = random.Random(6)
    for cycle in range(12):
        port = free_port("127.0.0.1")
        argv = [str(engine_home.parent / "vllm"), "serve", "x", "--host", "127.0.0.1", "--port", str(port)]
        argv += ["--served-model-name", "x"]
        folder = tmp_path / str(cycle)
        folder.mkdir()
        fault = dice.choice(["", "grandchild", "deaf", "die-late"])
        with make_server(folder, argv, env={**os.environ, "STAND_IN": fault}) as server:
            server.wait(dice.uniform(0, 0.4))
            departure = server.stop(dice.choice([0.0, 0.2]))
        assert departure.left == ()
        assert not departure.keeper_lost
        # That nobody listens on the port cannot be asked: it may be another test's by now.
        assert alive() == []


def make_server(folder: Path, argv: list[str], env: dict[str, str] | None = None) -> Server:
    return Server(argv, env=env or dict(os.environ), cwd=None, log=folder / "log", folder=folder, grace_s=5)


def await_log(server: Server, word: bytes) -> None:
    deadline = time.monotonic() + 300
    while word not in (server.log.read_bytes() if server.log.exists() else b""):
        assert time.monotonic() < deadline
        server.wait(0.02)


def test_a_wait_whose_report_another_thread_closes_ends_quietly(tmp_path, monkeypatch):
    from seatrial.gates import server as module

    real = module.select.select
    watched = Server(["true"], env={}, cwd=None, log=tmp_path / "log", folder=tmp_path, grace_s=1)
    watched._report, other_end = os.pipe()

    def closed_meanwhile(*handles):
        os.close(watched._report)
        watched._report = -1
        return real(*handles)

    monkeypatch.setattr(module.select, "select", closed_meanwhile)
    watched.wait(1)
    os.close(other_end)
    assert watched._report == -1


def test_a_wait_in_the_moment_in_which_another_thread_closes_the_report_ends_quietly(tmp_path, monkeypatch):
    from seatrial.gates import server as module

    real = module.os.close
    watched = Server(["true"], env={}, cwd=None, log=tmp_path / "log", folder=tmp_path, grace_s=1)
    watched._report, other_end = os.pipe()
    os.close(other_end)
    asked = []

    def closing(handle):
        real(handle)
        if not asked:
            asked.append(handle)
            watched.wait(0)  # as a request's thread would, before this one goes on

    monkeypatch.setattr(module.os, "close", closing)
    watched.wait(1)
    assert asked
    assert watched._report == -1
