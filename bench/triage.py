"""Score the triage on a file of labelled incidents.

Usage: python bench/triage.py FILE.jsonl [--json] [--ids ID,ID...] [--quiet]

Each line holds `log` (text) or `file` (a path beside FILE), `category`, optionally `secondary_category`, `id`,
`log_fidelity` (or `fidelity`). An answer is right when it is the category or the secondary one; where the label is
"unknown" or "none" an answer of "unknown" is. Elsewhere an answer of "unknown" is neither right nor wrong. Prints
accuracy by fidelity class, confusion pairs, unknowns and calibration.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

from seatrial.triage import diagnose, diagnose_text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--ids", default="", help="score only these ids")
    parser.add_argument("--quiet", action="store_true", help="totals only")
    given = parser.parse_args()
    wanted = set(filter(None, given.ids.split(",")))
    rows = []
    for number, line in enumerate(given.file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        case = json.loads(line)
        name = case.get("id") or case.get("file") or f"line {number}"
        if wanted and name not in wanted:
            continue
        answer = diagnose_text(case["log"]) if "log" in case else diagnose([given.file.parent / case["file"]])
        accepted = {case["category"], case.get("secondary_category")} - {None}
        nothing = answer.category == "unknown"
        if not accepted.isdisjoint({"unknown", "none"}):  # a log that does not show its cause, or holds no failure
            verdict = "right" if nothing else "wrong"
        else:
            verdict = "unknown" if nothing else "right" if answer.category in accepted else "wrong"
        rows.append(
            {
                "id": name,
                "fidelity": case.get("log_fidelity") or case.get("fidelity") or "-",
                "label": case["category"],
                "answer": answer.category,
                "signature": answer.signature,
                "confidence": answer.confidence,
                "verdict": verdict,
                "primary": answer.category == case["category"],
            }
        )
    if given.json:
        print(json.dumps(rows, indent=1))
        return 0
    report(rows, quiet=given.quiet)
    return 0


def report(rows: list[dict], *, quiet: bool) -> None:
    groups = defaultdict(Counter)
    for row in rows:
        for key in ("all", row["fidelity"]):
            groups[key][row["verdict"]] += 1
            groups[key]["primary"] += row["primary"]
    print(
        f"{'fidelity':<16}{'cases':>6}{'right':>7}{'unknown':>9}{'wrong':>7}"
        f"{'accuracy':>10}{'wrong %':>9}{'primary':>9}"
    )
    for key, count in groups.items():
        total = count["right"] + count["unknown"] + count["wrong"]
        print(
            f"{key:<16}{total:>6}{count['right']:>7}{count['unknown']:>9}{count['wrong']:>7}"
            f"{count['right'] / total:>10.1%}{count['wrong'] / total:>9.1%}{count['primary'] / total:>9.1%}"
        )
    buckets = defaultdict(Counter)
    for row in rows:
        if row["verdict"] != "unknown":
            buckets[row["confidence"]][row["verdict"]] += 1
    print("\nconfidence  answers  right")
    for value, count in sorted(buckets.items()):
        n = count["right"] + count["wrong"]
        print(f"{value:>10.2f}{n:>9}{count['right'] / n:>7.0%}")
    if quiet:
        return
    print("\nwrong (label -> answer):")
    for row in rows:
        if row["verdict"] == "wrong":
            print(f"  {row['id']:<22}{row['label']} -> {row['answer']}   by {row['signature']}")
    print("unknown:")
    for row in rows:
        if row["verdict"] == "unknown":
            print(f"  {row['id']:<22}{row['label']}")


if __name__ == "__main__":
    sys.exit(main())
