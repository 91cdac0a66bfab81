"""The sources a process runs, by its memory maps and by the file names in its memory."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import pytest

from seatrial.gates.loaded import about_sources, loaded_packages
from seatrial.gates.source_memory import MemoryRead, SourceSeen, read_sources
from seatrial.targets import Roots

MODULES = 30
PROGRAM = """
import importlib, sys
for place in sys.argv[1:]:
    sys.path.insert(0, place)
    for number in range({modules}):
        importlib.import_module(f"vllm.worker.part{{number}}")
    for name in [m for m in sys.modules if m.startswith("vllm")]:
        sys.modules["was." + place + name] = sys.modules.pop(name)
print("ready", flush=True)
sys.stdin.read()
"""


def make_package(root, name="vllm"):
    folder = root / name / "worker"
    folder.mkdir(parents=True)
    for init in (root / name, folder):
        (init / "__init__.py").touch()
    for number in range(MODULES):
        (folder / f"part{number}.py").write_text(f"def f():\n    return {number}\n")
    return root


@pytest.fixture
def process_of():
    """Starts a Python that imports `vllm` from each of the places and waits."""
    running = []

    def start(*places):
        words = [sys.executable, "-S", "-c", PROGRAM.format(modules=MODULES), *map(str, places)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process.pid

    yield start
    for process in running:
        process.communicate(timeout=10)


def test_a_mapped_native_module_gives_its_packages_folder(tmp_path):
    folder = tmp_path / "tree" / "vllm" / "deep"
    folder.mkdir(parents=True)
    module = folder / "_C.abi3.so"
    module.write_bytes(b"\0" * 4096)
    with module.open("r+b") as stream, mmap.mmap(stream.fileno(), 4096, prot=mmap.PROT_READ):
        seen = [p for p in loaded_packages([os.getpid(), 2**22 + 1]) if str(tmp_path) in p.folder]
    assert [(p.name, p.folder, p.processes) for p in seen] == [("vllm", str(tmp_path / "tree" / "vllm"), 1)]
    nothing = MemoryRead(refused="not looked at")
    assert about_sources(seen, nothing, Roots()) == []
    assert "G303" not in [f.code for f in about_sources(seen, nothing, Roots(vllm=str(tmp_path / "tree")))]
    assert [f.code for f in about_sources(seen, nothing, Roots(vllm="/vllm-workspace/vllm"))] == ["G303", "G305"]


def test_a_workers_memory_names_the_folder_its_modules_came_from(process_of, tmp_path):
    tree = make_package(tmp_path / "tree")
    make_package(tmp_path / "never-loaded")
    read = read_sources([process_of(tree)])
    assert {(s.name, s.folder) for s in read.seen} == {("vllm", str(tree / "vllm"))}
    assert read.seen[0].files >= 24
    assert about_sources([], read, Roots(vllm=str(tree))) == []
    [finding] = about_sources([], read, Roots(vllm=str(tmp_path / "never-loaded")))
    assert (finding.code, finding.place) == ("G303", str(tree / "vllm"))


def test_names_of_files_that_do_not_exist_are_not_believed(process_of, tmp_path):
    import shutil

    tree = make_package(tmp_path / "tree")
    pid = process_of(tree)
    shutil.rmtree(tree)
    read = read_sources([pid])
    assert read.seen == ()
    assert "no name of a source file" in read.refused
    assert [f.code for f in about_sources([], read, Roots(vllm=str(tree)))] == ["G305"]


def test_a_process_that_is_gone_is_refused_with_the_reason():
    assert read_sources([2**22 + 1]).refused == "no process of the server could be seen"


def test_two_copies_in_one_worker_are_a_finding():
    seen = tuple(
        SourceSeen(name="vllm", folder=folder, files=9, pid=7, process="VLLM::Worker")
        for folder in ("/a/vllm", "/b/vllm")
    )
    [finding] = about_sources([], MemoryRead(seen=seen), Roots())
    assert finding.code == "G304"
    assert "/a/vllm, /b/vllm" in finding.message
