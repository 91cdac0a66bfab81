"""Secrets out of text that leaves the machine.

In: bytes of a line. Out: the line with each secret's value replaced by <redacted>, and how many were. It errs on the
side of taking out too much.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MARK = rb"<redacted>"
SECRET = re.compile(
    rb"(?P<bare>\bhf_[A-Za-z0-9]{8,100}|\bsk-[A-Za-z0-9_-]{12,100}|\bgh[pousr]_[A-Za-z0-9]{16,100}|\bAKIA[0-9A-Z]{12,32}|"
    rb"\beyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{4,2000}(?:\.[A-Za-z0-9_-]{0,2000})?)|"
    rb"(?P<head>(?:authorization\W{1,5}(?:bearer|basic)\s{1,3}|\bbearer\s{1,3}|"
    rb"[a-z0-9_.-]{0,40}(?:token|secret|password|passwd|api[_-]?key|"
    rb"access[_-]?key|private[_-]?key|cookie)[\"']?\s{0,3}[=:]\s{0,3}[\"']?|--(?:api-key|hf-token)[ =][\"']?))"
    rb"(?P<value>[^\s\"',;)}\]]{4,400})|"
    rb"(?P<url>://[^/\s:@]{1,80}:)(?P<pass>[^@\s/]{1,200})@",
    re.IGNORECASE,
)
# Words that follow "token:" and the like in ordinary logs.
PLAIN = re.compile(rb"(?:\d{1,12}|none|null|true|false|'?auto'?|<redacted>|\[.*|\{.*)$", re.IGNORECASE)


class Redacted(NamedTuple):
    data: bytes
    hits: int


def redact(data: bytes) -> Redacted:
    """`data` without secrets."""
    count = 0

    def put(match: re.Match[bytes]) -> bytes:
        nonlocal count
        if match["bare"] is not None:
            count += 1
            return MARK
        if match["url"] is not None:
            count += 1
            return match["url"] + MARK + b"@"
        if PLAIN.match(match["value"]):
            return match[0]
        count += 1
        return match["head"] + MARK

    return Redacted(SECRET.sub(put, data), count)
