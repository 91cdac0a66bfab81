"""The sources a process runs, by its memory maps."""

from __future__ import annotations

import mmap
import os

from seatrial.gates.loaded import about_sources, loaded_packages
from seatrial.targets import Roots


def test_a_mapped_native_module_gives_its_packages_folder(tmp_path):
    folder = tmp_path / "tree" / "vllm" / "deep"
    folder.mkdir(parents=True)
    module = folder / "_C.abi3.so"
    module.write_bytes(b"\0" * 4096)
    with module.open("r+b") as stream, mmap.mmap(stream.fileno(), 4096, prot=mmap.PROT_READ):
        seen = [p for p in loaded_packages([os.getpid(), 2**22 + 1]) if str(tmp_path) in p.folder]
    assert [(p.name, p.folder, p.processes) for p in seen] == [("vllm", str(tmp_path / "tree" / "vllm"), 1)]
    assert about_sources(seen, Roots()) == []
    assert about_sources(seen, Roots(vllm=str(tmp_path / "tree"))) == []
    assert [f.code for f in about_sources(seen, Roots(vllm="/vllm-workspace/vllm"))] == ["G303"]
