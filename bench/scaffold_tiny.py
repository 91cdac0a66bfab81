"""The tiny checkpoint that `scaffold` writes for an overlay, held against the engine: the layouts of the zoo, in small.

    python bench/scaffold_tiny.py ENGINE_PYTHON [--only NAME ...] [--json FILE]

transformers makes each architecture's layout on the meta device at full width; `shrink` makes it small; the dry run of
the small one must give the verdict that the whole one gave (docs/dry-zoo.json). Printed: how many are as they were, how
large the largest is, and what differs with the dry run's reason.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path

from seatrial.adapter.scaffold.shrink import shrink
from seatrial.core.verdict import Verdict
from seatrial.dryrun import HeaderTensor, dry
from seatrial.engine.border import ProbeSession

ROOT = Path(__file__).resolve().parent.parent


def one(making: ProbeSession, session: ProbeSession, name: str) -> dict[str, object]:
    made = making.call("dry_headers", {"architecture": name, "layers": 4}, timeout_s=300)
    if made.status != "answered" or "error" in made.answer:
        return {"architecture": name, "verdict": "not made", "reason": made.trouble() or made.answer["error"]}
    whole = [HeaderTensor(name=n, dtype=d, shape=tuple(s)) for n, d, s in made.answer["tensors"]]
    config = made.answer["config"]
    small = shrink(config, whole)
    tensors = [HeaderTensor(name=n, dtype="BF16", shape=s) for n, s in small.shapes.items()]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(small.config))
        for file, content in made.answer["files"].items():
            (Path(folder) / file).write_text(json.dumps(content))
        generates = "ForCausalLM" in name or "ForConditionalGeneration" in name
        more = {} if generates else {"engine_args": {"runner": "pooling"}}
        result = dry(Path(folder), tensors, session=session, **more)
    return {
        "architecture": name,
        "verdict": result.outcome.verdict.value,
        "reason": result.outcome.reason,
        "elements": sum(math.prod(s) for s in small.shapes.values()),
        "of": sum(math.prod(t.shape) for t in whole),
        "kept": list(small.kept),
        "left_out": list(small.left_out),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    zoo = json.loads((ROOT / "docs/dry-zoo.json").read_text())
    names = options.only or [row["architecture"] for row in zoo["rows"] if row["verdict"] == Verdict.PASS.value]
    rows = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProbeSession(options.python, log=Path(scratch) / "making.log") as making,
        ProbeSession(options.python, log=Path(scratch) / "dry.log") as session,
    ):
        for name in names:
            row = one(making, session, name)
            rows.append(row)
            if row["verdict"] != Verdict.PASS.value:
                print(f"{name}: {row['verdict']}: {row['reason']}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    good = [row for row in rows if row["verdict"] == Verdict.PASS.value]
    largest = max(rows, key=lambda row: row.get("elements", 0))
    print(
        f"{len(good)} of {len(rows)} pass in small; the largest has {largest.get('elements', 0):,} elements"
        f" ({largest['architecture']}); sides kept as they were in {sum(bool(r.get('kept')) for r in rows)}"
    )


if __name__ == "__main__":
    main()
