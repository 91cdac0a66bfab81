"""Files that are no files: pipes, devices, names too long: one line and an exit code, no wait, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seatrial.cli.ci import append
from seatrial.core.atomic import write_atomic
from seatrial.core.plain_file import read_plain

WORKLOAD = """schema_version = 1
name = "small"
[dataset]
kind = "jsonl"
file = "asked.jsonl"
[load]
requests = 1
concurrency = 1
"""


def seatrial(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    # What waits for ever on a pipe is killed here, and the test fails.
    return subprocess.run(
        [sys.executable, "-m", "seatrial", *words],
        capture_output=True, text=True, cwd=cwd, timeout=500, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def refused(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode in (2, 4), result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert result.stdout == ""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


PIPED = {
    "dossier": ("history", "import", "pipe", "--framework", "vllm", "--family", "x"),
    "workload": ("bench", "run", "--workload", "pipe", "--service", "http://127.0.0.1:9", "--model", "m"),
    "report of a tool": ("bench", "read", "pipe"),
    "score": ("accuracy", "check", "run", "--expected", "0.5"),
    "questions": (
        *("accuracy", "run", ".", "--level", "L3", "--dataset", "pipe", "--out", "o"),
        *("--url", "http://127.0.0.1:9", "--model", "m"),
    ),
}


@pytest.mark.parametrize("words", PIPED.values(), ids=PIPED)
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(words, place):
    (place / "run").mkdir()
    os.mkfifo(place / "run" / "score.json")
    os.mkfifo(place / "asked.jsonl")
    (place / "w.toml").write_text(WORKLOAD)
    (place / "config.json").write_text(json.dumps({"architectures": ["X"], "torch_dtype": "bfloat16"}))
    refused(seatrial(*words, cwd=place))


def test_a_file_where_a_folder_is_to_be_made_is_a_usage_error(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "taken").write_text("")
    words = ("accuracy", "run", ".", "--out", "taken", "--url", "http://127.0.0.1:9", "--model", "m")
    result = seatrial(*words, cwd=tmp_path)
    refused(result)
    assert "--out" in result.stderr


def test_a_file_never_takes_the_place_of_what_is_no_file(place):
    pipe = place / "pipe"
    with pytest.raises(OSError, match="Not a regular file"):
        write_atomic(pipe, b"x")
    assert pipe.is_fifo()
    assert [p.name for p in place.iterdir()] == ["pipe"]


def test_a_summary_for_a_pipe_that_nobody_reads_is_an_error(place):
    with pytest.raises(OSError, match="No such device"):
        append(str(place / "pipe"), "text")


def test_a_name_too_long_for_the_file_system_is_a_usage_error(tmp_path):
    result = seatrial("ci", "last", "--workspace", "n" * 300, "--json", cwd=tmp_path)
    refused(result)
    assert result.returncode == 2


def test_a_file_is_read_whole_up_to_its_limit_and_never_a_device(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"12345")
    assert read_plain(file, limit=5) == b"12345"
    with pytest.raises(OSError, match="Larger"):
        read_plain(file, limit=4)
    with pytest.raises(OSError, match="Not a regular file"):
        read_plain(Path("/dev/zero"))
    with pytest.raises(IsADirectoryError):
        read_plain(tmp_path)
