"""Learn the table of the triage's second opinion, and measure it on incidents it has not seen.

Usage: python bench/triage_words.py [FILE.jsonl...] [--write] [--floor 0.93] [--folds 10]

Trains on tests/triage/data (labelled incidents, messages, the signatures' own cases) and on the FILEs given (same
format). The words' classifier is ridge regression on tf-idf words, one column per category. How much the signatures'
votes count against it is fitted on tests/triage/data/blind_votes.jsonl: what the signatures answered when each incident
was new to them; there the words' score is that of a model trained without it (folds by thread). Prints what
both give alone and together, by the same folds, and the calibration; --write replaces words.json.gz.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import zlib
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seatrial.core.record import to_json
from seatrial.triage import by_family, library, reading
from seatrial.triage.categories import CATEGORIES, UNKNOWN
from seatrial.triage.likeness import SCALE, TABLE, Table
from seatrial.triage.signature import Kind, Tier

# What the command tells cannot be read from a failure's words; too few blind answers rest on it to fit this.
BY_CONTEXT = 2.0
EXACT = 3  # the place of "chosen.4" behind the slope
DATA = Path(__file__).parent.parent / "tests" / "triage" / "data"
SITE = "/opt/venv/lib/python3.11/site-packages/"
HEAD = "(EngineCore_DP0 pid=243) ERROR 05-12 10:41:24 [core.py:843] "
RIDGE = 0.3
SECOND = 0.5  # how much of a label the secondary category is
SMALL = 2  # weights below this many hundredths are left out: many small ones tell a known failure again
DOUBTED = 0.4  # how often an incident counts whose label its writer doubted
LEAST, LEAST_ELSEWHERE = 2, 3  # how often a word of the failure itself, a pair, or a word from elsewhere has to occur
PRIOR = 3.0
REFERENCE = 3.0  # how often an incident of the FILEs counts: they show how labels are chosen
SAID_PRIOR = 10.0  # answers of the usual mix that the record of what the signatures said starts from
SAID_LEAST = -3.0
HONEST_SETS = {"a4", "b5", "b6", "c5", "d1", "d2", "d3", "h", "m", "o", "i", "u", "f"}
KINDS = (
    "chosen.2",
    "chosen.3",
    "chosen.4",
    "other.1",
    "other.2",
    "other.3",
    "other.4",
    "crash",
    "content",
    "said",
    "context",
    "trust",
)


class Case(NamedTuple):
    """`key` is the file's stem and the incident's id, `thread` its page (or id): two may tell of one failure."""

    key: str
    thread: str
    labels: tuple[str, ...]
    words: dict[str, float]
    times: float = 1.0  # how often it counts


def label(case: dict) -> tuple[str, ...]:
    found = [c for c in (case["category"], case.get("secondary_category")) if c]
    return tuple(UNKNOWN if c == "none" else c for c in found)


def words_of(log: str) -> dict[str, float]:
    return reading([BytesIO(log.encode("utf-8", "surrogatepass"))]).words


def incidents(path: Path, times: float = 1.0) -> list[Case]:
    """The incidents of a file but those whose log is a file without any sign of the failure.

    Such a log would teach that every clean start is that failure.
    """
    out = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        name = str(row.get("id") or row["file"])
        found = reading(
            [BytesIO(row["log"].encode("utf-8", "surrogatepass")) if "log" in row else path.parent / row["file"]]
        )
        if "log" in row or found.focus is not None:
            names = label(row)
            if times > 1 and found.rule in names:
                # Both names are right there: that the words give another one than the signature helps nobody.
                names = (found.rule, *(n for n in names if n != found.rule))
            thread = str(row.get("url") or name).replace("/pull/", "/issues/")
            counts = DOUBTED if row.get("label_confidence") == "low" and times == 1 else times
            out.append(Case(f"{path.stem}/{name}", thread, names, found.words, counts))
    return out


def message_log(line: str) -> str:
    """A line of messages.txt as the log of an engine that fails so."""
    _, frame, text = (part.strip() for part in line.split("||", 2))
    text = text.replace("\\n", "\n").replace("\\t", "\t")
    if not frame:
        return text
    path, function, code = (*frame.split(":", 2), "", "")[:3]
    place = f'  File "{SITE}{path}", line 88, in {function or "f"}'
    lines = ["Traceback (most recent call last):", place, f"    {code or 'raise'}", *text.split("\n")]
    return "\n".join(HEAD + part for part in lines)


def messages(path: Path) -> list[Case]:
    lines = [x for x in path.read_text(encoding="utf-8").splitlines() if x and not x.startswith("#")]
    return [
        Case("", "", tuple(c.strip() for c in x.split("||")[0].split(",")), words_of(message_log(x))) for x in lines
    ]  # fmt: skip


def own_cases() -> list[Case]:
    return [
        Case("", "", (s.category,), words_of(text))
        for family in by_family().values() for s in family
        # What means this only in a context says nothing by its words.
        if s.kind is Kind.ROOT and s.tier > Tier.WEAK and not s.context
        for text in s.matches
    ]  # fmt: skip


class Space:
    """The words that occur often enough, their idf, and the cases as rows of length one."""

    def __init__(self, cases: list[Case]) -> None:
        count = Counter(word for c in cases for word in c.words)
        known = (w for w, n in sorted(count.items()) if n >= (LEAST_ELSEWHERE if w[0] in "noix" else LEAST))
        self.columns = {word: i for i, word in enumerate(known)}
        self.idf = np.array([np.log(len(cases) / count[w]) + 0.3 for w in self.columns])
        self.matrix = np.zeros((len(cases), len(self.columns)), np.float32)
        for row, case in enumerate(cases):
            for word, weight in case.words.items():
                if (column := self.columns.get(word)) is not None:
                    self.matrix[row, column] = weight * self.idf[column]
        self.matrix /= np.maximum(np.linalg.norm(self.matrix, axis=1, keepdims=True), 1e-9)
        self.kernel = (self.matrix @ self.matrix.T).astype(float)


def solve(kernel: np.ndarray, cases: list[Case], classes: tuple[str, ...]) -> np.ndarray:
    """Ridge regression in the space of the cases: how much each case pulls to each category."""
    wanted = np.full((len(cases), len(classes)), -0.02)
    for row, case in enumerate(cases):
        for place, name in enumerate(case.labels):
            wanted[row, classes.index(name)] = (1.0 if place == 0 else SECOND) - 0.02
    return np.linalg.solve(kernel + np.diag([RIDGE / case.times for case in cases]), wanted)


def fold_of(name: str, folds: int) -> int:
    return zlib.crc32(name.encode()) % folds


def out_of_fold(cases: list[Case], fixed: list[Case], classes: tuple[str, ...], folds: int) -> np.ndarray:
    """Scores of every case by a model that saw no label of its thread (`fixed` is always seen).

    The words' idf is counted once over all texts: it looks at no label.
    """
    out = np.zeros((len(cases), len(classes)))
    every = cases + fixed
    kernel = Space(every).kernel
    place = np.array([fold_of(c.thread, folds) for c in cases] + [-1] * len(fixed))
    for fold in range(folds):
        held, seen = np.flatnonzero(place == fold), np.flatnonzero(place != fold)
        if len(held):
            pull = solve(kernel[np.ix_(seen, seen)], [every[i] for i in seen], classes)
            out[held] = kernel[np.ix_(held, seen)] @ pull
    return out


def trust_of(blind: list[dict]) -> dict[str, float]:
    """By signature, how much more or less than the average its answers are to be believed, as log-odds.

    Each rate is pulled to the average by PRIOR answers.
    """
    count: dict[str, Counter] = {}
    for b in blind:
        if b["verdict"] != "unknown" and b["signature"]:
            count.setdefault(b["signature"], Counter())[b["verdict"]] += 1
    whole = sum((c for c in count.values()), Counter())
    mean = whole["right"] / (whole["right"] + whole["wrong"])
    out = {}
    for name, c in count.items():
        rate = (c["right"] + PRIOR * mean) / (c["right"] + c["wrong"] + PRIOR)
        out[name] = round(float(np.log(rate / (1 - rate)) - np.log(mean / (1 - mean))), 2)
    return out


def answered(b: dict) -> str:
    """The category that the signatures alone answered."""
    return next((c for k, c in b["votes"] if not k.startswith("other") and k != "context"), UNKNOWN)


def said_of(blind: list[dict], right: np.ndarray, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """By what the signatures answered (rows), how often each category was true, and its usual share.

    `right` holds each incident's label as shares.
    """
    usual = right.mean(axis=0) + 1e-3
    count = np.zeros((len(classes), len(classes)))
    for b, share in zip(blind, right, strict=True):
        count[classes.index(answered(b))] += share
    return count, usual / usual.sum()


def ratio(count: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Log of how much likelier than usual each category is, `count` pulled to the usual mix by SAID_PRIOR answers."""
    rate = (count + SAID_PRIOR * usual) / (count.sum(axis=-1, keepdims=True) + SAID_PRIOR)
    return np.maximum(np.log(rate / usual), SAID_LEAST)


