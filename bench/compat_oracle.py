"""Precision and recall of the compatibility meter against really importing the engine.

    python bench/compat_oracle.py --python ENGINE_PYTHON --engine FOLDER --plugin SRC [--extra FOLDER] [--show N]

Names: every import statement of the plugin's modules, found by a plain walk of the syntax tree (not the meter's own),
is asked of the running engine: does the module import, does the name exist. Calls: every call the meter compared with a
signature is bound by `inspect.signature` of the real object. FOLDER (a site-packages folder or an unpacked wheel) goes
ahead of the engine's own on PYTHONPATH. What the engine here cannot answer (a module that needs a device or a library
that is not installed) is counted apart and judged neither way.

A positive is "missing" or "does not bind". For names the meter's answer is its resolver's, whatever guards the place;
for breakages it is the report's: every reported one must be missing in the engine too.
"""

from __future__ import annotations

import argparse
import ast
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from seatrial.engine.border import ProbeSession
from seatrial.support.compat import compat
from seatrial.support.compat.check_calls import check_calls
from seatrial.support.compat.run import open_pair
from seatrial.support.modules import absolute


def plain_imports(pair) -> set[tuple[str, str]]:
    """(module, name) of every import of vLLM in the plugin, by `ast.walk` alone."""
    found = set()
    for name in pair.plugin.package.names():
        module = pair.plugin.package.get(name)
        for node in ast.walk(module.tree) if module is not None and module.tree is not None else ():
            if isinstance(node, ast.Import):
                found.update((a.name, "") for a in node.names if a.name.split(".")[0] == "vllm")
            elif isinstance(node, ast.ImportFrom):
                base = absolute(module, node)
                if base.split(".")[0] == "vllm":
                    found.update((base, "" if a.name == "*" else a.name) for a in node.names)
    return found


def resolver_says_missing(pair, module: str, name: str) -> bool:
    """The resolver alone: neither guards nor what the plugin puts in place."""
    if not pair.engine.has_module(module):
        return True
    return bool(name) and pair.engine.resolve(module, name).status in ("missing", "no-module")


def made_by_a_build(pair, module: str, name: str) -> bool:
    """The meter leaves it open: this vLLM imports it itself and does not carry it, so another build may have it."""
    sub = f"{module}.{name}" if name else module
    return not pair.engine.package.has(sub) and any(sub == b or sub.startswith(f"{b}.") for b in pair.engine.built())


def attribute_reads(pair) -> dict[str, bool]:
    """Dotted path of every attribute the plugin reads of a vLLM module or class, to whether the meter misses it."""
    found = {}
    for name, sites in pair.sites.items():
        for site in sites.attributes:
            place = pair.place(site.node, site.context, name)
            base = pair.place(site.node.value, site.context, name) if place is not None else None
            if base is None or base.resolution.status != "found" or base.resolution.module.split(".")[0] != "vllm":
                continue
            owner = base.resolution
            path = ".".join(filter(None, [owner.module, owner.name, site.node.attr]))
            if place.resolution.status in ("found", "missing"):
                found[path] = place.resolution.status == "missing"
    return found


def score(title: str, pairs: list[tuple[str, bool, str]], show: int) -> bool:
    """`pairs`: (label, meter says bad, engine's state). Prints the figures; True if both are at least 0.98."""
    table = Counter((bad, state if state in ("there", "missing") else "unknown") for _label, bad, state in pairs)
    hit, false = table[True, "missing"], table[True, "there"]
    missed = table[False, "missing"]
    precision = hit / (hit + false) if hit + false else None
    recall = hit / (hit + missed) if hit + missed else None
    figures = [f"{'n/a' if v is None else format(v, '.4f')}" for v in (precision, recall)]
    unknown = table[False, "unknown"] + table[True, "unknown"]
    print(f"{title:<12} {len(pairs):>5} asked, {unknown:>4} the engine cannot say; "
          f"right alarms {hit}, false {false}, missed {missed}, right silence {table[False, 'there']}; "
          f"precision {figures[0]}, recall {figures[1]}")  # fmt: skip
    for label, bad, state in pairs:
        if (bad, state) in ((True, "there"), (False, "missing")) and show > 0:
            show -= 1
            print("   ", "FALSE" if bad else "MISSED", label)
    return all(v is None or v >= 0.98 for v in (precision, recall))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--plugin", type=Path, required=True)
    parser.add_argument("--extra", type=Path)
    parser.add_argument("--show", type=int, default=20)
    args = parser.parse_args()
    began, cpu = time.perf_counter(), time.process_time()
    report = compat(args.engine, args.plugin)
    took, spent = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    verdict = report.outcome.verdict.value
    print(f"{report.plugin_name} {report.plugin_version} x vLLM {report.engine_version}: {verdict}, "
          f"{len(report.breakages())} breakages, {took:.1f} s ({spent:.1f} s of processor), {peak:.0f} MB")  # fmt: skip
    opened = open_pair(args.engine, args.plugin)
    pair = opened.pair
    list(check_calls(pair))
    names = sorted(plain_imports(pair))
    calls = [
        {
            "what": c.what,
            "positional": len(c.call.args),
            "keywords": [k.arg for k in c.call.keywords if k.arg],
            "stars": any(isinstance(a, ast.Starred) for a in c.call.args),
            "spread": any(k.arg is None for k in c.call.keywords),
            "bound": c.bound,
        }
        for c in pair.judged
    ]
    judged_attributes = attribute_reads(pair)
    attributes = sorted(judged_attributes)
    folders = [args.engine, *([args.extra] if args.extra else [])]
    with tempfile.TemporaryDirectory() as scratch:
        env = {"PYTHONPATH": os.pathsep.join(str(f.resolve()) for f in folders)}
        with ProbeSession(args.python, log=Path(scratch) / "probe.log", env=env) as session:
            reply = session.call("symbols", {"imports": names, "calls": calls, "attributes": attributes}, timeout_s=900)
    if reply.status != "answered":
        print("the engine gave no answer:", reply.trouble())
        return 3
    states = dict(zip(names, reply.answer["imports"], strict=True))
    open_names = sorted(s for s in states if made_by_a_build(pair, *s) and states[s] == "missing")
    print(f"left open    {len(open_names)} names only another build of this vLLM may have: {open_names}")
    asked = [(s, state) for s, state in states.items() if s not in open_names]
    good = score("names", [(" ".join(s), resolver_says_missing(pair, *s), state) for s, state in asked], args.show)
    labels = [f"{c.file}:{c.line} {c.what}" for c in pair.judged]
    judged = zip(labels, pair.judged, reply.answer["calls"], strict=True)
    good &= score("calls", [(label, not c.fits, state) for label, c, state in judged], args.show)
    seen = zip(attributes, reply.answer["attributes"], strict=True)
    good &= score("attributes", [(path, judged_attributes[path], state) for path, state in seen], args.show)
    reported = {(h.symbol, "") if h.code == "K001" else tuple(h.symbol.rsplit(".", 1)) for h in report.breakages()
                if h.code in ("K001", "K002")}  # fmt: skip
    wrong = sorted(s for s in reported if states.get(s, states.get((s[0], ""), "missing")) == "there")
    print(f"reported     {len(reported)} distinct missing names, {len(wrong)} of them there: {wrong[: args.show]}")
    why = Counter(s.split(":")[0] + ":" + s.split(":")[1][:60] for s in states.values() if s.startswith("not known"))
    for reason, count in why.most_common(5):
        print(f"   cannot say {count:>3} x {reason}")
    return 0 if good and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
