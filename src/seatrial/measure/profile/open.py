"""The door for files: what each path is, which reader takes it, and whether the cache answers first."""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import FileFormatError, SeatrialError, UsageError
from seatrial.core.finding import Finding
from seatrial.measure.profile import cache, codes
from seatrial.measure.profile.events import Trace, empty_table
from seatrial.measure.profile.normalise import normalise
from seatrial.measure.profile.readers import chrome, kineto
from seatrial.measure.profile.readers.find import Source, find, rank_of
from seatrial.measure.profile.thresholds import Thresholds, load_thresholds
from seatrial.measure.profile.vendor import READERS
from seatrial.measure.profile.vendor.tables import VendorTables

# Below this a trace is read faster than its cache is worth.
CACHE_FROM = 8 << 20


def open_traces(
    paths: list[Path], *, use_cache: bool = True, limits: Thresholds | None = None, processes: int | None = None
) -> list[Trace]:
    """Every trace found in the files and folders, one per rank or file.

    A file of a folder that cannot be read is a finding (T013) of the others; if nothing at all could be read, the
    first error is raised. Raises UsageError for a path that does not exist or holds no profile.
    """
    chosen = limits or load_thresholds()
    sources: list[Source] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist", mend="Name a trace file or a profiler's output folder.")
        found = find(path)
        if not found:
            raise UsageError(
                f"{path} holds no profile that a reader here knows",
                mend="See docs/profile.md for the files of torch, torch_npu and msprof that are read.",
            )
        sources += [s for s in found if s not in sources]
    traces: list[Trace] = []
    broken: list[Finding] = []
    first: SeatrialError | None = None
    for source in sources:
        try:
            traces.append(_open(source, use_cache, chosen, processes))
        except SeatrialError as exc:
            first = first or exc
            broken.append(codes.unreadable(str(source.path), exc.one_line()))
        except OSError as exc:
            first = first or SeatrialError(f"{source.path}: {exc}")
            broken.append(codes.unreadable(str(source.path), str(exc)))
    if not traces:
        raise first or UsageError("no trace was given", mend="Name a trace file or folder.")
    empty = [t for t in traces if not len(t.events) and t.vendor is None]
    if empty and len(empty) < len(traces):
        # vLLM's API server writes a trace of its own beside the workers', and it holds nothing.
        broken += [codes.left_out(t.sources[0]) for t in empty]
        traces = [t for t in traces if len(t.events) or t.vendor is not None]
    traces[0].findings.extend(broken)
    return traces


def _open(source: Source, use_cache: bool, limits: Thresholds, processes: int | None) -> Trace:
    path = source.path
    if source.kind == "totals":
        return _totals_alone(source)
    worth = use_cache and path.is_file() and path.stat().st_size >= CACHE_FROM
    trace = cache.load(path) if worth else None
    if trace is None:
        trace = _read(source, processes)
        if worth:
            try:
                cache.save(trace, path)
            except OSError as exc:
                trace.findings.append(codes.cache_not_written(str(path), exc.strerror or str(exc)))
    if source.unread:
        trace.findings.append(codes.not_read(str(path.parent if path.is_file() else path), source.unread))
    trace.vendor = _totals(source, trace.findings)
    return normalise(trace, limits.sanity)


def _totals_alone(source: Source) -> Trace:
    """A rank of which only the profiler's own sums are there; raises FileFormatError if none of them can be read."""
    findings: list[Finding] = []
    tables = _totals(source, findings)
    if tables is None:
        raise FileFormatError("; ".join(f"{f.place} {f.message}" for f in findings) or f"{source.path}: no table")
    findings.append(codes.only_totals(str(source.path)))
    if source.unread:
        findings.append(codes.not_read(str(source.path), source.unread))
    return Trace(
        events=empty_table(),
        sources=tables.sources,
        layout="ascend totals",
        rank=rank_of(source.totals[0]),
        findings=findings,
        vendor=tables,
    )


def _totals(source: Source, findings: list[Finding]) -> VendorTables | None:
    """The profiler's own sums beside a source; None if there are none, a finding for each that cannot be read."""
    tables = VendorTables()
    for file in source.totals:
        reader = next(r for r in READERS if r.name.search(file.name))
        try:
            tables = reader.read(file, tables)
        except (SeatrialError, OSError) as exc:
            why = exc.one_line() if isinstance(exc, SeatrialError) else str(exc)
            findings.append(codes.unreadable(str(file), why))
    return tables if tables.sources else None


def _read(source: Source, processes: int | None) -> Trace:
    path = source.path
    if source.kind == "chrome":
        return kineto.to_trace(chrome.read(path, processes=processes), path)
    if source.kind == "tables":
        from seatrial.measure.profile.readers import tables

        return tables.read(path)
    from seatrial.measure.profile.readers import msprof_db

    return msprof_db.read(path)
