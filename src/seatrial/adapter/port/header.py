"""The provenance of a ported file: four comment lines that say what it was copied from, and why.

In: text with or without them. Out: `Provenance`, or the text with its lines put after the licence comments at the top.
Refuses (FileFormatError): a header that is there and cannot be read, since a merge would start from the wrong file.
"""

from __future__ import annotations

import hashlib
import re

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record

FIRST = "# Ported by `seatrial port`; edit freely, `seatrial port --upgrade` merges the next version in."
_UPSTREAM = re.compile(r"^# upstream: vllm (\S+) (\S+) sha256:([0-9a-f]{64})$", re.MULTILINE)
_PLATFORM = re.compile(r"^# platform: (\S+)$", re.MULTILINE)
_REASON = re.compile(r"^# reason: (.*)$", re.MULTILINE)


class Provenance(Record):
    """`path` is the upstream file below the root of its source; `sha256` of its bytes."""

    version: str
    path: str
    sha256: str
    platform: str
    reason: str

    def lines(self) -> str:
        return (
            f"{FIRST}\n# upstream: vllm {self.version or 'unknown'} {self.path} sha256:{self.sha256}\n"
            f"# platform: {self.platform}\n# reason: {' '.join(self.reason.split())}\n"
        )


def without_reason(text: str) -> str:
    """The text with its header's reason left out: another reason is no edit."""
    return _REASON.sub("# reason:", text, count=1)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(text: str, provenance: Provenance) -> str:
    """The text with the header after its leading SPDX lines (or at the top)."""
    lines = text.splitlines(keepends=True)
    at = 0
    while at < len(lines) and (lines[at].startswith(("#!", "# SPDX-")) or "coding:" in lines[at][:30]):
        at += 1
    return "".join(lines[:at]) + provenance.lines() + "".join(lines[at:])


def find(text: str, where: str) -> Provenance | None:
    """The header of a ported file; None if it has none."""
    if FIRST not in text:
        return None
    upstream, platform, reason = _UPSTREAM.search(text), _PLATFORM.search(text), _REASON.search(text)
    if upstream is None or platform is None or reason is None:
        raise FileFormatError(f"{where}: its provenance header is damaged", mend="Restore the four lines from git.")
    return Provenance(version=upstream[1], path=upstream[2], sha256=upstream[3], platform=platform[1], reason=reason[1])
