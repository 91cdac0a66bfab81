"""The findings of reading and judging a profile, one function per code, so that a code has one text."""

from __future__ import annotations

from seatrial.core.finding import Finding, Severity


def torn(place: str, lost_bytes: int) -> Finding:
    lost = (
        f"; {lost_bytes} bytes of the last event could not be used" if lost_bytes else "; no event was lost in reading"
    )
    return Finding(
        code="T001",
        severity=Severity.WARNING,
        place=place,
        message=f"the file ends before its event array does (the profiler was killed, or the disk was full){lost}",
        next_step="Collect again if the end matters: seatrial profile collect --service URL",
    )


def dropped(place: str, what: str, many: int) -> Finding:
    return Finding(
        code="T002",
        severity=Severity.WARNING,
        place=place,
        message=f"{many} dropped: {what}",
        next_step="Compare the file with the profiler's own viewer; the rest was analysed.",
    )


def unknown_categories(place: str, names: list[str]) -> Finding:
    shown = ", ".join(repr(n[:60]) for n in names[:8])
    return Finding(
        code="T003",
        severity=Severity.INFO,
        place=place,
        message=f"categories that no reader here knows, left out of every table: {shown}",
    )


def broken_clock(place: str, many: int, seconds: float) -> Finding:
    return Finding(
        code="T004",
        severity=Severity.WARNING,
        place=place,
        message=f"{many} events are longer than {seconds:g} s, or that far from where most events are: set aside",
        next_step="Look at the host's clock (a jump during the capture) and at the profiler's clock source.",
    )


def wrong_unit(place: str, median_ns: int, guess: str) -> Finding:
    return Finding(
        code="T005",
        severity=Severity.WARNING,
        place=place,
        message=f"the median event lasts {median_ns:,} ns: the times look like {guess}; shares hold, times may not",
        next_step="Compare one kernel with the profiler's own viewer; convert the file if the unit is wrong.",
    )


def nothing(place: str) -> Finding:
    return Finding(
        code="T006",
        severity=Severity.ERROR,
        place=place,
        message="no event with a duration is in it, so nothing can be said",
        next_step="Collect while requests run: seatrial profile collect --service URL",
    )


def no_device(place: str) -> Finding:
    return Finding(
        code="T007",
        severity=Severity.INFO,
        place=place,
        message="no device events: the operators of the host are taken as the work (as on the CPU backend)",
    )


def missing_ranks(found: list[int], world: int) -> Finding:
    absent = sorted(set(range(world)) - set(found))
    shown = ", ".join(map(str, absent[:16])) + (", ..." if len(absent) > 16 else "")
    return Finding(
        code="T008",
        severity=Severity.WARNING,
        place=f"ranks of {world}",
        message=f"{len(absent)} of {world} ranks have no trace: {shown}; skew and the slow rank are of the others only",
        next_step="Give the folder with the traces of all ranks.",
    )


def clock_offset(rank: int, offset_ns: int, collectives: int) -> Finding:
    return Finding(
        code="T009",
        severity=Severity.INFO,
        place=f"rank {rank}",
        message=f"its clock was moved by {offset_ns:+,} ns to the first rank's (median of {collectives} collectives)",
    )


def same_rank(rank: int, sources: list[str]) -> Finding:
    return Finding(
        code="T010",
        severity=Severity.WARNING,
        place=f"rank {rank}",
        message=f"{len(sources)} traces say they are this rank: {', '.join(sources[:4])}; each is reported by itself",
        next_step="Give one capture at a time.",
    )


def uneven_collectives(name: str, counts: dict[int, int]) -> Finding:
    said = ", ".join(f"rank {rank}: {many}" for rank, many in sorted(counts.items())[:8])
    return Finding(
        code="T011",
        severity=Severity.WARNING,
        place=name,
        message=f"the ranks recorded different numbers of it ({said}); the captures do not cover the same steps",
        next_step="Start and stop the profiler on all ranks together.",
    )


def unknown_columns(place: str, columns: list[str]) -> Finding:
    return Finding(
        code="T012",
        severity=Severity.INFO,
        place=place,
        message=f"columns not used: {', '.join(columns[:24])}{', ...' if len(columns) > 24 else ''}",
    )


def unreadable(place: str, why: str) -> Finding:
    return Finding(
        code="T013",
        severity=Severity.WARNING,
        place=place,
        message=f"could not be read: {why}",
        next_step="Export it again with the profiler's own tool.",
    )


def no_steps(place: str, why: str) -> Finding:
    return Finding(
        code="T014",
        severity=Severity.INFO,
        place=place,
        message=f"steps were not found: {why}",
        next_step="Name a boundary: seatrial profile read TRACE --step-marker REGEX",
    )


def not_a_fair_pair(place: str, what: str) -> Finding:
    return Finding(
        code="T015",
        severity=Severity.WARNING,
        place=place,
        message=f"not a fair pair: {what}",
        next_step="Capture both with the same requests, batch and number of steps.",
    )


def cache_not_written(place: str, why: str) -> Finding:
    return Finding(code="T016", severity=Severity.INFO, place=place, message=f"the cache was not written: {why}")


def only_totals(place: str) -> Finding:
    return Finding(
        code="T018",
        severity=Severity.WARNING,
        place=place,
        message="only the profiler's own totals are there: no overlap, gap, step or bubble can be told from them",
        next_step="Give the folder with trace_view.json, kernel_details.csv or op_summary_*.csv too.",
    )


def totals_differ(place: str, what: str) -> Finding:
    return Finding(
        code="T019",
        severity=Severity.WARNING,
        place=place,
        message=f"the profiler's own totals are not those of the events read: {what}",
        next_step="See whether slices of the table or steps of the capture are missing; the events were analysed.",
    )


def not_read(place: str, names: tuple[str, ...]) -> Finding:
    return Finding(
        code="T020",
        severity=Severity.INFO,
        place=place,
        message=f"tables that nothing here reads: {', '.join(names[:16])}{', ...' if len(names) > 16 else ''}",
    )


def left_out(place: str) -> Finding:
    return Finding(
        code="T017",
        severity=Severity.INFO,
        place=place,
        message="no event with a duration is in it (an API server's own trace has none): left out beside the others",
    )
