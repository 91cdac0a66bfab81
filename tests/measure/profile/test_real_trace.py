"""The real trace: Qwen3-MoE decoding on vLLM's CPU backend, three requests of seven tokens."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict

import pytest

from seatrial.measure.profile.analyse import analyse
from seatrial.measure.profile.open import open_traces


@pytest.fixture(scope="module")
def real(shared_data):
    return shared_data / "traces" / "vllm-cpu-qwen3moe-decode.pt.trace.json.gz"


def key_averages(path):
    """Self CPU time per operator as torch counts it: durations less those of direct children, with a plain stack."""
    with gzip.open(path) as stream:
        events = json.load(stream)["traceEvents"]
    calls = [e for e in events if e.get("cat") in {"cpu_op", "user_annotation"}]
    calls.sort(key=lambda e: (e["tid"], e["ts"], -e["dur"]))
    own = defaultdict(float)
    stack = []
    for e in calls:
        while stack and (stack[-1]["tid"] != e["tid"] or stack[-1]["ts"] + stack[-1]["dur"] <= e["ts"]):
            stack.pop()
        own[e["name"]] += e["dur"]
        if stack:
            own[stack[-1]["name"]] -= e["dur"]
        stack.append(e)
    return own


def test_steps_and_top_operators_are_those_of_the_real_trace(real):
    report = analyse(open_traces([real], use_cache=False), top=100)
    (rank,) = report.ranks
    assert (rank.pipeline.steps, rank.pipeline.empty_steps) == (96, 3)
    assert {p.phase: p.steps for p in rank.pipeline.phases} == {"decode": 93, "prefill": 3}
    assert rank.pipeline.bubbles[0].pairs == 95
    expected = key_averages(real)
    top = sorted(expected, key=expected.get, reverse=True)[:12]
    assert [r.name for r in rank.operators][:12] == top
    for row in rank.operators:
        assert row.self_ns / 1000 == pytest.approx(expected[row.name], abs=0.5 + 0.002 * row.calls)
    embeddings = next(r for r in rank.operators if r.name == "aten::embedding")
    assert embeddings.calls == 96
