"""The door for files: what each path is, which reader takes it, and whether the cache answers first."""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import SeatrialError, UsageError
from seatrial.core.finding import Finding
from seatrial.measure.profile import cache, codes
from seatrial.measure.profile.events import Trace
from seatrial.measure.profile.normalise import normalise
from seatrial.measure.profile.readers import chrome, kineto
from seatrial.measure.profile.readers.find import Source, find
from seatrial.measure.profile.thresholds import Thresholds, load_thresholds

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
                mend="Known: *.trace.json[.gz], trace_view.json, kernel_details.csv, op_summary_*.csv, msprof_*.db.",
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
    full = [t for t in traces if len(t.events)]
    if full and len(full) < len(traces):
        # vLLM's API server writes a trace of its own beside the workers', and it holds nothing.
        broken += [codes.left_out(t.sources[0]) for t in traces if not len(t.events)]
        traces = full
    traces[0].findings.extend(broken)
    return traces


def _open(source: Source, use_cache: bool, limits: Thresholds, processes: int | None) -> Trace:
    path = source.path
    worth = use_cache and path.is_file() and path.stat().st_size >= CACHE_FROM
    trace = cache.load(path) if worth else None
    if trace is None:
        trace = _read(source, processes)
        if worth:
            try:
                cache.save(trace, path)
            except OSError as exc:
                trace.findings.append(codes.cache_not_written(str(path), exc.strerror or str(exc)))
    return normalise(trace, limits.sanity)


def _read(source: Source, processes: int | None) -> Trace:
    path = source.path
    if source.kind == "chrome":
        return kineto.to_trace(chrome.read(path, processes=processes), path)
    if source.kind == "tables":
        from seatrial.measure.profile.readers import tables

        return tables.read(path)
    from seatrial.measure.profile.readers import msprof_db

    return msprof_db.read(path)
