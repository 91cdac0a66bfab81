"""The change of a round as it is now: the difference of a checkout from a commit, a setting, or both.

In: a checkout and a revision, `NAME: OLD -> NEW`. Out: the loop's event and the difference itself. Refuses
(UsageError): neither of them, a folder without git, a tree that does not differ, a difference nobody can review.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from seatrial.adapter.changes.read import Changes, read_changes
from seatrial.core.errors import UsageError
from seatrial.core.record import replace
from seatrial.measure.loop.change import MOST_BYTES, diff_told, read_setting, setting_hash, told
from seatrial.measure.loop.events import Patch
from seatrial.measure.loop.state import State


class RecordedChange(NamedTuple):
    """The event, without the place of the difference in the ledger's run, and the difference (b"" for a setting)."""

    patch: Patch
    diff: bytes


def recorded_change(
    repository: Path | None, base: str, change: str, hypothesis: str, expected: str, risks: str
) -> RecordedChange:
    """The change of `repository` since `base` ("" for HEAD), and the setting `change` ("" for none)."""
    if repository is None and not change.strip():
        raise UsageError("what is the change?", mend="Give --repo CHECKOUT, or --change 'FLAG: OLD -> NEW'.")
    if repository is None and base:
        raise UsageError("--base is a commit of a checkout", mend="Give --repo CHECKOUT too.")
    setting = read_setting(change) if change.strip() else None
    words = told(setting) if setting is not None else ""
    common = Patch(diff="", change=words, hypothesis=hypothesis, expected=expected, risks=risks, setting=setting)
    if repository is None:
        return RecordedChange(replace(common, diff=setting_hash(setting) if setting is not None else ""), b"")
    found = _changes(repository, base or "HEAD")
    record, paths = found.record, tuple(f.path for f in found.record.files)
    if not paths:
        raise UsageError(
            f"nothing in {repository} differs from {base or 'HEAD'}: there is no change to measure",
            mend="Make the change; if it is committed, name the commit before it with --base.",
        )
    if nested := [path for path in paths if path.endswith("/")]:
        raise UsageError(f"{repository} holds another repository, {nested[0]}", mend="Name that one, or move it away.")
    if len(found.patch) > MOST_BYTES:
        raise UsageError(
            f"{len(found.patch)} bytes differ in {repository}, no change that anyone reviews (at most {MOST_BYTES})",
            mend="Ignore what is generated, or name a nearer commit with --base.",
        )
    code = diff_told(paths, found.patch, record.base)
    return RecordedChange(
        replace(
            common,
            diff=record.patch_sha256,
            change=f"{code}; {words}" if words else code,
            commit=record.base,
            paths=paths,
            root=record.root,
        ),
        found.patch,
    )


def present_diff(state: State, repository: Path | None) -> str:
    """The hash of the open round's change as its checkout is now; "" where the change is no code.

    `repository` None: the folder it was recorded in.
    """
    turn = state.rounds[-1] if state.rounds and state.rounds[-1].lesson is None else None
    if turn is None or not turn.patch.commit:
        if turn is not None and repository is not None:
            raise UsageError(f"the change of round {turn.number} is no code", mend="Leave out --repo.")
        return ""
    place = repository or Path(turn.patch.root)
    if repository is None and not (turn.patch.root and place.is_dir()):
        raise UsageError(
            f"the change of round {turn.number} is in a checkout that is not there: {turn.patch.root or 'unnamed'}",
            mend="Give --repo CHECKOUT.",
        )
    return _changes(place, turn.patch.commit).record.patch_sha256


def _changes(repository: Path, base: str) -> Changes:
    if not repository.is_dir():
        raise UsageError(f"{repository} is no folder", mend="Name the checkout that holds the change: --repo.")
    return read_changes(repository, base, "--base")
