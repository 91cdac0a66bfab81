"""The last successful command of a run, taken apart: model, flags, variables. Nothing is added to it.

In: the facts of a gate. Out: a `Serving`. Host and port are left out where the target let the system choose them.
"""

from __future__ import annotations

import shlex

import msgspec

from seatrial.core.record import Record
from seatrial.gates.facts import GateFacts

DEFAULT_PORT = 8000  # vLLM's own, documented in `vllm serve --help`
PLACES = ("--host", "--port")


class Serving(Record):
    """`flags`: (flag, value) in order, value None for a bare one, without host and port."""

    flags: tuple[tuple[str, str | None], ...]
    env: dict[str, str] = msgspec.field(default_factory=dict)
    served_model: str = ""
    port: int = DEFAULT_PORT
    checkpoint: str = ""

    def flag(self, name: str) -> str | None:
        return next((value for flag, value in self.flags if flag == name), None)

    def has(self, name: str) -> bool:
        return any(flag == name for flag, _ in self.flags)

    def script(self, model: str = "$MODEL_PATH", extra: tuple[str, ...] = (), drop: tuple[str, ...] = ()) -> str:
        """A shell script: exports, then the command, a flag a line. `drop`: flags without dashes, left out."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.env.items()]
        words = [f'vllm serve "{model}"']
        for flag, value in self.flags:
            if flag.removeprefix("--") in drop:
                continue
            words.append(f"{flag} {shlex.quote(value)}" if value is not None else flag)
        words += [f"--port {self.port}", *map(shlex.quote, extra)]
        return "\n".join([*lines, " \\\n  ".join(words)])


def serving_of(gate: GateFacts, *, port: int) -> Serving:
    """`port` is the target's: 0 means that the recorded one was picked by the system and is nobody's default."""
    argv = gate.command.argv
    start = argv.index("serve") + 2 if "serve" in argv else 1
    return Serving(
        flags=tuple(f for f in flags_of(argv[start:]) if f[0] not in PLACES),
        env=dict(gate.command.env),
        served_model=gate.served_model,
        port=port or DEFAULT_PORT,
        checkpoint=gate.checkpoint,
    )


def flags_of(words: tuple[str, ...] | list[str]) -> list[tuple[str, str | None]]:
    """`--a 1 --b --c=2` as pairs."""
    found: list[tuple[str, str | None]] = []
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            found.append((name, value if equals else None))
        elif found and found[-1][1] is None:
            found[-1] = (found[-1][0], word)
    return found
