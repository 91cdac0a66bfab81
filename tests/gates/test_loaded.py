"""The sources a process runs, by its memory maps and by the file names in its memory."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import pytest

from seatrial.core.record import replace
from seatrial.core.verdict import Verdict
from seatrial.gates import gate
from seatrial.gates.loaded import LoadedPackage, about_sources, doubt, loaded_packages
from seatrial.gates.source_memory import MemoryRead, SourceSeen, packages_of, read_sources
from seatrial.targets import Roots, load_target

MODULES = 30
PROGRAM = """
import importlib, sys
for word in sys.argv[1:]:
    name, place = word.split("=")
    sys.path.insert(0, place)
    for number in range({modules}):
        importlib.import_module(f"{{name}}.worker.part{{number}}")
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

    def start(*places, **plugins):
        packages = [f"vllm={place}" for place in places] + [f"{name}={place}" for name, place in plugins.items()]
        words = [sys.executable, "-S", "-c", PROGRAM.format(modules=MODULES), *packages]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process.pid

    yield start
    for process in running:
        process.communicate(timeout=300)


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


def test_a_plugin_that_no_worker_runs_is_not_proven_though_vllm_is(process_of, tmp_path):
    tree = make_package(tmp_path / "tree")
    plugin = make_package(tmp_path / "plugin", "vllm_ascend")
    roots = Roots(vllm=str(tree), plugin=str(plugin))
    pid = process_of(tree)
    read = read_sources([pid], ("vllm", "vllm_ascend"))
    assert read.looked_at == (pid,)
    [finding] = about_sources([], read, roots, ("vllm_ascend",))
    assert (finding.code, finding.place) == ("G305", "roots.plugin")
    assert "no worker names 3 files of vllm_ascend in the " in finding.message
    assert doubt([finding]) == finding.message
    # A native module mapped from the root says nothing of the Python files.
    mapped = LoadedPackage(name="vllm_ascend", folder=str(plugin / "vllm_ascend"), processes=1)
    assert [f.code for f in about_sources([mapped], read, roots, ("vllm_ascend",))] == ["G305"]

    read = read_sources([process_of(tree, vllm_ascend=plugin)], ("vllm", "vllm_ascend"))
    assert about_sources([], read, roots, ("vllm_ascend",)) == []


def test_a_plugin_from_elsewhere_is_named_once_and_not_called_unseen(process_of, tmp_path):
    elsewhere = make_package(tmp_path / "site-packages", "vllm_ascend")
    read = read_sources([process_of(vllm_ascend=elsewhere)], ("vllm_ascend",))
    [finding] = about_sources([], read, Roots(plugin=str(tmp_path / "edited")), ("vllm_ascend",))
    assert (finding.code, finding.place) == ("G303", str(elsewhere / "vllm_ascend"))


def test_a_worker_without_the_plugin_beside_one_with_it_is_told():
    seen = (
        SourceSeen(name="vllm_ascend", folder="/root/vllm_ascend", files=30, pid=7, process="VLLM::Worker_TP0"),
        SourceSeen(name="vllm", folder="/root/vllm", files=30, pid=8, process="VLLM::Worker_TP1"),
    )
    refused = "the memory of process 9 cannot be read: Permission denied"
    memory = MemoryRead(seen=seen, looked_at=(7, 8, 9), refused=refused, read_bytes=5 << 20)
    [finding] = about_sources([], memory, Roots(plugin="/root"), ("vllm_ascend",))
    assert finding.code == "G305"
    assert "not every worker (1 of 3)" in finding.message
    assert finding.message.endswith(refused)


def test_the_plugins_of_a_root_are_known_by_platform_or_by_its_folders(tmp_path):
    make_package(tmp_path, "vllm_fl")
    (tmp_path / "vllm_notes").mkdir()

    def packages(name, **roots):
        target = load_target(name).target
        return packages_of(replace(target, roots=Roots(**roots)))

    assert packages("ascend-a2") == ("vllm", "vllm_ascend")
    assert packages("cuda") == ("vllm",)
    assert packages("cuda", plugin=str(tmp_path)) == ("vllm", "vllm_fl")
    assert packages("cuda", plugin=str(tmp_path / "gone")) == ("vllm",)


def test_a_gate_is_inconclusive_where_the_plugin_it_names_never_ran(
    stand_in_target, engine_home, checkpoint, tmp_path, alive
):
    target = replace(stand_in_target(""), roots=Roots(plugin=str(make_package(tmp_path / "edited", "vllm_fl"))))
    result = gate(checkpoint, target, python=engine_home, stage="real", scratch=tmp_path / "s")
    assert result.facts.ending == "ready"
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "it serves, but that the workers run vllm_fl from" in result.outcome.reason
    assert alive() == []
