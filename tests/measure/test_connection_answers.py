"""Answers that are no HTTP end as lost with the reason; none makes the connection raise."""

from __future__ import annotations

import pytest

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


def answered(data):
    connection, seen = Connection(), Seen()
    connection.send(b"", seen)
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
