"""The plan beside the engine itself: KV cache specs, KV tokens and weight bytes per rank. Must hold: all equal.

    python bench/plan_engine.py --engine ENGINE_PYTHON --configs FOLDER [--tp 1,2,4,8,16] [--only NAME...] [--keep FILE]

FOLDER holds `NAME_config.json` (and `NAME_hf_quant_config.json`) or one folder per checkpoint. The engine builds
each model
on meta tensors and answers its own KV cache spec, its capacity for three amounts of memory, and its parameters.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from plan_keep import line

from seatrial.engine.border import ProbeSession
from seatrial.estimate import Layout, Serving, engine_rules, read_model
from seatrial.estimate.kv_groups import capacity, pool
from seatrial.estimate.kv_layers import kv_cache
from seatrial.estimate.model import Lacking, Model, NotModelled, Uneven
from seatrial.estimate.weights import weight_bytes

MEMORY = [2 * 2**30, 16 * 2**30, 80 * 2**30]


def folders(source: Path, scratch: Path, only: list[str] | None) -> list[Path]:
    """One folder per config, as a checkpoint without weights."""
    found = [p for p in sorted(source.iterdir()) if (p / "config.json").is_file()]
    for file in sorted(source.glob("*_config.json")):
        if file.name.endswith("_hf_quant_config.json"):
            continue
        place = scratch / file.name.removesuffix("_config.json")
        place.mkdir()
        shutil.copyfile(file, place / "config.json")
        beside = file.with_name(f"{place.name}_hf_quant_config.json")
        if beside.is_file():
            shutil.copyfile(beside, place / "hf_quant_config.json")
        found.append(place)
    return [p for p in found if not only or p.name in only]


def kv_row(model: Model, layout: Layout, theirs: dict) -> tuple[str, str]:
    """(spec, tokens): "=" or what differs."""
    serving = Serving(
        max_model_len=theirs["max_model_len"], max_num_batched_tokens=theirs["max_num_batched_tokens"],
        prefix_caching=theirs["prefix_caching"],
    )  # fmt: skip
    rules = engine_rules("cpu")
    try:
        cache = kv_cache(model, layout, serving, rules)
        made = pool(cache, serving, rules)
    except (Lacking, NotModelled, Uneven) as exc:
        return f"not estimated: {exc}", ""
    mine = Counter((s.block, s.page, s.window or s.chunk) for s in cache.specs)
    given = Counter(
        (x["block_size"], x["page_bytes"], x.get("sliding_window") or x.get("attention_chunk_size"))
        for x in theirs["layers"].values()
    )
    spec = "=" if mine == given else "DIFFERS"
    if not given and not mine:
        return "= none", ""
    states = []
    for row in theirs["capacity"]:
        held = capacity(made, row["memory"], theirs["max_model_len"], theirs["max_in_flight_tokens"], cache, serving)
        equal = not held.fits if "refused" in row else (held.blocks, held.tokens) == (row["blocks"], row["tokens"])
        states.append("=" if equal else "DIFFERS")
    return spec, "".join(states)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--configs", type=Path, required=True)
    parser.add_argument("--tp", default="1,2,4,8,16")
    parser.add_argument("--more", action="store_true", help="also experts in parallel and three pipeline stages")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--keep", type=Path, help="write what was answered to this file, one line per config")
    options = parser.parse_args()
    sizes = [int(x) for x in options.tp.split(",")]
    totals: Counter[str] = Counter()
    exact: set[str] = set()
    print(f"{'config':<48} {'layout':>9} {'KV spec':<8} {'tokens':<8} {'weights GiB a rank':>18}  weights")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        with ProbeSession(options.engine, log=scratch / "log", env={"VLLM_CPU_KVCACHE_SPACE": "1"}) as session:
            for folder in folders(options.configs, scratch, options.only):
                layouts = [{"tp": tp} for tp in sizes]
                if options.more:
                    layouts += [{"tp": 4, "ep": True}, *({"tp": 1, "pp": 3, "rank": i} for i in range(3))]
                request = {"folder": str(folder), "layouts": layouts, "memory": MEMORY, "kv": True}
                reply = session.call("kv_spec", request, timeout_s=600)
                if reply.status != "answered":
                    print(f"{folder.name:<48} the engine gave no answer: {reply.trouble()[:100]}")
                    totals["no answer"] += 1
                    continue
                if options.keep and (told := line(folder, reply.answer)):
                    with options.keep.open("a") as stream:
                        stream.write(told + "\n")
                model = read_model(folder)
                wrong = seen = 0
                for row in reply.answer["layouts"]:
                    asked = row["layout"]
                    layout = Layout(tp=asked["tp"], pp=asked.get("pp", 1), ep=asked.get("ep", False))
                    if layout.ep and model.card.feed_forward.moe is None:
                        continue  # the engine refuses expert parallelism without experts
                    rank = asked.get("rank", 0)
                    tp = f"{layout.words()} {rank}" if layout.pp > 1 or layout.ep else str(layout.tp)
                    try:
                        mine, why = weight_bytes(model, layout).stages[rank // layout.tp].total(), ""
                    except (Lacking, NotModelled, Uneven) as exc:
                        mine, why = None, f"{type(exc).__name__}: {exc}"
                    if "error" in row:
                        said = " ".join(row["error"]["message"].split())[:60]
                        totals["engine refuses"] += 1
                        print(f"{folder.name:<48} {tp:>9} engine: {said}; plan: {why or 'gives a figure'}")
                        continue
                    seen += 1
                    spec, tokens = kv_row(model, layout, row["kv"]) if "kv" in row and layout.pp == 1 else ("-", "")
                    total = sum(p[3] for p in row["parameters"])
                    same = "=" if mine == total else why if mine is None else f"DIFFERS by {mine - total}"
                    if spec != "-":
                        state = {"D": "not equal", "n": "not estimated"}.get(spec[0], "equal")
                        totals[f"KV spec {state}"] += 1
                    totals["capacity equal"] += tokens.count("=")
                    totals["capacity not equal"] += tokens.count("DIFFERS")
                    totals[
                        "weights " + ("equal" if same == "=" else "not estimated" if mine is None else "not equal")
                    ] += 1
                    wrong += spec not in ("=", "= none", "-") or "D" in tokens or same != "="
                    print(f"{folder.name:<48} {tp:>9} {spec:<8} {tokens:<8} {total / 2**30:>18.3f}  {same}", flush=True)
                if seen and not wrong:
                    exact.add(folder.name)
    print(f"{len(exact)} configs equal in everything at every size the engine builds; {dict(totals)}")
    sys.exit(1 if any(v and k.endswith("not equal") for k, v in totals.items()) else 0)


if __name__ == "__main__":
    main()
