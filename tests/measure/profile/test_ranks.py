"""Clock offsets, missing and doubled ranks, the slow rank and why."""

from __future__ import annotations

T0 = 5_000_000_000


def rank_events(offset=0, slow=0, idle=0, steps=20):
    """Compute, then an all-reduce that ends together on all ranks; a slow rank computes (or idles) longer."""
    events = []
    for i in range(steps):
        begin = T0 + i * 10_000
        compute = 2000 + slow
        arrive = begin + compute + idle
        events.append(("gemm", "kernel", 0, 7, begin + idle + offset, compute))
        events.append(("ncclDevKernel_AllReduce_Sum_bf16", "kernel", 0, 20, arrive + offset, begin + 8000 - arrive))
    return events


def reports(write, answer, *ranks, world=None):
    paths = [
        write(events, name=f"r{i}/rank{i}.pt.trace.json", rank=i, world=world or len(ranks))
        for i, events in enumerate(ranks)
    ]
    return answer(*paths)


def test_clocks_are_aligned_at_the_collectives(write, answer):
    report = reports(write, answer, rank_events(), rank_events(offset=7_000_000_000), rank_events(offset=-3_000_000))
    assert [r.offset_ns for r in report.ranks] == [0, -7_000_000_000, 3_000_000]
    assert [f.code for f in report.findings].count("T009") == 2
    assert report.across.slow_rank is None
    assert all(r.late_longest_ns == 0 for r in report.across.rows)


def test_the_slow_rank_is_named_with_its_reason(write, answer):
    report = reports(write, answer, rank_events(), rank_events(slow=3000, offset=5_000_000), rank_events())
    across = report.across
    assert (across.slow_rank, across.because, across.matched) == (1, "compute", 20)
    assert across.rows[1].late_longest_ns == 3000
    report = reports(write, answer, rank_events(), rank_events(), rank_events(idle=2500))
    assert (report.across.slow_rank, report.across.because) == (2, "host")


def test_missing_and_doubled_ranks_are_said_and_the_rest_analysed(write, answer):
    report = reports(write, answer, rank_events(), rank_events(), world=4)
    assert "T008" in {f.code for f in report.findings}
    assert len(report.ranks) == 2
    one, two = (write(rank_events(), name=f"{n}.pt.trace.json", rank=0, world=1) for n in "ab")
    report = answer(one, two)
    assert "T010" in {f.code for f in report.findings}


def test_uneven_numbers_of_collectives_are_said(write, answer):
    report = reports(write, answer, rank_events(), rank_events(steps=15))
    assert "T011" in {f.code for f in report.findings}
    assert report.across.matched == 15


def test_an_empty_trace_beside_others_is_left_out_and_said(write, answer):
    full = write(rank_events(), name="all/rank0.pt.trace.json")
    write([], name="all/async_llm.pt.trace.json")
    report = answer(full.parent)
    assert len(report.ranks) == 1
    assert [f.code for f in report.findings] == ["T017", "T014"]


def test_one_broken_file_of_a_folder_does_not_hide_the_others(write, answer):
    good = write(rank_events(), name="all/rank0.pt.trace.json", rank=0, world=2)
    (good.parent / "rank1.pt.trace.json").write_text("not json at all")
    report = answer(good.parent)
    assert {"T013"} <= {f.code for f in report.findings}
    assert len(report.ranks) == 1
