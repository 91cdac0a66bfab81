"""The program's face: help, exit codes, one-line errors, and a frozen list of its options."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import click
import pytest

from seatrial.cli.main import command_files, program, short_help

ROOT = Path(__file__).resolve().parents[2]


def seatrial(*words: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "seatrial", *words], capture_output=True, text=True, cwd=cwd, env={**os.environ, **more}
    )


def test_help_lists_every_command_with_its_line():
    shown = seatrial("--help").stdout
    for name, file in command_files().items():
        assert name in shown
        assert short_help(file).split()[0] in shown


@pytest.mark.parametrize("name", command_files())
def test_each_command_file_defines_a_click_command_and_helps(name):
    command = program.get_command(click.Context(program), name)
    assert isinstance(command, click.Command)
    assert command.help


@pytest.mark.parametrize("name", command_files())
def test_a_command_file_imports_nothing_heavy_at_its_top(name):
    heavy = {"rich", "httpx", "jinja2", "yaml", "psutil", "sqlite3", "hypothesis", "asyncio", "subprocess"}
    tree = ast.parse(command_files()[name].read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not {n.split(".")[0] for n in names} & heavy, f"{name}: {names}"


def test_an_unknown_command_option_or_target_is_a_usage_error_without_a_traceback(tmp_path):
    for words in (
        ["nope"],
        ["run", "--nope"],
        ["targets", "show", "nope"],
        ["run"],
        ["run", "x", "--stages", "wet"],
        ["runs", "list", "--workspace", "missing"],
        ["dry", ".", "--tp", "100000000"],
    ):
        result = seatrial(*words, cwd=tmp_path)
        assert result.returncode == 2, words
        assert "Traceback" not in result.stderr
        assert result.stderr.strip()


def test_a_fault_in_the_users_file_is_one_line_naming_file_and_key(tmp_path):
    (tmp_path / "seatrial.toml").write_text("[targets.cpu]\nplatfrom = 1\n")
    result = seatrial("targets", "show", "cpu", cwd=tmp_path)
    assert result.returncode == 4
    assert result.stderr.count("\n") == 1
    assert "seatrial.toml" in result.stderr
    assert "platfrom" in result.stderr


def test_options_are_frozen_in_the_generated_page():
    """The page is compared in `make check`; here only that nobody deletes it."""
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert "`--target TEXT`" in page


@pytest.mark.parametrize("ranks", ["0-99999999999999", "9-1", "-1", "x", ""])
def test_ranks_that_make_no_list_are_refused(ranks):
    from seatrial.cli.dry import parse_ranks

    with pytest.raises(click.BadParameter):
        parse_ranks(ranks)
    assert parse_ranks("0-2,5") == [0, 1, 2, 5]
