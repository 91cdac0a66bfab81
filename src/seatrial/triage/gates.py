"""The cheap first look: which lines of a chunk are worth parsing at all.

A gate is a literal; a line without any gate is never looked at again. Searching a megabyte for twenty literals with
`bytes.find` costs less than one regular expression over it. A test holds every signature's cases against the gates.
"""

from __future__ import annotations

# Case matters; the shortest spelling that is still rare in healthy logs.
GATES = (
    b"Error",
    b"error:",
    b"error code",
    b"ERROR: ",
    b"Exception",
    b"fail",
    b"Fail",
    b"FAIL",
    b"nsupported",
    b"not support",
    b"not found",
    b"unrecognized",
    b"Traceback",
    b"signal",
    b"Killed",
    b"killed",
    b"died",
    b"Segfault",
    b"startup complete",
    b"fired up",
    b"imed out",
    b"imeout",
    b"nsufficient",
    b" diff ",
    b"not loaded",
    b"Dumping",
    b"abort",
    b"Abort",
    b"No space",
    b"NaN",
    b" nan",
    b"!!!!",
    b"bench",
    b"accuracy",
    b"serve ",
    b"launch_server",
    b"args: ",
    b"disabled",
    b"falling back",
    b"not in",
    b"OutOf",
    b"ut of memory",
    b"not match",
    b"ismatch",
    b"lease install",
    b"conflict",
    b"EZ9",
    b"EE9",
    b"EI0",
    b"E1",
    b"skip",
)


def hits(chunk: bytes) -> list[tuple[int, int]]:
    """Start and end of every line that holds a gate, in order; a line end is a newline or a carriage return."""
    starts: dict[int, int] = {}
    find = chunk.find
    rfind = chunk.rfind
    size = len(chunk)
    cr = b"\r" in chunk
    for gate in GATES:
        at = find(gate)
        while at >= 0:
            start = rfind(b"\n", 0, at) + 1
            end = find(b"\n", at)
            if end < 0:
                end = size
            if cr:
                start = max(start, rfind(b"\r", start, at) + 1)
                cut = find(b"\r", at, end)
                end = cut if cut >= 0 else end
            starts[start] = end
            at = find(gate, end)
    return sorted(starts.items())
