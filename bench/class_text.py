"""Capabilities of every registered model class: read from the text, against the imported class.

    python bench/class_text.py --python ENGINE_PYTHON

The engine's own predicates (`supports_pp`, `is_hybrid`, …) are asked of each class that imports here. Prints, per
capability: equal, different, left open by the text.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from seatrial.support.class_text import INTERFACES, _interfaces
from seatrial.support.compat.classes import Classes
from seatrial.support.compat.names import Names
from seatrial.support.modules import Package
from seatrial.support.source import open_source

ASK = """
import json, os, sys
out = os.fdopen(os.dup(1), "w"); os.dup2(2, 1)
from vllm import ModelRegistry
from vllm.model_executor.models import interfaces
answers = {}
for arch, model in ModelRegistry.models.items():
    try:
        cls = model.load_model_cls()
    except BaseException as error:
        answers[arch] = [f"{model.module_name}:{model.class_name}", f"{type(error).__name__}: {error}", {}]
        continue
    said = {k: bool(getattr(interfaces, k)(cls)) for k in json.loads(sys.argv[1]) if hasattr(interfaces, k)}
    answers[arch] = [f"{model.module_name}:{model.class_name}", "", said]
json.dump([os.path.dirname(os.path.dirname(sys.modules["vllm"].__file__)), answers], out)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, required=True)
    args = parser.parse_args()
    keys = json.dumps(sorted(INTERFACES.values()))
    done = subprocess.run([str(args.python), "-c", ASK, keys], capture_output=True, text=True, timeout=1800)
    if not done.stdout:
        print("the engine gave no answer:", done.stderr[-1500:])
        return 3
    folder, answers = json.loads(done.stdout)
    began = time.perf_counter()
    vllm = Package("vllm", open_source(Path(folder)))
    classes = Classes(Names(vllm), Names(vllm))
    tally: Counter[tuple[str, str]] = Counter()
    failed = 0
    for arch, (path, error, said) in sorted(answers.items()):
        if error:
            failed += 1
            continue
        module, _, name = path.partition(":")
        read = _interfaces(classes, module, name)
        for key, truth in said.items():
            kind = "open" if read[key] is None else "equal" if read[key] == truth else "different"
            tally[key, kind] += 1
            if kind == "different":
                print(f"   {arch} {key}: text {read[key]}, class {truth}")
    took = time.perf_counter() - began
    print(f"{len(answers)} architectures, {failed} do not import here; text read in {took:.1f} s")
    for key in sorted(INTERFACES.values()):
        counts = "  ".join(f"{kind} {tally[key, kind]:>4}" for kind in ("equal", "different", "open"))
        print(f"{key:<24} {counts}")
    return 1 if any(kind == "different" for _key, kind in tally) else 0


if __name__ == "__main__":
    sys.exit(main())
