"""A free port stays free for the server it was found for."""

from __future__ import annotations

import contextlib
import socket
import struct

import pytest

from seatrial.gates import ports

LOCAL_PORT_RANGE = 51  # IP_LOCAL_PORT_RANGE, Linux 6.3: which ports the kernel may choose for this socket


def choosing_from(port: int) -> socket.socket:
    """A socket for which the kernel can choose this port only."""
    chooser = socket.socket()
    try:
        chooser.setsockopt(socket.IPPROTO_IP, LOCAL_PORT_RANGE, struct.pack("=I", port << 16 | port))
    except OSError:
        chooser.close()
        pytest.skip("this kernel takes no range of ports for a single socket")
    return chooser


def test_a_port_found_for_a_server_is_given_to_no_listener_and_no_connection_meanwhile():
    port = ports.free_port("127.0.0.1")
    with choosing_from(port) as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", 0))
    with (
        socket.create_server(("127.0.0.1", 0)) as elsewhere,
        choosing_from(port) as other,
        pytest.raises(OSError, match="assign"),
    ):
        other.connect(elsewhere.getsockname())


def test_the_server_itself_gets_its_port_and_what_is_said_of_it_is_true():
    port = ports.free_port("127.0.0.1")
    ports.demand_free("127.0.0.1", port)
    assert not ports.listens("127.0.0.1", port, 60)
    with socket.create_server(("127.0.0.1", port)):
        assert ports.listens("127.0.0.1", port, 60)
    ports.demand_free("127.0.0.1", port)


def test_no_more_ports_are_held_than_are_needed(monkeypatch):
    monkeypatch.setattr(ports, "HELD", type(ports.HELD)())
    monkeypatch.setattr(ports, "MOST_HELD", 3)
    found = [ports.free_port("127.0.0.1") for _ in range(5)]
    assert [held.getsockname()[1] for held in ports.HELD] == found[-3:]
    with contextlib.ExitStack() as stack:
        for held in ports.HELD:
            stack.enter_context(held)
