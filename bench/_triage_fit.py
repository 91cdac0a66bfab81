"""How the table of the triage's second opinion is learned: read by triage_words.py and triage_unseen.py.

The words' classifier is ridge regression on tf-idf words, one column per category. How much the signatures' votes count
against it is fitted on tests/triage/data/blind_votes.jsonl: what the signatures answered when each incident was new to
them; there the words' score is that of a model trained without the incident's thread.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _triage_cases import DATA, Case

from seatrial.core.record import to_json
from seatrial.triage.categories import CATEGORIES, UNKNOWN
from seatrial.triage.likeness import SCALE, Table

# What the command tells cannot be read from a failure's words; too few blind answers rest on it to fit this.
BY_CONTEXT = 2.0
EXACT = 3  # the place of "chosen.4" behind the slope
RIDGE = 0.3
SECOND = 0.5  # how much of a label the secondary category is
SMALL = 2  # weights below this many hundredths are left out: many small ones tell a known failure again
LEAST, LEAST_ELSEWHERE = 2, 3  # how often a word of the failure itself, a pair, or a word from elsewhere has to occur
PRIOR = 3.0
SAID_PRIOR = 10.0  # answers of the usual mix that the record of what the signatures said starts from
SAID_LEAST = -3.0
CLASSES = (*CATEGORIES, UNKNOWN)
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


class Blind(NamedTuple):
    """What the signatures answered on N incidents that were new to them, beside the words' score of a model without.

    `scores` (N, categories), `votes` (N, categories, KINDS), `right` (N, categories) is 1 where a name is accepted,
    `labelled` (N, categories) the label as shares, `folds` (N,) one of five, by thread.
    """

    answers: list[dict]
    scores: np.ndarray
    votes: np.ndarray
    right: np.ndarray
    labelled: np.ndarray
    folds: np.ndarray


def blind_answers(known: list[Case], fixed: list[Case], folds: int) -> Blind:
    """The blind answers on `known` (those of other incidents are left out); `fixed` is learned in every fold."""
    raw = out_of_fold(known, fixed, CLASSES, folds)
    ids = {c.key: i for i, c in enumerate(known)}
    answers = [json.loads(x) for x in (DATA / "blind_votes.jsonl").read_text(encoding="utf-8").splitlines()]
    answers = [b for b in answers if f"{b['file']}/{b['id']}" in ids]
    rows = [ids[f"{b['file']}/{b['id']}"] for b in answers]
    votes = np.zeros((len(rows), len(CLASSES), len(KINDS)))
    right = np.zeros((len(rows), len(CLASSES)))
    for row, b in enumerate(answers):
        for kind, category in b["votes"]:
            votes[row, CLASSES.index(category), KINDS.index(kind)] = 1.0
        for name in known[rows[row]].labels:
            right[row, CLASSES.index(name)] = 1.0
    labelled = shares([known[row].labels for row in rows], CLASSES)
    place = np.array([fold_of(known[row].thread, 5) for row in rows])
    return Blind(answers, raw[rows], votes, right, labelled, place)


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

    What an answer itself added to "said" is taken away again where it was seen; of "trust" it stays a part.
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


def write(cases: list[Case], blind: Blind, floor: float, ceiling: float, path: Path) -> None:
    """Learn the table from all of `cases` and put it where `path` says."""
    trust, said = learn_record(blind.votes, blind.answers, blind.labelled, np.ones(len(blind.answers), bool), CLASSES)
    theta = fit(blind.scores, blind.votes, blind.right)
    print("slope", round(theta[0], 2), {k: round(float(v), 2) for k, v in zip(KINDS, theta[1:], strict=True)})
    space = Space(cases)
    words: dict[str, tuple[int, ...]] = {}
    whole = np.rint(space.matrix.T @ solve(space.kernel, cases, CLASSES) * SCALE).astype(int)
    for word, column in space.columns.items():
        row = [round(float(space.idf[column]) * SCALE)]
        for index in np.flatnonzero(np.abs(whole[column]) >= SMALL):
            row += [int(index), int(whole[column, index])]
        words[word] = tuple(row)
    votes = {k: round(float(v), 3) for k, v in zip(KINDS[:-1], theta[1:-1], strict=True)}
    table = Table(
        schema_version=1, categories=CLASSES, words=words, slope=round(float(theta[0]), 3), votes=votes,
        trust=trust, said=said, floor=floor, ceiling=ceiling,
    )  # fmt: skip
    path.write_bytes(gzip.compress(to_json(table), mtime=0))
    print(f"wrote {path.name}: {len(words)} words, {path.stat().st_size} bytes")
