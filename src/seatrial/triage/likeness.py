"""The second opinion: which category a failure reads like, by words learned from labelled failures.

In: the words of a failure (words.py) and what the signatures said. Out: each category's probability. The table beside
this file is made by bench/triage_words.py: a linear (ridge) classifier over tf-idf words, and the weights of the
signatures' votes against it, fitted on answers that were given before their incidents were known to the rules.
Signatures know a text for certain; words know what failures of a subject sound like. Where the two disagree the answer
is the likelier one, and below `floor` it is "unknown".
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from seatrial.core.record import Record, from_json

TABLE = Path(__file__).parent / "words.json.gz"
SCALE = 100


class Table(Record):
    """`words` holds, for each word, its idf and then pairs of category index and weight, all times SCALE.

    `votes` holds the log-odds of the signatures' votes by kind ("chosen.3" is the chosen signature's tier, "other.3"
    another root's, "context" one that also looked at the command), `trust` what is added for a signature that was right
    more or less often than others, `said` by what the signatures answer ("unknown" too) how much more or less likely
    than usual each category then was, as log-odds times SCALE (weighted by votes["said"]), `slope` the weight of the
    words' own score; `floor` is the probability that an answer needs, `ceiling` how often the surest answers were
    right: no answer claims more.
    """

    schema_version: int
    categories: tuple[str, ...]
    words: dict[str, tuple[int, ...]]
    slope: float
    votes: dict[str, float]
    trust: dict[str, float]
    said: dict[str, tuple[int, ...]]
    floor: float
    ceiling: float


@cache
def table() -> Table:
    """The table beside this file."""
    return from_json(Table, gzip.decompress(TABLE.read_bytes()), where=TABLE.name)


class Likely(NamedTuple):
    """A category, its probability, and the words that speak for it, strongest first."""

    category: str
    probability: float
    words: tuple[str, ...]


def scores(words: Mapping[str, float], known: Table) -> list[float]:
    """The linear classifier's score of each category, in the table's order."""
    total = [0.0] * len(known.categories)
    norm = 0.0
    for word, weight in words.items():
        row = known.words.get(word)
        if row is None:
            continue
        value = weight * row[0] / SCALE
        norm += value * value
        for i in range(1, len(row), 2):
            total[row[i]] += value * row[i + 1] / SCALE
    if norm:
        length = math.sqrt(norm)
        total = [t / length for t in total]
    return total


def probabilities(
    words: Mapping[str, float], votes: Mapping[tuple[str, str], float], known: Table, rule: str = "", by: str = ""
) -> dict[str, float]:
    """Each category's probability.

    `votes` maps (kind, category) to how often that vote was given; `rule` is what the signature `by` would answer.
    """
    odds = {c: known.slope * s for c, s in zip(known.categories, scores(words, known), strict=True)}
    for (kind, category), count in votes.items():
        if category in odds:
            odds[category] += known.votes.get(kind, 0.0) * count
    if rule in odds:
        odds[rule] += known.trust.get(by, 0.0)
    for category, ratio in zip(known.categories, known.said.get(rule, ()), strict=False):
        odds[category] += known.votes.get("said", 0.0) * ratio / SCALE
    top = max(odds.values())
    parts = {c: math.exp(o - top) for c, o in odds.items()}
    whole = sum(parts.values())
    return {c: p / whole for c, p in parts.items()}


def speaking(words: Mapping[str, float], category: str, known: Table, count: int = 6) -> tuple[str, ...]:
    """The words that weigh most for a category."""
    index = known.categories.index(category)
    found: list[tuple[float, str]] = []
    for word, weight in words.items():
        row = known.words.get(word, ())
        for i in range(1, len(row), 2):
            if row[i] == index and row[i + 1] > 0:
                found.append((weight * row[0] * row[i + 1], word.partition(":")[2]))
    plain: list[str] = []
    for _, word in sorted(found, reverse=True):
        if word not in plain:
            plain.append(word)
    return tuple(plain[:count])
