"""Agreement with reality: real checkpoints, good and faulty, loaded by the engine and compared parameter by parameter.

    python bench/dry_agree.py ENGINE_PYTHON [--only NAME ...] [--faults N] [--seed 1]

Each model is a real safetensors file with random values. The engine's own loader reads it (probe `dry_real`, TP 1, on
the host); every parameter is then compared with the file byte by byte. Beside it stands the dry run of the same folder.
Must hold: the verdicts agree for at least 8 kinds of checkpoints, good and faulty, and where the real load comes to
its end, the parameters it left unfilled are those that the dry run names. Where this machine lacks the kernel (fp8
without AMX), its chooser is answered by a placeholder in the real load too, so that the weights can be compared; the
row says so.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from dry_files import write
from dry_models import (
    QUANTIZATION,
    SMALL_DEEPSEEK,
    SMALL_MOE,
    SMALL_QWEN3,
    deepseek_v3,
    quantised_config,
    qwen3_dense,
    qwen3_moe,
    unquantised_gates,
)
from dry_mutants import FAULTS

from seatrial.checkpoint import read_checkpoint
from seatrial.core.record import Record
from seatrial.core.verdict import Verdict
from seatrial.dryrun import DryAccount, HeaderTensor, dry
from seatrial.dryrun.tensor import kind_of
from seatrial.engine.border import ProbeSession

FAMILIES = ("qwen3", "qwen3_moe", "qwen3_next", "deepseek_v3", "llava")
KINDS = ("drop", "rename", "transpose", "halve", "double", "lose scale", "shift layer", "swap experts")
Tensors = list[HeaderTensor]


class Model(Record):
    """`base` is a folder whose other files (tokenizer, processor) a checkpoint of this model needs; "" for none."""

    name: str
    config: dict[str, object]
    tensors: Tensors
    base: str = ""


class Real(Record):
    """What the real load says: `ok`, `fail` or `refused` (the platform has no such kernel), and why."""

    verdict: str
    reason: str
    unfilled: frozenset[str] | None = None
    lost: frozenset[str] = frozenset()


def header_models() -> list[Model]:
    tied = {**SMALL_QWEN3, "tie_word_embeddings": True}
    found = [Model(name="qwen3 tied", config=tied, tensors=qwen3_dense("", tied))]
    for form in QUANTIZATION:
        if form:
            found.append(Model(name=f"qwen3 {form}", config=quantised_config(form), tensors=qwen3_dense(form)))
    fp8 = quantised_config("fp8", SMALL_MOE)
    fp8["quantization_config"] = {**QUANTIZATION["fp8"], "modules_to_not_convert": unquantised_gates(SMALL_MOE)}
    found.append(Model(name="qwen3-moe fp8", config=fp8, tensors=qwen3_moe(SMALL_MOE, block=128)))
    found.append(Model(name="deepseek fp8 mla", config=SMALL_DEEPSEEK, tensors=deepseek_v3(SMALL_DEEPSEEK)))
    return found


def family(session: ProbeSession, name: str, folder: Path) -> Model:
    """A tiny checkpoint of a family, as `seatrial tiny` makes it; its values are drawn again, norms too."""
    folder.mkdir()
    reply = session.call("tiny_checkpoint", {"family": name, "folder": str(folder), "seed": 0}, timeout_s=300)
    if reply.status != "answered":
        raise SystemExit(f"{name}: {reply.trouble()}")
    tensors = [HeaderTensor(name=t.name, dtype=t.dtype, shape=tuple(t.shape)) for t in read_checkpoint(folder).tensors]
    config = json.loads((folder / "config.json").read_text())
    return Model(name=name, config=config, tensors=tensors, base=str(folder))


def real(session: ProbeSession, folder: Path, usual: frozenset[str] | None) -> Real:
    """`usual`: the tensors that are nowhere when the good checkpoint is loaded; None if this is the good one."""
    reply = session.call("dry_real", {"folder": str(folder)}, timeout_s=300)
    if reply.status != "answered":
        raise SystemExit(f"the real load gave no answer: {reply.trouble()}")
    answer = reply.answer
    refused = answer["refused"]
    if "parameters" not in answer:
        stage = "refused" if refused["stage"] in ("configure", "build") else "fail"
        return Real(verdict=stage, reason=f"{refused['stage']}: {refused['error']}")
    rows = answer["parameters"]
    unfilled = frozenset(n for n, r in rows.items() if r["unfilled"] and not r["design"])
    changed = [n for n, r in rows.items() if r["changed"] and not r["design"]]
    lost = frozenset(n for n, places in answer["tensors"].items() if not places)
    new = lost - (lost if usual is None else usual)
    if unfilled or changed or new:
        parts = [f"unfilled {sorted(unfilled)[:1]}"] * bool(unfilled) + [f"other values in {changed[:1]}"] * bool(
            changed
        )
        parts += [f"nowhere: {sorted(new)[:1]}"] * bool(new)
        return Real(verdict="fail", reason="; ".join(parts), unfilled=unfilled, lost=lost)
    reason = f"{len(rows)} parameters equal the file" + f", {len(lost)} tensors are nowhere" * bool(lost)
    refused = refused or answer["placeholders"]
    if refused:
        why = refused["error"] if "error" in refused else f"no kernel: {'; '.join(refused.values())}"
        return Real(verdict="refused", reason=f"{reason}, but {why}", unfilled=unfilled, lost=lost)
    return Real(verdict="ok", reason=reason, unfilled=unfilled, lost=lost)


def make(model: Model, tensors: Tensors, folder: Path) -> None:
    if model.base:
        shutil.copytree(model.base, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    write(folder, model.config, tensors, seed=7)


def faults(model: Model, good: Real, rng: random.Random, most: int) -> list[tuple[str, Tensors]]:
    """One fault of each kind that fits, on tensors that the good load placed."""
    fit = [i for i, t in enumerate(model.tensors) if t.name not in good.lost]
    made = []
    for kind in KINDS:
        for _ in range(60):
            mutated = FAULTS[kind](rng, model.tensors, rng.choice(fit))
            if mutated is not None and len({t.name for t in mutated[0]}) == len(mutated[0]):
                made.append((kind, mutated[0]))
                break
    return made[:most]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--faults", type=int, default=len(KINDS), help="most faults per model")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProbeSession(options.python, log=Path(scratch) / "make.log") as making,
        ProbeSession(options.python, log=Path(scratch) / "real.log") as loading,
        ProbeSession(options.python, log=Path(scratch) / "dry.log") as drying,
    ):
        root = Path(scratch)
        named = [name for name in FAMILIES if not options.only or name in options.only]
        models = [family(making, name, root / f"base-{name}") for name in named]
        making.rest()
        models += [m for m in header_models() if not options.only or m.name in options.only]
        print(f"{'checkpoint':<18}{'fault':<13}{'real':<9}{'dry':<7}{'':<10}reasons")
        for model in models:
            usual: frozenset[str] | None = None
            cases = [("none", model.tensors)]
            while cases:
                kind, tensors = cases.pop(0)
                folder = root / "case"
                make(model, tensors, folder)
                truth = real(loading, folder, usual)
                result = dry(folder, read_checkpoint(folder).tensors, session=drying, timeout_s=300)
                shutil.rmtree(folder)
                if kind == "none":
                    usual = truth.lost
                    cases = faults(model, truth, random.Random(f"{options.seed} {model.name}"), options.faults)
                row = judge(truth, result.outcome.verdict, result.facts)
                counts[row] += 1
                counts[f"{row} {'good' if kind == 'none' else 'faulty'}"] += 1
                why = f"{truth.reason} | {result.outcome.reason or result.summary}".replace(str(root), "")
                print(f"{model.name:<18}{kind:<13}{truth.verdict:<9}{result.outcome.verdict.value:<7}{row:<10}", end="")
                print(" ".join(why.split())[: 230 if row == "agree" else 600], flush=True)
    print("\n" + ", ".join(f"{k}: {n}" for k, n in sorted(counts.items())))


def judge(truth: Real, verdict: Verdict, account: DryAccount) -> str:
    """`agree`, `DIFFER`, or `alone`. Where the platform refuses a kernel after the load, the weights are compared.

    `alone`: an operator is missing in the engine's library, the real load ends there, and the dry run says so (D023).
    """
    sound = truth.verdict == "ok" or (truth.verdict == "refused" and truth.unfilled is not None)
    if truth.verdict == "refused" and "_OpNamespace" in truth.reason:
        return "alone" if account.missing_ops else "DIFFER"
    if truth.verdict == "refused" and truth.unfilled is None:
        return "agree" if any(f.raw.stage in ("configure", "build") for f in account.failures) else "DIFFER"
    if sound != (verdict is Verdict.PASS):
        return "DIFFER"
    if truth.unfilled is not None and truth.unfilled != {t.name for t in account.parameter_troubles}:
        return "DIFFER"
    # A tensor that is nowhere in the model must be one that the account does not count as placed, or overwritten.
    told = {line.kind for line in account.tensors if line.state not in ("loaded", "fused")}
    told |= {kind_of(name) for overlap in account.overlaps for name in overlap.tensors}
    if sound and not {kind_of(name) for name in truth.lost} <= told:
        return "DIFFER"
    return "agree"


if __name__ == "__main__":
    main()
