"""Steps, bubbles with known gaps, self times against a plain stack, fuse patterns, dispatch."""

from __future__ import annotations

import random

import numpy as np
import pytest
from tests.cost import million_turns

from seatrial.measure.profile.fuse_catalogue import PATTERNS, letter_of
from seatrial.measure.profile.nesting import innermost, nest

T0 = 5_000_000_000


def decode_trace(chance, steps=40, streams=(7, 9)):
    """Steps of kernels on two streams with known gaps between; the host's annotations launch ahead of the device."""
    events, gaps = [], {s: [] for s in streams}
    at = dict.fromkeys(streams, T0 + 50000)
    host, link = T0, 0
    for step in range(steps):
        phase = "execute_context_1(7)_generation_0(0)" if step == 0 else "execute_context_0(0)_generation_2(2)"
        events.append((phase, "user_annotation", 1, 1, host, 900))
        for i in range(chance.randrange(1, 6)):
            stream = streams[i % len(streams)] if step and i else streams[0]
            link += 1
            first = not any(e[3] == stream and e[0].startswith("k") and e[6] == step for e in events if len(e) > 6)
            gap = chance.choice([0, 1, 777, 5000]) if first else chance.randrange(50)
            if first and any(True for e in events if len(e) > 6 and e[3] == stream):
                gaps[stream].append(gap)
            start = at[stream] + gap
            dur = chance.randrange(1, 3000)
            at[stream] = start + dur
            events.append((f"k{i}", "kernel", 0, stream, start, dur, step, link))
            events.append(("cudaLaunchKernel", "cuda_runtime", 1, 1, host + 10 + i * 100, 50, step, link))
        host += 1000
    out = [e[:6] if len(e) == 6 else (*e[:6], {"correlation": e[7]}) for e in events]
    return out, gaps


@pytest.mark.parametrize("seed", range(25))
def test_bubbles_of_generated_steps_are_found_exactly_and_none_is_dropped(write, answer, seed):
    events, gaps = decode_trace(random.Random(seed))
    random.Random(seed).shuffle(events)
    pipeline = answer(write(events)).ranks[0].pipeline
    assert pipeline.steps == 40
    assert {p.phase: p.steps for p in pipeline.phases} == {"prefill": 1, "decode": 39}
    found = {b.stream: b for b in pipeline.bubbles}
    for stream, known in gaps.items():
        if known:
            row = found[f"device 0 stream {stream}"]
            assert (row.pairs, row.total_ns) == (len(known), sum(known))
            assert (row.least_ns, row.longest_ns) == (min(known), max(known))


def test_a_chosen_boundary_pairs_one_to_one_and_counts_the_unpaired(write, answer):
    events = []
    for i in range(10):
        events.append(("ArgMaxV2", "kernel", 0, 7, T0 + i * 10_000, 1000))
        if i != 4:
            events.append(("MODEL_EXECUTE", "kernel", 0, 7, T0 + i * 10_000 + 1500 + i, 2000))
    pipeline = answer(write(events), boundary=("ArgMax", "MODEL_EXECUTE")).ranks[0].pipeline
    (row,) = pipeline.bubbles
    assert (row.pairs, row.unpaired) == (9, 1)
    assert row.total_ns == sum(500 + i for i in range(10) if i != 4)


def test_steps_without_annotations_are_cut_at_the_sampler(write, answer):
    events = []
    for i in range(12):
        attention = "PromptFlashAttention" if i == 0 else "IncreFlashAttention"
        for j, name in enumerate(["MatMulV3", attention, "MatMulV3", "ArgMaxV2"]):
            events.append((name, "kernel", 0, 7, T0 + i * 10_000 + j * 1000, 900))
    pipeline = answer(write(events)).ranks[0].pipeline
    assert {p.phase: p.steps for p in pipeline.phases} == {"prefill": 1, "decode": 11}
    assert "ArgMaxV2" in pipeline.how
    (row,) = pipeline.bubbles
    assert (row.pairs, row.total_ns) == (11, 11 * (10_000 - 3900))


def test_empty_steps_are_counted_apart(write, answer):
    names = ["execute_context_1(7)_generation_0(0)", "execute_context_0(0)_generation_1(1)"]
    names += [
        "execute_context_0(0)_generation_0(0)",
        "execute_context_2(sq64sk64sqsq4sqsk4)_generation_3(sq3sk9sqsq1sqsk9)",
    ]
    events = [(n, "user_annotation", 1, 1, T0 + i * 1000, 500) for i, n in enumerate(names)]
    events += [("aten::mm", "cpu_op", 1, 1, T0 + i * 1000 + 10, 100) for i in range(4)]
    pipeline = answer(write(events)).ranks[0].pipeline
    assert (pipeline.steps, pipeline.empty_steps) == (3, 1)
    last = pipeline.first_steps[-1]
    assert (last.phase, last.context_requests, last.context_tokens, last.generation_tokens) == ("mixed", 2, 64, 3)


