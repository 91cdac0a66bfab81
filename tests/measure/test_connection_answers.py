"""An answer's bytes: cut into any pieces they read the same; what is no HTTP is lost with the reason, never raises."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.measure.load.connection import Connection


class Seen:
    def __init__(self):
        self.said = []

    def head(self, status, is_stream):
        self.said.append(("head", status))

    def body(self, data, at):
        self.said.append(("body", data))

    def ended(self, at):
        self.said.append(("ended",))

    def lost(self, reason, at, *, is_stale):
        self.said.append(("lost", reason))


class Transport:
    def __init__(self):
        self.closed = False

    def write(self, data): ...

    def abort(self):
        self.closed = True

    def is_closing(self):
        return self.closed


def begun():
    """A connection that waits for its answer, and who sees it."""
    connection, seen = Connection(), Seen()
    connection.connection_made(Transport())
    connection.send(b"", seen)
    return connection, seen


def answered(data):
    connection, seen = begun()
    connection.data_received(data)
    return seen.said


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 " + b"2" * 5000 + b" OK\r\n\r\n", "which is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "content-length reads"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "content-length reads"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", "a chunk's length is negative"),
    ],
)
def test_numbers_that_are_none_end_the_answer_with_the_reason(data, why):
    *_, last = answered(data)
    assert last[0] == "lost"
    assert why in last[1]


def test_an_answer_of_a_stated_length_is_given_whole():
    assert answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") == [("head", 200), ("body", b"ok"), ("ended",)]


ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
)


@given(st.lists(st.integers(0, len(ANSWER)), max_size=12))
def test_an_answer_cut_into_any_pieces_reads_the_same(cuts):
    edges = sorted({0, len(ANSWER), *cuts})
    connection, waiting = begun()
    for start, end in pairwise(edges):
        connection.data_received(ANSWER[start:end])
    assert waiting.said[0] == ("head", 200)
    assert b"".join(s[1] for s in waiting.said if s[0] == "body") == b"hello world"
    assert waiting.said[-1] == ("ended",)


@given(st.binary(max_size=300))
def test_bytes_that_are_not_http_end_or_wait_but_never_raise(data):
    connection, waiting = begun()
    connection.data_received(data)
    connection.connection_lost(None)
    assert waiting.said
    assert waiting.said[-1][0] in ("ended", "lost")
