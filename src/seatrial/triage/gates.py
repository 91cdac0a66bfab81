"""The cheap first look: which lines of a chunk are worth parsing at all.

A gate is a literal; a line without any gate is never looked at again. Searching a megabyte for twenty literals with
`bytes.find` costs less than one regular expression over it. A test holds every signature's cases against the gates.
"""

from __future__ import annotations

# Case matters; the shortest spelling that is still rare in healthy logs.
GATES = (
    b"rror",
    b"ERROR: ",
    b"xception",
    b"fail",
    b"Failed",
    b"support",
    b" not ",
    b"missing",
    b"illed",
    b" died",
    b"Segfault",
    b" signal",
    b"bort",
    b"imed out",
    b"imes out",
    b"imeout",
    b"No space",
    b"shared memory",
    b"capture",
    b"ncompatible",
    b"invalid",
    b"Available KV",
    b", skip",
    b"startup complete",
    b"fired up",
    b"POST /sleep",
    b"POST /wake",
    b"fall asleep",
    b"to bind",
    b"get attribute",
    b"_blocks > 0",
    b"EZ",
    b"terminate called",
    b"panicked at",
    b"core dumped",
    b"egmentation fault",
    b"SIG",
    b"xit",
)


def with_newlines(chunk: bytes) -> bytes:
    """The chunk with each carriage return as a newline: the same places, and one search finds where a line ends."""
    return chunk.replace(b"\r", b"\n") if b"\r" in chunk else chunk


def hits(chunk: bytes) -> list[tuple[int, int]]:
    """Start and end of every line that holds a gate, in order; a line end is a newline or a carriage return."""
    starts: dict[int, int] = {}
    chunk = with_newlines(chunk)
    find = chunk.find
    rfind = chunk.rfind
    size = len(chunk)
    for gate in GATES:
        at = find(gate)
        while at >= 0:
            start = rfind(b"\n", 0, at) + 1
            end = find(b"\n", at)
            if end < 0:
                end = size
            starts[start] = end
            at = find(gate, end)
    return sorted(starts.items())


# An error that no gate knows is not passed over, but most lines of a failing server are of this level.
LOUD = (b"ERROR ", b"CRITICAL ", b"FATAL ", b"\nE")
MOST = 40


def loud(chunk: bytes) -> list[tuple[int, int]]:
    """Start and end of the first MOST lines of each level of error, glog's letter among them."""
    found: dict[int, int] = {}
    chunk = with_newlines(chunk)
    for mark in LOUD:
        at = chunk.find(mark)
        for _ in range(MOST):
            if at < 0:
                break
            at += mark[:1] == b"\n"
            start = chunk.rfind(b"\n", 0, at) + 1
            end = chunk.find(b"\n", at)
            end = len(chunk) if end < 0 else end
            if mark[:1] != b"\n" or chunk[start + 1 : start + 5].isdigit():
                found[start] = end
            at = chunk.find(mark, end)
    return sorted(found.items())
