"""Hold whole batches of incidents out of the triage's learning, and ask the whole triage about them.

Usage: python bench/triage_unseen.py [--batch h --batch i ...] [FILE.jsonl...]

A batch is what one source and one group of writers gave (the key "batch" of tests/triage/data/public_incidents*.jsonl);
by default each one of at least 300 incidents. For each, a table is learned without its incidents and without any other
incident of their threads (the FILEs, in the same format, are learned), then every log goes through the command's own
reading. Nothing of the package is changed. The signatures stay: what they answered on these when they were new is in
blind_votes.jsonl, and what was mended since because of one counts for it here. "all" pools the batches; "sure" leaves
out the incidents whose label its writer doubted: what is wrong there says little.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from _triage_cases import DATA, Case, every_incident, label, messages, own_cases
from _triage_fit import blind_answers, write

from seatrial.triage import diagnose_text, library, likeness
from seatrial.triage.categories import UNKNOWN

FLOORS = (0.85, 0.88, 0.9, 0.92, 0.93, 0.94, 0.95, 0.96)
LARGE = 300


class Answer(NamedTuple):
    """`good`: the category is one of the label's; `confidence` is 0 where the answer is unknown at any floor.

    `doubted`: the label's own writer was unsure of it.
    """

    answered: bool
    good: bool
    confidence: float
    doubted: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--batch", action="append", default=[])
    given = parser.parse_args()
    rows: dict[str, dict] = {}
    for path in sorted(DATA.glob("public_incidents*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows[f"{path.stem}/{row.get('id') or row['file']}"] = row
    sizes = Counter(row["batch"] for row in rows.values() if row.get("batch"))
    batches = given.batch or sorted(name for name, n in sizes.items() if n >= LARGE)
    if missing := [name for name in batches if name not in sizes]:
        print(f"no incidents of batch {', '.join(missing)}; there are {', '.join(sorted(sizes))}", file=sys.stderr)
        return 2
    library()
    cases = every_incident(given.files)
    fixed = messages(DATA / "messages.txt") + own_cases()
    whole: list[Answer] = []
    for batch in batches:
        found = held_out({k: r for k, r in rows.items() if r.get("batch") == batch}, cases, fixed)
        show(batch, found)
        whole += found
    show("all", whole)
    show("sure", [a for a in whole if not a.doubted])
    return 0


def held_out(held: dict[str, dict], cases: list[Case], fixed: list[Case]) -> list[Answer]:
    """What the triage answers on each, with a table that knows none of their threads."""
    threads = {c.thread for c in cases if c.key in held}
    known = [c for c in cases if c.key not in held and c.thread not in threads]
    shipped = likeness.TABLE
    with tempfile.TemporaryDirectory() as folder:
        likeness.TABLE = Path(folder) / shipped.name
        # Every answer, however doubtful and however sure: the floors are tried afterwards.
        write(known + fixed, blind_answers(known, fixed, 5), 0.05, 0.999, likeness.TABLE)
        likeness.table.cache_clear()
        try:
            return [ask(row) for row in held.values()]
        finally:
            likeness.TABLE = shipped
            likeness.table.cache_clear()


def ask(row: dict) -> Answer:
    found = diagnose_text(row["log"])
    answered = found.category != UNKNOWN
    return Answer(
        answered=answered,
        good=found.category in label(row),
        confidence=found.confidence if answered else 0.0,
        doubted=row.get("label_confidence") == "low",
    )


def show(name: str, answers: list[Answer]) -> None:
    for floor in FLOORS:
        right = sum(a.good and (a.confidence >= floor or not a.answered) for a in answers) / len(answers)
        wrong = sum(a.answered and not a.good and a.confidence >= floor for a in answers) / len(answers)
        print(f"{name:<6}{len(answers):>6} floor {floor:<5}{right:>8.1%} right{wrong:>7.1%} wrong", flush=True)


if __name__ == "__main__":
    sys.exit(main())
