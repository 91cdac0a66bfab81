"""A kernel_details.csv of a million rows, beside plain polars and the standard library's csv. Must hold: 1.5 s.

Usage: python bench/profile_kernels.py FOLDER [--rows 1000000] [--runs 3]

The file is made as torch_npu writes it: absolute microseconds with a TAB behind them, 35 columns, some 260 bytes a row.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from pathlib import Path

from profile_speed import SRC, row, run

HEAD = (
    "Step Id,Device_id,Model ID,Task ID,Stream ID,Name,Type,OP State,Accelerator Core,Start Time(us),Duration(us),"
    "Wait Time(us),Block Dim,Mix Block Dim,HF32 Eligible,Input Shapes,Input Data Types,Input Formats,Output Shapes,"
    "Output Data Types,Output Formats,Context ID,aicore_time(us),aic_total_cycles,aic_mac_time(us),aic_mac_ratio,"
    "aiv_time(us),aiv_total_cycles,aiv_vec_time(us),aiv_vec_ratio"
)
TYPES = [
    ("MatMulV3", "AI_CORE", 41.3),
    ("FusedInferAttentionScore", "MIX_AIC", 25.1),
    ("AddRmsNorm", "AI_VECTOR_CORE", 6.2),
    ("SwiGlu", "AI_VECTOR_CORE", 5.0),
    ("hcom_allReduce_", "HCCL", 35.7),
    ("RotaryMul", "AI_VECTOR_CORE", 3.3),
]
POLARS = """
import sys, polars as pl
f = pl.read_csv(sys.argv[1], columns=["Type", "Duration(us)"], schema_overrides={"Duration(us)": pl.Float64})
print(f.group_by("Type").agg(pl.len(), pl.col("Duration(us)").sum()))
"""
PLAIN = """
import csv, sys, collections
total = collections.Counter()
with open(sys.argv[1], newline="") as stream:
    for row in csv.DictReader(stream):
        total[row["Type"]] += float(row["Duration(us)"])
print(total)
"""


def make(path: Path, rows: int) -> None:
    chance = random.Random(3)
    now = 1763600000000050500
    with path.open("w", encoding="utf-8") as out:
        out.write(HEAD + "\n")
        for i in range(rows):
            kind, core, us = TYPES[i % len(TYPES)]
            dur = int(us * 1000 * (0.8 + 0.4 * chance.random()))
            now += chance.randrange(500, 9000)
            out.write(
                f"1,0,4294967295,{i % 65536},{47 if core != 'HCCL' else 62},"
                f"aclnn{kind}_{kind}_{kind},{kind},dynamic,{core},"
                f"{now // 1000}.{now % 1000:03d}\t,{dur / 1000:.3f},{chance.random():.2f},24,0,NO,"
                '"""16,7168;7168,2112""",DT_BF16;DT_BF16,ND;ND,"""16,2112""",DT_BF16,ND,N/A,'
                f"{dur / 1100:.2f},{dur * 24},{dur / 2000:.2f},0.512,0.0,0,0.0,0.0\n"
            )
            now += dur


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    folder = given.folder / f"kernels{given.rows}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "kernel_details.csv"
    if not path.exists():
        make(path, given.rows)
    environment = dict(os.environ, PYTHONPATH=str(SRC))
    print(f"{path.stat().st_size / 1e6:.0f} MB, {given.rows:,} rows")
    print(f"{'':<34}{'wall':>11}{'processor':>11}{'memory':>12}   {'must hold':<22}{'load':>6}")
    ours = [sys.executable, "-m", "seatrial", "profile", "read", str(path), "--no-cache"]
    row("seatrial profile read", [run(ours, environment) for _ in range(given.runs)], "1.5 s")
    row("polars, two columns, sums only", [run([sys.executable, "-c", POLARS, str(path)], environment)], "")
    row("csv of the standard library", [run([sys.executable, "-c", PLAIN, str(path)], environment)], "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
