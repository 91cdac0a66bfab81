"""Text from outside (paths, log lines, progress) is never read as markup of the terminal."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from rich.console import Console

from seatrial.cli import gate
from seatrial.cli.run import Watcher


def test_progress_with_brackets_does_not_end_a_run():
    watcher = Watcher(Console(file=io.StringIO(), force_terminal=True))
    watcher.step_begun("dry")
    try:
        watcher.say("reading [/weights] of [/]")
    finally:
        watcher.stop()


@pytest.mark.parametrize("words", [["engine", "list"], ["runs", "list"], ["runs", "verify"]])
def test_a_folder_with_brackets_is_shown_as_it_is(tmp_path, monkeypatch, words):
    place = tmp_path / "[" / "x]"
    place.mkdir(parents=True)
    monkeypatch.setenv("SEATRIAL_CACHE", str(place))
    shown = subprocess.run([sys.executable, "-m", "seatrial", *words], capture_output=True, text=True, cwd=place)
    assert "Traceback" not in shown.stderr
    assert str(place) in shown.stdout


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_change_of_the_ladder_with_brackets_does_not_end_a_gate(monkeypatch, is_terminal):
    written = io.StringIO()
    monkeypatch.setattr(gate, "err", lambda: Console(file=written, force_terminal=is_terminal))
    with gate._progress("ladder") as say:
        say("without --chat-template [/tmp/x]")
    if not is_terminal:
        assert "[/tmp/x]" in written.getvalue()


def test_a_name_gives_the_terminal_no_orders(capsys):
    from rich.table import Table

    from seatrial.cli.common import out

    console = out()
    hostile = "a\x1b]0;title\x07\x1b[2Jb\rc\x9bd"
    console.print(hostile, markup=False)
    table = Table("name")
    table.add_row(hostile)
    console.print(table)
    written = capsys.readouterr().out
    assert written.count("\\x1b]0;title\\x07\\x1b[2Jb\\x0dc\\x9bd") == 2
    assert not set(written) & set("\x1b\x07\r\x9b")
