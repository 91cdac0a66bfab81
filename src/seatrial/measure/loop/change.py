"""The change of a round as data: a setting that differs, or the difference of a checkout from a commit.

In: `NAME: OLD -> NEW`; two setups of a comparison; a stored difference. Out: `Setting`; in words, what does not fit.
Refuses (UsageError) words that name no setting: what cannot be held against a run is no change.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from seatrial.core.errors import UsageError
from seatrial.measure.compare.setup import Fact, Setup
from seatrial.measure.loop.events import Patch, Setting

ARROW = re.compile(r"\s*(?P<name>[^\s:]+)\s*:\s*(?P<before>.*?)\s*->\s*(?P<after>.*?)\s*")
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
UNSET = "unset"
# A file's part of a difference begins so; the lines of its content begin with a blank, a sign or a length.
PART = re.compile(rb"^diff --git ", re.M)
# Nobody reviews more than this in one round.
MOST_BYTES = 8 << 20


def read_setting(text: str) -> Setting:
    """`max-num-seqs: 1 -> 4`, `HCCL_OP_EXPANSION_MODE: unset -> AIV`; a flag unless it is spelled like a variable."""
    found = ARROW.fullmatch(text)
    name = found["name"] if found else ""
    before, after = (None if found[k] == UNSET else found[k] for k in ("before", "after")) if found else (None, None)
    if not found or before == "" or after == "" or before == after:
        raise UsageError(
            f"{text.strip()!r} is no setting that changes",
            mend="Give --change 'FLAG: OLD -> NEW' ('unset' for none); for code --repo CHECKOUT; why: --hypothesis.",
        )
    if name.startswith(("flag.", "env.")):
        field = name
    elif VARIABLE.fullmatch(name):
        field = f"env.{name}"
    else:
        field = f"flag.{name.lstrip('-').replace('_', '-')}"
    return Setting(field=field, before=before, after=after)


def told(setting: Setting) -> str:
    """The setting on one line, as it is given."""
    before, after = (UNSET if v is None else v for v in (setting.before, setting.after))
    return f"{setting.field.partition('.')[2]}: {before} -> {after}"


def setting_hash(setting: Setting) -> str:
    """SHA-256 (hex) of the setting's full name and both values."""
    return hashlib.sha256(f"{setting.field}\0{setting.before!r}\0{setting.after!r}".encode()).hexdigest()


def not_before(setting: Setting, standing: Setup) -> str:
    """Why the setting does not begin at what stands; "" where it does, or where nothing says (a service by its URL)."""
    value, flags = standing.get(setting.field), any(n.startswith("flag.") for n in standing.facts)
    if (value is None and not flags) or _same(value, setting.before):
        return ""
    return f"{setting.field} is {_shown(value)} there, not {setting.before or UNSET}"


def not_compared(patch: Patch, a: Setup, b: Setup) -> str:
    """Why the comparison of B with A is not one of this change; "" where it is.

    A recorded setting must be what differs. Any other flag that differs is a second change; variables are too, unless
    the change is one of code, whose sides are told apart by them (PYTHONPATH).
    """
    setting = patch.setting
    if setting is not None:
        for side, wanted in ((a, setting.before), (b, setting.after)):
            if not _same(side.get(setting.field), wanted):
                value = _shown(side.get(setting.field))
                return f"{setting.field} is {value} on the side {side.label}, not {wanted or UNSET}"
    if setting is None and patch.file is None:
        return ""  # Recorded in words, as versions before this one did: nothing to hold it against.
    studied = ("flag.",) if patch.file is not None else ("flag.", "env.")
    for name in sorted({*a.facts, *b.facts}):
        if name.startswith(studied) and (setting is None or name != setting.field) and a.get(name) != b.get(name):
            return f"{name} differs too ({_shown(a.get(name))} and {_shown(b.get(name))}), which is no part of it"
    return ""


def diff_faults(patch: Patch, data: bytes | None) -> list[str]:
    """What the record of a change says otherwise than the change itself; `data`: the stored difference."""
    if patch.file is None:
        if patch.setting is None:
            return []
        return [] if patch.diff == setting_hash(patch.setting) else ["its hash is not that of its setting"]
    if data is None:
        return ["its stored difference is not there"]
    found = []
    if hashlib.sha256(data).hexdigest() != patch.diff:
        found.append(
            f"its hash is {patch.diff[:12]}, the stored difference has {hashlib.sha256(data).hexdigest()[:12]}"
        )
    if (parts := len(PART.findall(data))) != len(patch.paths):
        found.append(f"it names {len(patch.paths)} paths, the stored difference has {parts} files")
    return found


def diff_told(paths: Sequence[str], data: bytes, commit: str) -> str:
    """`2 files, +10 -3 since 1a2b3c4d5e6f: a.py, b.py`."""
    added = removed = 0
    for line in data.split(b"\n"):
        added += line.startswith(b"+") and not line.startswith(b"+++ ")
        removed += line.startswith(b"-") and not line.startswith(b"--- ")
    named = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
    return f"{len(paths)} file{'s' * (len(paths) != 1)}, +{added} -{removed} since {commit[:12]}: {named}"


def _same(value: Fact, said: str | None) -> bool:
    return value is said if value is None or said is None else _shown(value) == said


def _shown(value: Fact) -> str:
    return UNSET if value is None else str(value).lower() if isinstance(value, bool) else str(value)
