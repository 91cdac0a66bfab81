"""Ports model files of a vLLM into a plugin: do they parse, import, register, stay the same, and change nothing else?

    python bench/port_files.py ENGINE_SRC PLUGIN_ROOT PLATFORM [--python PYTHON [--path FOLDER]] [--limit N]

ENGINE_SRC is a vLLM tree or environment, PLUGIN_ROOT a checkout of the plugin (read only). With --python, a Python
that can import that vLLM (its tree is put first on its path), every port and its upstream file are imported there,
device libraries and the plugin stubbed: a port is good if it imports wherever the original does. Files: the first N
registered ones by the hash of their name. Must hold: every column is full.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INSIDE = """
import importlib.abc, importlib.machinery, importlib.util, json, sys, types

STUBS = ("torch_npu", "vllm_ascend", "vllm_kunlun", "kunlun_ops", "xspeedgate_ops", "cocopod", "torchair")


class Stub(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in STUBS:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return Stub(spec.name)

    def exec_module(self, module):
        pass


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


sys.meta_path.append(Finder())
import vllm.model_executor.models.registry as registry

answers = []
for row in json.load(open(sys.argv[1])):
    answer = {"module": row["module"], "upstream": "", "port": "", "registers": ""}
    try:
        importlib.import_module(row["module"])
    except BaseException as exc:
        answer["upstream"] = f"{type(exc).__name__}: {exc}"[:200]
    try:
        load(row["target"], row["path"])
    except BaseException as exc:
        answer["port"] = f"{type(exc).__name__}: {exc}"[:200]
    try:
        for arch, path in row["registered"].items():
            registry.ModelRegistry.register_model(arch, path)
            model = registry.ModelRegistry.models[arch].load_model_cls()
            assert model.__module__ == row["target"] or model.__name__ == path.split(":")[1], model
    except BaseException as exc:
        answer["registers"] = f"{type(exc).__name__}: {exc}"[:200]
    answers.append(answer)
json.dump(answers, open(sys.argv[2], "w"))
"""


def without_imports(text: str) -> str:
    """The text with the lines of import statements and of the provenance header taken out."""
    lines = text.splitlines()
    gone: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            gone |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    starts = ("# Ported by `seatrial port`", "# upstream: ", "# platform: ", "# reason: ")
    return "\n".join(line for n, line in enumerate(lines, 1) if n not in gone and not line.startswith(starts))


def without_devices(text: str) -> str:
    """The text with the names of the device as upstream spells them."""
    text = text.replace("current_platform.device_type", '"cuda"').replace("torch.npu.", "torch.cuda.")
    return text.replace("'cuda'", '"cuda"').replace(".cuda()", '.to("cuda")')


def bound(text: str) -> list[str]:
    """Every name that an import statement binds, with how often."""
    return sorted(
        alias.asname or alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("plugin", type=Path)
    parser.add_argument("platform")
    parser.add_argument("--python", type=Path)
    parser.add_argument("--path", help="Folder with what that vLLM imports and PYTHON has not.")
    parser.add_argument("--limit", type=int, default=50)
    given = parser.parse_args()
    from seatrial.adapter.port.ground import Ground
    from seatrial.adapter.port.register import PluginSource
    from seatrial.adapter.port.run import Upstream, port
    from seatrial.core.errors import SeatrialError

    began = time.monotonic()
    ground = Ground(given.engine, given.plugin, given.platform)
    plugin, source = PluginSource(given.plugin), Upstream(given.engine)
    ready = time.monotonic() - began
    modules = {e.module for e in source.registry.supported().values() if e.module.startswith("vllm.")}
    there = [m for m in modules if (found := source.package.get(m)) is not None and found.tree is not None]
    # A model that the plugin has a file of its own for is no case: it is refused, as it should be.
    held = {p.name for p in given.plugin.glob("vllm_*/models/*.py")}
    there = [m for m in there if f"{m.removeprefix('vllm.model_executor.models.').replace('.', '_')}.py" not in held]
    chosen = sorted(there, key=lambda m: hashlib.sha256(m.encode()).hexdigest())[: given.limit]
    counts = dict.fromkeys(("ported", "parses", "only imports", "same names", "stays the same", "registers by text"), 0)
    swaps, devices, moved, lost, rows, refused = 0, 0, 0, 0, [], []
    scratch = Path(tempfile.mkdtemp(prefix="seatrial-port-"))
    options = {"upstream": given.engine, "engine": given.engine, "root": given.plugin, "platform": given.platform}
    began = time.monotonic()
    for name in chosen:
        plugin.texts.clear()
        try:
            made = port(name, **options, fork=True, ground=ground, plugin=plugin, source=source)
        except SeatrialError as exc:
            refused.append(f"{name}: {exc.one_line()}")
            continue
        _, text = next(iter(made.files.items()))
        original = (source.module(name).source or b"").decode()
        counts["ported"] += 1
        ast.parse(text)
        counts["parses"] += 1
        named = any(e.kind == "device" for e in made.edits)
        devices += sum(e.kind == "device" for e in made.edits)
        sides = [without_imports(text), without_imports(original)]
        counts["only imports"] += len(set(map(without_devices, sides) if named else sides)) == 1
        counts["same names"] += set(bound(text)) - {"current_platform"} == set(bound(original)) - {"current_platform"}
        from seatrial.adapter.port.rewrite import rewrite

        again = rewrite(text, made.target, False, ground)
        counts["stays the same"] += again.source == text
        registration = list(made.files.items())[1:]
        said = "\n".join(t for _, t in registration)
        counts["registers by text"] += all(f'"{a}"' in said and f'"{p}"' in said for a, p in made.registered.items())
        swaps += sum(e.kind == "swap" for e in made.edits)
        moved += sum(e.kind == "moved" for e in made.edits)
        lost += sum(e.kind == "not found" for e in made.edits)
        file = scratch / f"{len(rows)}.py"
        file.write_text(text)
        rows.append({"module": name, "target": made.target, "path": str(file), "registered": made.registered})
    took = time.monotonic() - began
    print(f"{given.platform}, vLLM {source.version}: {len(chosen)} of {len(there)} registered model files")
    for what, count in counts.items():
        print(f"  {what:<18} {count} of {len(chosen)}")
    print(f"  swaps {swaps}, devices {devices}, moved {moved}, not found {lost}")
    print(f"  opening {ready:.1f} s, {took / len(chosen):.2f} s a file")
    for line in refused:
        print(f"  refused: {line}")
    if given.python:
        inside(given, rows, scratch)


def inside(given: argparse.Namespace, rows: list[dict], scratch: Path) -> None:
    """Import and register each in the engine's interpreter."""
    (scratch / "rows.json").write_text(json.dumps(rows))
    (scratch / "inside.py").write_text(INSIDE)
    argv = [str(given.python), str(scratch / "inside.py"), str(scratch / "rows.json"), str(scratch / "out.json")]
    tree = [str(given.engine)] if given.engine.is_dir() else []
    tree += [given.path] if given.path else []
    done = subprocess.run(argv, env={**os.environ, "PYTHONPATH": os.pathsep.join(tree)}, capture_output=True, text=True)
    if not (scratch / "out.json").is_file():
        print(f"  the interpreter gave no answer: {done.stderr[-800:]}")
        sys.exit(1)
    answers = json.loads((scratch / "out.json").read_text())
    fine = [a for a in answers if not a["upstream"]]
    print(
        f"  of {len(answers)}: upstream imports {len(fine)}, of those the port imports "
        f"{sum(not a['port'] for a in fine)} and registers {sum(not a['port'] and not a['registers'] for a in fine)}"
    )
    for answer in answers:
        if answer["upstream"]:
            print(f"    upstream does not import here: {answer['module']}: {answer['upstream'][:120]}")
        elif answer["port"] or answer["registers"]:
            print(f"    {answer['module']}: {answer['port'] or answer['registers']}")


if __name__ == "__main__":
    main()