def fit(scores: np.ndarray, votes: np.ndarray, right: np.ndarray, steps: int = 3000) -> np.ndarray:
    """Slope of the words' score and weight of each kind of vote: maximum likelihood, votes never below zero."""
    theta = np.array([8.0] + [0.5] * votes.shape[2])
    features = np.concatenate([scores[:, :, None], votes], axis=2)
    moment, square = np.zeros_like(theta), np.zeros_like(theta)
    for step in range(1, steps + 1):
        odds = features @ theta
        odds -= odds.max(axis=1, keepdims=True)
        share = np.exp(odds)
        share /= share.sum(axis=1, keepdims=True)
        good = share * right
        good /= np.maximum(good.sum(axis=1, keepdims=True), 1e-12)
        slope = np.einsum("nc,nck->k", good - share, features) / len(scores) - 0.002 * theta
        moment = 0.9 * moment + 0.1 * slope
        square = 0.999 * square + 0.001 * slope**2
        theta = theta + 0.03 * (moment / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-9)
        theta = np.maximum(theta, 0.0)
        theta[EXACT] = max(theta[EXACT], theta[EXACT - 1])  # an exact text says no less than a literal one
        theta[-2] = BY_CONTEXT
        theta[-1] = 1.0  # the last kind holds what the signatures' own record adds
    return theta


