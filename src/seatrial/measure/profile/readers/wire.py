"""What an event looks like in Chrome JSON, typed for msgspec, so that decoding touches only what is read.

Two shapes of the same: `Event` reads times as floats, `TextEvent` keeps them as text, for clocks that a float64 cannot
hold. Anything that fits neither is read untyped and judged field by field (`odd`).
"""

from __future__ import annotations

from typing import Any

import msgspec


class Args(msgspec.Struct, gc=False):
    """The arguments that mean something here. Absent ones keep values that no profiler writes."""

    correlation: int = -1
    connection: Any = msgspec.field(default=None, name="connection_id")
    shapes: Any = msgspec.field(default=None, name="Input Dims")
    name: Any = None
    labels: Any = None
    allocated: Any = msgspec.field(default=None, name="Total Allocated")
    reserved: Any = msgspec.field(default=None, name="Total Reserved")
    device: Any = msgspec.field(default=None, name="Device Id")


class Event(msgspec.Struct, gc=False):
    ph: str = ""
    cat: str = ""
    name: str = ""
    pid: int | str = ""
    tid: int | str = ""
    ts: float | None = None
    dur: float = 0.0
    args: Args | None = None


class TextEvent(msgspec.Struct, gc=False):
    ph: str = ""
    cat: str = ""
    name: str = ""
    pid: int | str = ""
    tid: int | str = ""
    ts: msgspec.Raw = msgspec.Raw(b"")
    dur: msgspec.Raw = msgspec.Raw(b"0")
    args: Args | None = None


EVENTS = msgspec.json.Decoder(list[Event])
TEXT_EVENTS = msgspec.json.Decoder(list[TextEvent])


def odd(element: Any) -> TextEvent | None:
    """An element that did not fit the types, with what can be used of it; None if nothing can."""
    if not isinstance(element, dict):
        return None

    def text(key: str) -> str:
        value = element.get(key)
        return value if isinstance(value, str) else ""

    def ident(key: str) -> int | str:
        value = element.get(key)
        return value if isinstance(value, (int, str)) and not isinstance(value, bool) else str(value)

    def number(key: str, default: bytes) -> msgspec.Raw:
        value = element.get(key)
        usable = isinstance(value, (int, float, str)) and not isinstance(value, bool)
        return msgspec.Raw(str(value).encode("utf-8", "replace") if usable else default)

    found = element.get("args")
    args = None
    if isinstance(found, dict):
        correlation = found.get("correlation")
        whole = isinstance(correlation, int) and abs(correlation) < 1 << 62
        args = Args(
            correlation=int(correlation) if whole and correlation is not None else -1,
            connection=found.get("connection_id"),
            shapes=found.get("Input Dims"),
            name=found.get("name"),
            labels=found.get("labels"),
            allocated=found.get("Total Allocated"),
            reserved=found.get("Total Reserved"),
            device=found.get("Device Id"),
        )
    return TextEvent(
        ph=text("ph"),
        cat=text("cat"),
        name=text("name"),
        pid=ident("pid"),
        tid=ident("tid"),
        ts=number("ts", b""),
        dur=number("dur", b"0"),
        args=args,
    )
