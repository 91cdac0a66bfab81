"""What seatrial advises exists: every command and flag of its own that its texts name in backquotes."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

from seatrial.cli.main import program

SRC = Path(__file__).resolve().parents[2] / "src" / "seatrial"
QUOTED = re.compile(r"`(seatrial [^`]+)`")


def texts(file: Path) -> list[str]:
    """The string constants of a source file; the fields of an f-string are a word without meaning."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(v.value) if isinstance(v, ast.Constant) else "FIELD" for v in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def named() -> list[tuple[str, str]]:
    found = {(file.relative_to(SRC).as_posix(), call) for file in SRC.rglob("*.py") for text in texts(file)
             for call in QUOTED.findall(text)}  # fmt: skip
    return sorted(found)


def unknown(call: str) -> str:
    """The first word of a call that the program does not have; empty if it has all."""
    words = shlex.split(call.replace("…", "").replace("'", ""))[1:]
    command: click.Command = program
    # A word in capitals stands for something of the user's.
    while words and isinstance(command, click.Group) and words[0].islower() and not words[0].startswith("-"):
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        if found is None:
            return name
        command = found
    options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
    options |= {o for p in program.params for o in p.opts}
    for word in words:
        flag = word.partition("=")[0].rstrip(".,;:")
        if re.fullmatch(r"--[a-z][a-z-]+", flag) and flag not in options and not isinstance(command, click.Group):
            return flag
        if word == "--":
            break
    return ""


def test_there_are_such_texts():
    assert len(named()) > 40


@pytest.mark.parametrize(("file", "call"), named())
def test_a_command_that_a_text_names_exists_with_its_flags(file, call):
    assert unknown(call) == "", f"{file} advises `{call}`"


def test_a_command_that_is_not_there_is_found():
    assert unknown("seatrial estimate") == "estimate"
    assert unknown("seatrial plan MODEL --no-such-flag") == "--no-such-flag"