def share_of(scores: np.ndarray, votes: np.ndarray, theta: np.ndarray) -> np.ndarray:
    odds = np.concatenate([scores[:, :, None], votes], axis=2) @ theta
    share = np.exp(odds - odds.max(axis=1, keepdims=True))
    return share / share.sum(axis=1, keepdims=True)


def verdicts(share: np.ndarray, right: np.ndarray, classes: tuple[str, ...], floor: float) -> Counter:
    out: Counter = Counter()
    for row, good in zip(share, right, strict=True):
        best = int(row.argmax())
        nothing = row[best] < floor or classes[best] == UNKNOWN
        blank = good[classes.index(UNKNOWN)] > 0
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
    parser.add_argument("--floor", type=float, default=0.93, help="the probability an answer needs")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--votes", type=Path, help="append the signatures' answers on this file, and do nothing else")
    given = parser.parse_args()
    library()
    if given.votes:
        return append_votes(given.votes)
    classes = (*CATEGORIES, UNKNOWN)
    cases: dict[str, Case] = {}
    for path in sorted(DATA.glob("public_incidents*.jsonl")):
        cases.update((case.key, case) for case in incidents(path))
    for path in given.files:
        cases.update((case.key, case) for case in incidents(path, REFERENCE))
    known = list(cases.values())
    messages_ = messages(DATA / "messages.txt")
    own = own_cases()
    print(f"{len(known)} incidents, {len(messages_)} messages, {len(own)} cases of signatures")
    raw = out_of_fold(known, messages_ + own, classes, given.folds)
    ids = {c.key: i for i, c in enumerate(known)}
    blind = [json.loads(x) for x in (DATA / "blind_votes.jsonl").read_text(encoding="utf-8").splitlines()]
    blind = [b for b in blind if f"{b['file']}/{b['id']}" in ids]
    rows = [ids[f"{b['file']}/{b['id']}"] for b in blind]
    votes = np.zeros((len(rows), len(classes), len(KINDS)))
    right = np.zeros((len(rows), len(classes)))
    for row, b in enumerate(blind):
        for kind, category in b["votes"]:
            votes[row, classes.index(category), KINDS.index(kind)] = 1.0
        for name in known[rows[row]].labels:
            right[row, classes.index(name)] = 1.0
    scores = raw[rows]
    labelled = shares([known[row].labels for row in rows], classes)
    trust, said = learn_record(votes, blind, labelled, np.ones(len(blind), bool), classes)
    theta = fit(scores, votes, right)
    print("slope", round(theta[0], 2), {k: round(float(v), 2) for k, v in zip(KINDS, theta[1:], strict=True)})
    show("signatures alone (blind)", Counter(b["verdict"] for b in blind))
    alone = fit(scores, votes * 0, right)
    show("words alone", verdicts(share_of(scores, votes * 0, alone), right, classes, given.floor))
    folds = np.array([fold_of(known[row].thread, 5) for row in rows])
    both = np.zeros_like(scores)
    for fold in range(5):
        learn_record(votes, blind, labelled, folds != fold, classes)
        part = fit(scores[folds != fold], votes[folds != fold], right[folds != fold])
        both[folds == fold] = share_of(scores[folds == fold], votes[folds == fold], part)
    for floor in (0.5, 0.6, 0.7, 0.8, 0.85, 0.93, 0.95):
        show(f"both, floor {floor}", verdicts(both, right, classes, floor))
    ceiling = calibration(both, right)
    pick = np.array([b["set"] in HONEST_SETS for b in blind])
    for floor in (0.5, 0.6, 0.7, 0.8, 0.85, 0.88, 0.93, 0.95):
        show(f"never read before, floor {floor}", verdicts(both[pick], right[pick], classes, floor))
    calibration(both[pick], right[pick])
    for name in sorted({b["set"] for b in blind}):
        pick = np.array([b["set"] == name for b in blind])
        show(f"  {name}: signatures", Counter(b["verdict"] for b in blind if b["set"] == name))
        show(f"  {name}: both", verdicts(both[pick], right[pick], classes, given.floor))
    if given.write:
        write(known + messages_ + own, classes, theta, trust, said, given.floor, ceiling)
    return 0


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


