"""A command that was or would be run: what a person pastes into a shell to do it by hand."""

from __future__ import annotations

import shlex

import msgspec

from seatrial.core.record import Record


class Command(Record):
    """`env` holds only the variables set on top of the inherited environment; `cwd` is empty for "here"."""

    purpose: str
    argv: tuple[str, ...]
    env: dict[str, str] = msgspec.field(default_factory=dict)
    cwd: str = ""

    def shell(self) -> str:
        """One line for a POSIX shell."""
        settings = [f"{name}={shlex.quote(value)}" for name, value in self.env.items()]
        line = " ".join([*settings, shlex.join(self.argv)])
        return f"cd {shlex.quote(self.cwd)} && {line}" if self.cwd else line
