"""Write the configs of the dry-run zoo: a folder for every architecture that transformers can configure by default.

    python bench/zoo_configs.py ENGINE_PYTHON FOLDER
    python bench/plan_engine.py --engine ENGINE_PYTHON --configs FOLDER --tp 1,2

The second command then holds the plan against the engine for every architecture that the engine can build from them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from seatrial.engine.border import ProbeSession


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    written, refused = 0, []
    with tempfile.TemporaryDirectory() as scratch, ProbeSession(options.python, log=Path(scratch) / "log") as session:
        for entry in session.call("dry_headers", {"list": True}).answer:
            if not entry["transformers"]:
                continue
            made = session.call("dry_headers", {"architecture": entry["name"], "layers": 4}, timeout_s=300)
            if made.status != "answered" or "error" in made.answer:
                refused.append(entry["name"])
                continue
            place = options.folder / entry["name"]
            place.mkdir(parents=True, exist_ok=True)
            (place / "config.json").write_text(json.dumps(made.answer["config"], indent=1))
            for name, content in made.answer["files"].items():
                (place / name).write_text(json.dumps(content))
            written += 1
    print(f"{written} written, {len(refused)} that transformers does not make: {', '.join(refused)}")


if __name__ == "__main__":
    main()