def shares(labels: list[tuple[str, ...]], classes: tuple[str, ...]) -> np.ndarray:
    """Each incident's label as shares that add up to one."""
    out = np.zeros((len(labels), len(classes)))
    for row, names in enumerate(labels):
        for place, name in enumerate(names):
            out[row, classes.index(name)] += 1.0 if place == 0 else SECOND
    return out / out.sum(axis=1, keepdims=True)


def learn_record(
    votes: np.ndarray, blind: list[dict], labelled: np.ndarray, seen: np.ndarray, classes: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, tuple[int, ...]]]:
    """Put the signatures' record, learned from the `seen` answers, into `votes`; give it as the table holds it.

    What an answer itself added to the record is taken away again where it was seen.
    """
    pairs = zip(blind, seen, strict=True)
    trust = trust_of([b for b, ours in pairs if ours])
    weigh(votes, blind, trust, classes)
    count, usual = said_of([b for b, ours in zip(blind, seen, strict=True) if ours], labelled[seen], classes)
    place = KINDS.index("said")
    for row, b in enumerate(blind):
        mine = count[classes.index(answered(b))] - (labelled[row] if seen[row] else 0.0)
        votes[row, :, place] = ratio(mine, usual)
    table = np.rint(ratio(count, usual) * SCALE).astype(int)
    told = {answered(b) for b, ours in zip(blind, seen, strict=True) if ours}
    return trust, {c: tuple(int(x) for x in table[i]) for i, c in enumerate(classes) if c in told}


def weigh(votes: np.ndarray, blind: list[dict], trust: dict[str, float], classes: tuple[str, ...]) -> None:
    """Put each signature's record beside its vote."""
    votes[:, :, -1] = 0.0
    for row, b in enumerate(blind):
        for kind, category in b["votes"]:
            if not kind.startswith("other"):
                votes[row, classes.index(category), -1] = trust.get(b["signature"], 0.0)


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
    return round(float(good[sure >= 0.95].mean()), 2)


def write(
    cases: list[Case], classes: tuple[str, ...], theta: np.ndarray, trust: dict[str, float],
    said: dict[str, tuple[int, ...]], floor: float, ceiling: float,
) -> None:  # fmt: skip
    space = Space(cases)
    words: dict[str, tuple[int, ...]] = {}
    whole = np.rint(space.matrix.T @ solve(space.kernel, cases, classes) * SCALE).astype(int)
    for word, column in space.columns.items():
        row = [round(float(space.idf[column]) * SCALE)]
        for index in np.flatnonzero(np.abs(whole[column]) >= SMALL):
            row += [int(index), int(whole[column, index])]
        words[word] = tuple(row)
    votes = {k: round(float(v), 3) for k, v in zip(KINDS[:-1], theta[1:-1], strict=True)}
    table = Table(
        schema_version=1, categories=classes, words=words, slope=round(float(theta[0]), 3), votes=votes,
        trust=trust, said=said, floor=floor, ceiling=ceiling,
    )  # fmt: skip
    TABLE.write_bytes(gzip.compress(to_json(table), mtime=0))
    print(f"wrote {TABLE.name}: {len(words)} words, {TABLE.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
