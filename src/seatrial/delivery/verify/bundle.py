"""Verify whatever a reviewer was handed: a run's folder, a workspace, a bundle, or a tar archive of one of them."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seatrial import __version__
from seatrial.core.errors import FileFormatError, SeatrialError, UsageError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record, from_json
from seatrial.core.verdict import Verdict, combine
from seatrial.delivery.check.bundle_rules import bundle as bundle_rules
from seatrial.delivery.check.bundle_rules import readable_benches, readable_scores
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.figures import numbers_of
from seatrial.delivery.order import Delivered
from seatrial.delivery.verify.common import note
from seatrial.delivery.verify.rederive import Checked, rederive, run_folders
from seatrial.evidence import Run, verify_run

LARGEST_ARCHIVE = 4 << 30
MOST_MEMBERS = 100_000


class Verified(Record):
    """One run. `records` and `artifacts` were hashed, `derived` verdicts were derived again.

    `checked` says for each step from what, or that only its hash was checked.
    """

    run_id: str
    kind: str
    verdict: Verdict
    records: int
    artifacts: int
    derived: int
    findings: tuple[Finding, ...]
    checked: tuple[Checked, ...] = ()


class Verification(Record):
    verdict: Verdict
    runs: tuple[Verified, ...]
    findings: tuple[Finding, ...] = ()


def verify_bundle(place: Path) -> Verification:
    """Raises UsageError if there is nothing to verify at `place`."""
    with _opened(place) as folder:
        delivered = _delivered(folder)
        folders = run_folders(folder)
        if not folders and delivered is not None:
            names = [delivered.run_id, *(a.run_id for a in (*delivered.accuracy, *delivered.benches))]
            places = [folder.parent.parent / "runs" / name for name in names]
            folders = [f for f in places if (f / "manifest.json").is_file() and not f.is_symlink()]
        if not folders:
            raise UsageError(f"no run is in {place}", mend="Name a run's folder, a workspace, a bundle or an archive.")
        runs = tuple(_one(f) for f in folders)
        more: list[Finding] = []
        if delivered is not None:
            mine = next((f for f in folders if f.name == delivered.run_id), None)
            if mine is None:
                raise UsageError(
                    f"the run {delivered.run_id} of the bundle is not there", mend="Keep its folder beside the bundle."
                )
            view = EvidenceView(Run.read(mine))
            numbers = numbers_of(view, readable_scores(folder, delivered), readable_benches(folder, delivered))
            more = list(bundle_rules(folder, delivered, view, numbers))
    failed = any(f.severity is Severity.ERROR for f in more)
    verdict = combine([*(r.verdict for r in runs), *([Verdict.FAIL] if failed else [])])
    return Verification(verdict=verdict, runs=runs, findings=tuple(more))


def _one(folder: Path) -> Verified:
    whole = verify_run(folder)
    found = list(whole.findings)
    derived, kind = 0, "unknown"
    checked: tuple[Checked, ...] = ()
    if whole.verdict is not Verdict.INCONCLUSIVE:
        try:
            run = Run.read(folder)
            again = rederive(EvidenceView(run))
            derived, kind, checked = again.count, again.kind, again.checked
            found += again.findings
            made = run.manifest.seatrial_version
            if made != __version__ and any(f.severity is Severity.ERROR for f in again.findings):
                why = f"it was made by seatrial {made}: its rules may be others than those of {__version__}"
                found.append(note(folder.name, why))
        except SeatrialError as exc:
            why = f"the run cannot be read: {exc.message}"
            found.append(
                Finding(code="Y201", severity=Severity.ERROR, place=folder.name, message=why, next_step="Ask again.")
            )
    if not derived and not found:
        found.append(note(folder.name, "nothing is recorded in it, so nothing is proven"))
    failed = any(f.severity is Severity.ERROR for f in found)
    verdict = Verdict.FAIL if failed else Verdict.PASS if derived else Verdict.INCONCLUSIVE
    return Verified(
        run_id=folder.name,
        kind=kind,
        verdict=verdict,
        records=whole.records,
        artifacts=whole.artifacts,
        derived=derived,
        findings=tuple(found),
        checked=checked,
    )


def _delivered(folder: Path) -> Delivered | None:
    file = folder / "delivery.json"
    return from_json(Delivered, file.read_bytes(), where=str(file)) if file.is_file() else None


@contextmanager
def _opened(place: Path) -> Iterator[Path]:
    """The folder itself, or an archive unpacked with bounds: no links, no devices, nothing outside of it."""
    if place.is_dir():
        yield place.absolute()
        return
    if not place.is_file():
        raise UsageError(f"{place} is not there", mend="Name a run's folder, a workspace, a bundle or an archive.")
    with tempfile.TemporaryDirectory(prefix="seatrial-verify-") as name:
        try:
            with tarfile.open(place) as archive:
                _unpack(archive, Path(name))
        except (tarfile.TarError, EOFError, OSError, ValueError) as exc:  # ValueError: a name with a NUL
            raise FileFormatError(f"{place} cannot be unpacked: {exc}", mend="Name a tar archive of a run.") from exc
        inner = [f for f in Path(name).iterdir() if f.is_dir()]
        yield inner[0] if len(inner) == 1 and not (Path(name) / "runs").is_dir() else Path(name)


def _unpack(archive: tarfile.TarFile, folder: Path) -> None:
    size = 0
    for number, member in enumerate(archive):
        size += member.size
        if number >= MOST_MEMBERS or size > LARGEST_ARCHIVE:
            raise FileFormatError("the archive is larger than any run", mend="Unpack it yourself and name the folder.")
        target = (folder / member.name).resolve()
        if not (member.isfile() or member.isdir()) or folder.resolve() not in [target, *target.parents]:
            raise FileFormatError(f"the archive holds {member.name!r}, which is no plain file inside it")
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        source = archive.extractfile(member)
        if source is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as out:
                while chunk := source.read(1 << 20):
                    out.write(chunk)
