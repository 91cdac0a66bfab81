"""Zoo: every architecture that the engine registers and transformers can configure by default, dry-run header-only.

    python bench/dry_zoo.py ENGINE_PYTHON [--only NAME ...] [--out docs/dry-zoo.json]
    python bench/dry_zoo.py ENGINE_PYTHON --target ascend-a2 --plugin FOLDER [--out docs/dry-zoo-ascend.json]

Must hold: each gets a verdict, none crashes seatrial, at least 120 architectures, and of the failures none is ours.
transformers makes the checkpoint on the meta device with the names that `save_pretrained` would write, cut to 4 layers
at full width. With a target, the plugin's platform builds it through the stubs of `platforms/`. The result is the
source of the page docs/dry-zoo.md or dry-zoo-ascend.md (`make docs`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict
from seatrial.dryrun import HeaderTensor, dry
from seatrial.dryrun.raw import RawFailure
from seatrial.dryrun.rules.limits import is_gap, is_limit
from seatrial.engine.border import ProbeSession
from seatrial.platforms.stubs import Stubs, load_stubs
from seatrial.targets import load_target

ROOT = Path(__file__).resolve().parent.parent


def whose(result: StepResult) -> str:
    """Whose fault a verdict other than pass is: ours, transformers' (names or config fields that drifted), engine's."""
    account = result.facts
    if account is not None and any(is_gap(f.raw) for f in account.failures):
        return "stub"
    if account is None or account.crashed_ranks or any(is_limit(f.raw) for f in account.failures):
        return "ours"
    if any(f.raw.stage == "arrange" for f in account.failures):
        return "ours"
    refused = [f.raw for f in account.failures if f.raw.stage in ("configure", "parallel", "build")]
    absent = [c for c in account.calls.values() if c.state == "missing" and c.certain]
    if absent and not account.tensor_troubles and not account.parameter_troubles:
        return "plugin" if any(c.at and from_package(c.at.file) for c in absent) else "engine"
    if refused:
        if refused[0].type.endswith("TypeError") and "architectures" in (refused[0].at.source if refused[0].at else ""):
            return "transformers"  # its default config names none for the language model; published ones do
        if refused[0].stage == "configure" and "processor" in refused[0].message:
            return "zoo"  # tokenizer and processor files, which only a real checkpoint has
        places = " ".join(p.file for p in refused[0].frames[-3:])
        drifted = "transformers/" in places and refused[0].type.endswith("AttributeError")
        if drifted or "Strict" in refused[0].type:
            return "transformers"
        return "plugin" if from_plugin(refused[0]) else "engine"
    unplaced = [t for t in account.tensor_troubles if t.state in ("failed", "unexplained")]
    if unplaced:
        return "transformers"
    return "engine"


def from_package(file: str) -> bool:
    return "_ascend/" in file or "_kunlun/" in file


def from_plugin(failure: RawFailure) -> bool:
    """Whether the plugin's own code raised, or called what raised (other than handing on to the class it extends)."""
    last = [p for p in failure.frames[-2:] if from_package(p.file)]
    return "not supported in npu" in failure.message or any(not p.source.startswith("super()") for p in last)


def one(
    making: ProbeSession, session: ProbeSession, name: str, stubs: Stubs | None = None, plugin: str = ""
) -> dict[str, object]:
    began = time.monotonic()
    made = making.call("dry_headers", {"architecture": name, "layers": 4}, timeout_s=300)
    if made.status != "answered" or "error" in made.answer:
        return {
            "architecture": name,
            "verdict": "not made",
            "whose": "transformers",
            "reason": made.trouble() or made.answer["error"],
        }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(made.answer["config"]))
        for file, content in made.answer["files"].items():
            (Path(folder) / file).write_text(json.dumps(content))
        tensors = [HeaderTensor(name=n, dtype=d, shape=tuple(s)) for n, d, s in made.answer["tensors"]]
        generates = "ForCausalLM" in name or "ForConditionalGeneration" in name
        options = {} if generates else {"runner": "pooling"}
        result = dry(
            Path(folder),
            tensors,
            session=session,
            engine_args=options,
            stubs=stubs,
            plugin_root=plugin,
            timeout_s=300,
        )
    verdict = result.outcome.verdict
    return {
        "architecture": name,
        "verdict": verdict.value,
        "whose": "" if verdict is Verdict.PASS else whose(result),
        "summary": result.summary,
        "reason": " ".join(result.outcome.reason.replace(folder, "CHECKPOINT").split())[:260],
        "ops": operators(result),
        "backends": sorted({line.backend for line in result.facts.cache if line.backend}) if result.facts else [],
        "depth": made.answer["how"],
        "plugin": result.facts.stubs.plugin_version if result.facts and result.facts.stubs else "",
        "seconds": round(time.monotonic() - began, 1),
    }


def operators(result: StepResult) -> dict[str, object]:
    """What the forward calls: how many operators by state, and those that are missing by name."""
    calls = result.facts.calls if result.facts else {}
    found: dict[str, object] = dict(sorted(Counter(c.state for c in calls.values()).items()))
    for word, certain in (("certainly", True), ("perhaps", False)):
        names = sorted(n for n, c in calls.items() if c.state == "missing" and c.certain is certain)
        if names:
            found[f"{word} missing"] = names
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--plugin", default="", help="folder with the plugin's sources")
    options = parser.parse_args()
    target = load_target(options.target).target
    stubs = load_stubs(target.platform, target.lineage)
    version = ""
    rows = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProbeSession(options.python, log=Path(scratch) / "make.log") as making,
        ProbeSession(options.python, log=Path(scratch) / "zoo.log") as session,
    ):
        listed = making.call("dry_headers", {"list": True}).answer
        identity = making.call("identity", {}).answer["packages"]
        for entry in listed:
            if not entry["transformers"] or (options.only and entry["name"] not in options.only):
                continue
            row = one(making, session, entry["name"], stubs, options.plugin)
            version = str(row.pop("plugin", "") or version)
            rows.append(row)
            print(f"{row['architecture']:<48}{row['verdict']:<14}{row['whose']:<14}{row['reason'][:90]}", flush=True)
    tried = [r for r in rows if r["verdict"] != "not made"]
    counts = Counter((r["verdict"], r["whose"]) for r in rows)
    print(f"\nregistered {len(listed)}, in transformers {len(rows)}, dry-run {len(tried)}")
    for (verdict, owner), count in sorted(counts.items()):
        print(f"  {verdict:<14}{owner:<14}{count}")
    for word in ("certainly missing", "perhaps missing"):
        lacking = {str(r["architecture"]): r["ops"][word] for r in tried if word in r["ops"]}
        print(f"operators {word}: in {len(lacking)} models {lacking or ''}")
    if options.out:
        document = {
            "vllm": identity.get("vllm"),
            "transformers": identity.get("transformers"),
            "registered": len(listed),
            **({"target": options.target, "plugin": version} if stubs else {}),
            "rows": [{k: v for k, v in r.items() if k != "seconds"} for r in rows],
        }
        options.out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
