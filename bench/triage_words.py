"""Learn the table of the triage's second opinion, and measure it on incidents it has not seen.

Usage: python bench/triage_words.py [FILE.jsonl...] [--write] [--floor 0.92] [--folds 10]

Trains on tests/triage/data (labelled incidents, messages, the signatures' own cases) and on the FILEs given (same
format), as _triage_fit.py says. Prints what words and signatures give alone and together, by folds that share no
thread, and the calibration; --write replaces words.json.gz. The folds flatter: batches were written by one hand each.
triage_unseen.py holds whole batches out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
from _triage_cases import DATA, every_incident, label, messages, own_cases
from _triage_fit import CLASSES, Blind, blind_answers, fit, learn_record, share_of, write

from seatrial.triage import library, reading
from seatrial.triage.categories import UNKNOWN
from seatrial.triage.likeness import TABLE

FLOORS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.88, 0.9, 0.92, 0.93, 0.95)
HONEST_SETS = {"a4", "b5", "b6", "c5", "d1", "d2", "d3", "h", "m", "o", "i", "u", "f", "k"}  # no rule writer read them


def verdicts(share: np.ndarray, right: np.ndarray, floor: float) -> Counter:
    out: Counter = Counter()
    for row, good in zip(share, right, strict=True):
        best = int(row.argmax())
        nothing = row[best] < floor or CLASSES[best] == UNKNOWN
        blank = good[CLASSES.index(UNKNOWN)] > 0
        out["right" if (nothing and blank) or (not nothing and good[best]) else "unknown" if nothing else "wrong"] += 1
    return out


def show(name: str, count: Counter) -> None:
    total = sum(count.values())
    print(f"{name:<34}{total:>6}{count['right'] / total:>9.1%} right{count['wrong'] / total:>8.1%} wrong"
          f"{count['unknown'] / total:>8.1%} unknown")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--write", action="store_true", help="replace the table that ships with the package")
    parser.add_argument("--floor", type=float, default=0.92, help="the probability an answer needs")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--votes", type=Path, help="append the signatures' answers on this file, and do nothing else")
    given = parser.parse_args()
    library()
    if given.votes:
        return append_votes(given.votes)
    known = every_incident(given.files)
    fixed = messages(DATA / "messages.txt") + own_cases()
    print(f"{len(known)} incidents, {len(fixed)} messages and cases of signatures")
    blind = blind_answers(known, fixed, given.folds)
    both = held_out(blind)
    show("signatures alone (blind)", Counter(b["verdict"] for b in blind.answers))
    alone = fit(blind.scores, blind.votes * 0, blind.right)
    show("words alone", verdicts(share_of(blind.scores, blind.votes * 0, alone), blind.right, given.floor))
    for floor in FLOORS:
        show(f"both, floor {floor}", verdicts(both, blind.right, floor))
    ceiling = calibration(both, blind.right)
    named(both, blind.right)
    pick = np.array([b["set"] in HONEST_SETS for b in blind.answers])
    for floor in FLOORS:
        show(f"never read before, floor {floor}", verdicts(both[pick], blind.right[pick], floor))
    if (both[pick].max(axis=1) >= 0.95).any():
        calibration(both[pick], blind.right[pick])
    named(both[pick], blind.right[pick])
    for name in sorted({b["set"] for b in blind.answers}):
        pick = np.array([b["set"] == name for b in blind.answers])
        show(f"  {name}: signatures", Counter(b["verdict"] for b in blind.answers if b["set"] == name))
        show(f"  {name}: both", verdicts(both[pick], blind.right[pick], given.floor))
    if given.write:
        write(known + fixed, blind, given.floor, ceiling, TABLE)
    return 0


def held_out(blind: Blind) -> np.ndarray:
    """The probability of each category by both together, what weighs them learned without the incident's fold."""
    both = np.zeros_like(blind.scores)
    for fold in range(5):
        here = blind.folds == fold
        learn_record(blind.votes, blind.answers, blind.labelled, ~here, CLASSES)
        part = fit(blind.scores[~here], blind.votes[~here], blind.right[~here])
        both[here] = share_of(blind.scores[here], blind.votes[here], part)
    return both


def append_votes(path: Path) -> int:
    """What the signatures alone answer on each incident of a file that neither they nor the table know yet."""
    with (DATA / "blind_votes.jsonl").open("a", encoding="utf-8") as out:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found = reading([BytesIO(row["log"].encode("utf-8", "surrogatepass"))])
            good = found.rule in label(row)
            verdict = "right" if good else "unknown" if found.rule == UNKNOWN else "wrong"
            votes = [[kind, category] for kind, category in found.votes]
            answer = {
                "id": row["id"], "set": row.get("batch") or path.stem, "file": path.stem, "verdict": verdict,
                "signature": found.signature, "votes": votes,
            }  # fmt: skip
            out.write(json.dumps(answer) + "\n")
    return 0


def named(share: np.ndarray, right: np.ndarray) -> None:
    """Print how often a label's name is among the first categories, sure or not."""
    order = np.argsort(-share, axis=1)
    good = np.take_along_axis(right, order, axis=1) > 0
    print("among the first", ", ".join(f"{n}: {good[:, :n].any(axis=1).mean():.1%}" for n in (1, 2, 3)))


def calibration(share: np.ndarray, right: np.ndarray) -> float:
    """Print how often answers of a probability were right; give the rate of the surest."""
    best, sure = share.argmax(axis=1), share.max(axis=1)
    good = right[np.arange(len(right)), best] > 0
    print("probability    answers  right")
    for low in (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        high = {0.0: 0.3, 0.9: 0.95, 0.95: 1.01}.get(low, low + 0.1)
        pick = (sure >= low) & (sure < high)
        if pick.any():
            print(f"{low:.2f} to {min(high, 1):.2f}{pick.sum():>9}{good[pick].mean():>9.0%}")
    surest = good[sure >= 0.95]
    if not len(surest):
        raise SystemExit("no answer has a probability of 0.95: too few incidents to learn a table from")
    return round(float(surest.mean()), 2)


if __name__ == "__main__":
    sys.exit(main())
