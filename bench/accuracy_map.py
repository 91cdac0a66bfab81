"""How the modules of engine and reference find each other: by the dry run's tensor account, and by names alone.

Run: `python bench/accuracy_map.py [--python ENGINE_PYTHON] [--only FAMILY] [--json FILE]`. Needs the embedded engine.
For each tiny family the engine's outputs of one clean `locate` are counted by the way their counterpart was found, with
the account and without it; a clean model must be inside the noise both ways. What has no
counterpart is a place where a fault would be seen only further behind.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from accuracy_faults import FAMILIES, SEEING

from seatrial.core.errors import SeatrialError
from seatrial.engine.border import ProbeSession
from seatrial.engine.store import find_engine
from seatrial.measure.accuracy.answers import Asked, Engine, in_process
from seatrial.measure.accuracy.locate import against
from seatrial.measure.accuracy.prompts import IMAGE, watched
from seatrial.measure.accuracy.tensor_account import Account, tensor_account

MORE = ("qwen3_vl", "gpt_oss", "phi3", "gpt_neox", "gpt2", "mixtral")


def one(family: str, root: Path, python: Path) -> dict[str, Any]:
    env = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    env |= {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    folder = root / family
    folder.mkdir()
    with (
        ProbeSession(python, log=root / f"{family}-engine.log", env=env) as engine,
        ProbeSession(python, log=root / f"{family}-reference.log", env=env) as reference,
        ProbeSession(python, log=root / f"{family}-dry.log", env=env) as dry,
    ):
        made = reference.call("accuracy_tiny", {"family": family, "folder": str(folder), "seed": 0})
        if made.status != "answered":
            raise SystemExit(made.trouble())
        account = tensor_account(dry, folder)
        dry.rest()
        asked = Asked(text=IMAGE, image=True) if family in SEEING else Asked(text=watched())
        setting = Engine(checkpoint=str(folder), max_model_len=512, args=FAMILIES.get(family, {}))
        seen = in_process(engine, setting, [asked], max_tokens=0, capture=root / "slices")
        engine.rest()
        row: dict[str, Any] = {"family": family, "tensors": account.trouble or len(account.into)}
        for way, used in (("account", account), ("names", Account(trouble="not used"))):
            facts = against(
                reference,
                str(folder),
                asked,
                modules=seen.modules,
                watched=seen.watched,
                dtype=seen.dtype,
                account=used,
                scratch=root,
                keep=True,
            ).facts
            ways = Counter(r.by for r in facts.rows if not r.step)
            row[way] = {
                **ways,
                "unmatched": len(facts.unmatched),
                "excused": [r.key for r in facts.rows if r.excused],
                "first": facts.first.key if facts.first else "",
                "which": facts.unmatched,
                "only": len(facts.only_reference),
            }
    return row


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--python", type=Path, default=None)
    options.add_argument("--only", action="append", default=[])
    options.add_argument("--json", type=Path, default=None)
    given = options.parse_args()
    python = given.python or Path(find_engine("vllm-cpu", "0.32.0").python)
    rows = []
    for family in given.only or (*FAMILIES, *MORE):
        with tempfile.TemporaryDirectory(prefix="seatrial-map-") as scratch:
            try:
                rows.append(one(family, Path(scratch), python))
            except SeatrialError as exc:
                rows.append({"family": family, "error": exc.one_line()})
        sys.stdout.write(json.dumps(rows[-1]) + "\n")
        sys.stdout.flush()
        if given.json is not None:
            given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
