"""How often the nearest relative is right: a known model, its name withheld, must find its own model file.

python bench/relatives.py ENGINE CONFIGS      ENGINE: a vLLM source or environment; CONFIGS: a folder of *config.json

Only config fields are used (published configs come without weights). Models whose architecture the engine does not
register are left out and counted. Draft models are no candidates. A file that is shared by several architectures
counts once.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from seatrial.support.registry_read import read_registry
from seatrial.support.relatives import ModelFiles, fields_of
from seatrial.support.source import open_source


def main(engine: Path, configs: Path) -> None:
    began = time.monotonic()
    files = ModelFiles(open_source(engine))
    supported = {name: entry.class_path for name, entry in read_registry(engine).supported().items()}
    first = among = looked = left_out = 0
    for file in sorted(configs.glob("*config.json")):
        config = json.loads(file.read_text(encoding="utf-8"))
        own = next((supported[a] for a in config.get("architectures") or () if a in supported), None)
        if own is None:
            left_out += 1
            continue
        near = files.nearest((), fields_of(config), (), supported)
        modules = [supported[r.architecture].partition(":")[0] for r in near]
        looked += 1
        first += modules[:1] == [own.partition(":")[0]]
        among += own.partition(":")[0] in modules
    print(
        f"{len(files)} model files, {looked} configs ({left_out} left out): own file first {first}, among five {among}"
    )
    print(f"{time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
