"""Logs in archives: what a whole, a cut and a damaged one hold, and what they cost."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import random
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile

import pytest
from tests.cost import million_turns

from seatrial.triage import diagnose
from seatrial.triage.unpack import unpacked

FAILED = (
    "(Worker_TP0 pid=77) ERROR 05-12 10:41:24 [x.py:1] Traceback (most recent call last):\n"
    '(Worker_TP0 pid=77) ERROR 05-12 10:41:24 [x.py:1]   File "/x/vllm/config/model.py", line 9, in f\n'
    "(Worker_TP0 pid=77) ERROR 05-12 10:41:24 [x.py:1] ValueError: LoRA rank 64 is greater than max_lora_rank 16.\n"
)


def run(*args, **more):
    return subprocess.run(
        [sys.executable, "-m", "seatrial", "triage", *args], capture_output=True, timeout=500, check=False, **more
    )


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "plain": bytes}


@pytest.mark.parametrize("packing", PACKERS)
def test_compressed_input_is_told_by_its_first_bytes_on_standard_input_and_without_a_suffix(tmp_path, packing):
    packed = PACKERS[packing](FAILED.encode())
    done = run("-", "--json", input=packed, cwd=tmp_path)
    assert json.loads(done.stdout)["category"] == "lora"
    (tmp_path / "log").write_bytes(packed)
    answer = diagnose([tmp_path / "log"])
    assert answer.category == "lora"
    assert answer.sources[0].size == len(FAILED)


def test_zst_is_read_from_a_stream_where_a_decoder_is_there_and_else_reported():
    try:
        import zstandard
    except ImportError:
        packed = b"\x28\xb5\x2f\xfd" + bytes(40)
        assert "zst" in diagnose([io.BytesIO(packed)]).sources[0].dropped
        return
    assert diagnose([io.BytesIO(zstandard.compress(FAILED.encode()))]).category == "lora"


def ordinary(lines: int) -> bytes:
    chance = random.Random(7)
    return b"".join(b"INFO 05-12 10:00:00 [a.py:1] line %d\n" % chance.randrange(10**9) for _ in range(lines))


def packed_stream(packing: str, data: bytes) -> bytes:
    if packing == "zst":
        return pytest.importorskip("zstandard").compress(data)
    return PACKERS[packing](data)


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz", "zst"])
def test_what_a_cut_archive_still_holds_is_read_and_the_cut_is_told(packing):
    whole = packed_stream(packing, FAILED.encode() + ordinary(60_000))
    for keep in (len(whole) * 2 // 3, len(whole) - 6):
        answer = diagnose([io.BytesIO(whole[:keep])])
        assert answer.category == "lora"
        assert answer.sources[0].dropped.startswith("read only up to byte ")
    quiet = packed_stream(packing, ordinary(60_000))
    cut = diagnose([io.BytesIO(quiet[: len(quiet) * 2 // 3])])
    assert not cut.healthy  # the failure may stand in what is gone
    assert "not all was read" in cut.explanation
    assert diagnose([io.BytesIO(quiet)]).healthy


@pytest.mark.parametrize("packing", ["gz", "xz"])
def test_a_fault_in_the_middle_of_an_archive_loses_only_what_is_behind_it(packing):
    damaged = bytearray(packed_stream(packing, FAILED.encode() + ordinary(60_000)))
    damaged[len(damaged) // 2] ^= 0xFF
    answer = diagnose([io.BytesIO(bytes(damaged))])
    assert answer.category == "lora"
    assert answer.sources[0].dropped


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz", "zst"])
def test_an_archive_of_several_members_is_read_to_the_last(packing):
    parts = [packed_stream(packing, part) for part in (ordinary(9), FAILED.encode(), ordinary(9))]
    answer = diagnose([io.BytesIO(b"".join(parts))])
    assert answer.category == "lora"
    assert answer.first_cause.line == 12
    assert answer.sources[0].lines == 21


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(ordinary(90)),
        gzip.compress(ordinary(300_000))[:-9],
        bytes(range(256)) * 30_000,
        b"\x1f\x8b\x08 cut",
        b"",
    ],
    ids=["packed", "cut", "binary", "no-gz", "empty"],
)
def test_the_hash_is_that_of_the_file_on_disk_whatever_could_be_made_of_it(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    (note,) = diagnose([tmp_path / "x"], hashed=True).sources
    assert note.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_of_files_is_not_read_as_a_log_and_says_what_to_do(tmp_path, kind):
    (tmp_path / "a.log").write_text(FAILED)
    if kind == "tar":
        with tarfile.open(tmp_path / "logs.tgz", "w:gz") as archive:
            archive.add(tmp_path / "a.log", "a.log")
    else:
        with zipfile.ZipFile(tmp_path / "logs.tgz", "w") as archive:
            archive.write(tmp_path / "a.log", "a.log")
    answer = diagnose([tmp_path / "logs.tgz"])
    assert not answer.healthy
    assert f"{kind} archive" in answer.explanation


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz", "zst"])
def test_an_archive_that_unpacks_to_much_is_unpacked_a_little_at_a_time(packing):
    whole = 96 << 20
    packed = packed_stream(packing, b"\n" * whole)
    stream = unpacked(io.BytesIO(packed))
    read = 0
    tracemalloc.start()
    try:
        while data := stream.read(1 << 20):
            read += len(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read == whole
    assert peak < 24 << 20


def test_what_unpacks_to_much_is_not_copied_for_each_read():
    stream = unpacked(io.BytesIO(packed_stream("zst", b"\n" * (96 << 20))))

    def read():
        while stream.read(64 << 10):
            pass

    assert million_turns(read) < 40


@pytest.mark.parametrize("size", [40, 255, 256, 257, 1_000, 5_000])
def test_many_small_zst_frames_are_all_read_wherever_they_end(size):
    part = random.Random(size).randbytes(size)  # so that a frame is about as long
    packed = packed_stream("zst", part) * 50
    stream = unpacked(io.BytesIO(packed))
    assert b"".join(iter(lambda: stream.read(700), b"")) == part * 50
    cut = unpacked(io.BytesIO(packed[:-1]))
    with pytest.raises(OSError, match="ended before"):
        list(iter(lambda: cut.read(700), b""))