def test_what_the_host_did_in_a_bubble_is_by_time_covered(write, answer):
    events = [
        ("execute_context_0(0)_generation_1(1)", "user_annotation", 1, 1, T0 + i * 10_000, 2000) for i in range(2)
    ]
    events += [("mm", "kernel", 0, 7, T0 + i * 10_000 + 100, 1900) for i in range(2)]
    # One long call and a hundred short ones within the 8,100 ns of the gap.
    events.append(("aten::item", "cpu_op", 1, 1, T0 + 2500, 5000))
    events += [("aten::tiny", "cpu_op", 1, 1, T0 + 3000 + i * 20, 10) for i in range(100)]
    (row,) = answer(write(events)).ranks[0].pipeline.bubbles
    assert row.total_ns == 8100
    assert {d.name: d.ns for d in row.host} == {"aten::item": 4000, "aten::tiny": 1000, "(nothing recorded)": 3100}


def by_stack(events):
    """Self times of properly nested calls, the plain way: a stack."""
    own = [d for _, d in events]
    stack = []
    for i in sorted(range(len(events)), key=lambda i: (events[i][0], -events[i][1], i)):
        start, dur = events[i]
        while stack and events[stack[-1]][0] + events[stack[-1]][1] <= start:
            stack.pop()
        if stack and dur:
            own[stack[-1]] -= dur
        if dur:
            stack.append(i)
    return own


def nested(chance, low, high, depth, out):
    at = low
    while at < high and len(out) < 400:
        start = chance.randrange(at, high + 1)
        end = chance.randrange(start, high + 1)
        out.append((start, end - start))
        if depth and end - start > 2:
            nested(chance, start, end, depth - 1, out)
        at = end + chance.randrange(1, 9)


@pytest.mark.parametrize("seed", range(30))
def test_self_times_and_innermost_stretches_equal_those_of_a_stack(seed):
    chance = random.Random(seed)
    events: list[tuple[int, int]] = []
    nested(chance, 0, 3000, 5, events)
    events = list(dict.fromkeys(events))
    chance.shuffle(events)
    start, dur = np.array([s for s, _ in events], np.int64), np.array([d for _, d in events], np.int64)
    found = nest(start, dur, np.zeros(len(events), np.int32))
    assert found.self_ns.tolist() == by_stack(events)
    stretches = innermost(start, dur, found)
    per_row = np.zeros(len(events), np.int64)
    np.add.at(per_row, stretches.row, stretches.end - stretches.start)
    assert per_row.tolist() == by_stack(events)
    assert (stretches.start[1:] >= stretches.end[:-1]).all()


@pytest.mark.parametrize(
    ("pattern", "case"), [(p, c) for p in PATTERNS for c in p.cases], ids=lambda x: getattr(x, "name", "")
)
def test_every_fuse_pattern_is_found_in_its_own_chain_and_not_across_a_gap(write, answer, pattern, case):
    events = [(n, "kernel", 0, 7, T0 + i * 1000, 900) for i, n in enumerate(case)]
    rows = answer(write(events)).ranks[0].devices[0].fuse
    mine = [r for r in rows if r.pattern == pattern.name]
    assert [r.found for r in mine] == [1], (rows, [letter_of(n) for n in case])
    assert mine[0].held_ns == len(case) * 1000 - 100
    apart = [(n, "kernel", 0, 7, T0 + i * 1_000_000, 900) for i, n in enumerate(case)]
    assert answer(write(apart)).ranks[0].devices[0].fuse == ()


def test_queues_and_host_bound_idle_time_come_from_the_launches(write, answer):
    events = [
        ("cudaLaunchKernel", "cuda_runtime", 1, 1, T0, 100, {"correlation": 1}),
        ("gemm", "kernel", 0, 7, T0 + 300, 700, {"correlation": 1}),
        # Launched at 2000, starts at 2500: of the 1,500 idle ns, 400 had a kernel waiting.
        ("cudaLaunchKernel", "cuda_runtime", 1, 1, T0 + 2000, 100, {"correlation": 2}),
        ("gemm", "kernel", 0, 7, T0 + 2500, 500, {"correlation": 2}),
        ("cudaStreamSynchronize", "cuda_runtime", 1, 1, T0 + 2600, 400, {"correlation": 3}),
    ]
    dispatch = answer(write(events)).ranks[0].devices[0].dispatch
    assert (dispatch.linked_launches, dispatch.queued_median_ns, dispatch.queued_longest_ns) == (2, 300, 400)
    assert dispatch.host_bound_share == pytest.approx(1100 / 1500)
    assert (dispatch.eager_launches, dispatch.sync_calls, dispatch.sync_ns) == (2, 1, 400)


def test_the_bottleneck_class_comes_with_its_figures(write, answer):
    busy = [("gemm", "kernel", 0, 7, T0 + i * 1000, 1000) for i in range(20)]
    idle = [("gemm", "kernel", 0, 7, T0 + i * 1000, 300) for i in range(20)]
    talk = [("gemm", "kernel", 0, 7, T0, 8000), ("ncclAllReduce", "kernel", 0, 20, T0 + 7000, 3000)]
    kinds = [answer(write(e)).ranks[0].devices[0].bottleneck for e in (busy, idle, talk)]
    assert [k.kind for k in kinds] == ["compute", "host", "communication"]
    assert {m.name: round(m.value, 3) for m in kinds[1].measures}["host"] == round(1 - 6000 / 19300, 3)


def test_calls_that_only_overlap_cost_no_square():
    n = 60_000
    found = []
    made = np.arange(n, dtype=np.int64), np.full(n, 10**6, np.int64), np.zeros(n, np.int32)
    # Looking through all rows at every level would take minutes.
    assert million_turns(lambda: found.append(nest(*made))) < 600
    assert int(found[0].depth.max()) == n - 1
