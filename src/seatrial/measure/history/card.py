"""A card of the history: one attempt, also a failed one, with what it touched and what came of it.

In: fields as given, or Markdown dossiers. Out: `Card`s. A card is a draft until it is promoted, which needs evidence.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from seatrial.core.errors import UsageError
from seatrial.core.record import Record, replace, to_json

Outcome = Literal["kept", "rolled-back", "failed", "open"]
SCHEMA_VERSION = 1
SLUG = re.compile(r"[^a-z0-9]+")


class Card(Record):
    """`symbols`: functions, flags, operators. `reverts`: ids of cards that this one takes back.

    `state`: draft, or promoted (its `evidence` was there and was looked at). `source`: where it was imported from.
    """

    schema_version: int
    id: str
    title: str
    framework: str
    model_family: str
    scenario: str
    intent: str
    outcome: Outcome
    date: str = ""
    related_prs: tuple[str, ...] = ()
    touched_paths: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    validation: str = ""
    risks: str = ""
    next_checks: str = ""
    evidence: tuple[str, ...] = ()
    reverts: tuple[str, ...] = ()
    state: Literal["draft", "promoted"] = "draft"
    source: str = ""


def with_id(card: Card) -> Card:
    """The card with an id from its title and content, unless it has one."""
    if card.id:
        return card
    if not card.title.strip() or not card.intent.strip():
        raise UsageError("a card needs a title and an intent", mend="Say what was tried and why.")
    slug = SLUG.sub("-", card.title.lower()).strip("-")[:40] or "card"
    return replace(card, id=f"{slug}-{hashlib.sha256(to_json(card)).hexdigest()[:6]}")


def promoted(card: Card, evidence: tuple[str, ...]) -> Card:
    """The card as shared knowledge; raises UsageError without evidence, a validation or an outcome."""
    places = tuple(dict.fromkeys((*card.evidence, *evidence)))
    if not places:
        raise UsageError(f"{card.id} has no evidence", mend="Give the runs with --evidence.")
    if not card.validation.strip():
        raise UsageError(f"{card.id} says nothing of its validation", mend="Add a card that does.")
    if card.outcome == "open":
        raise UsageError(f"the outcome of {card.id} is open", mend="Add a card with its outcome.")
    return replace(card, evidence=places, state="promoted")


class Flag(Record):
    """A card to be read with care, and why: `rolled-back`, `reverted`, `contradicted` or `gone` (names no card)."""

    kind: Literal["rolled-back", "reverted", "contradicted", "gone"]
    why: str


def flags(card: Card, every: dict[str, Card]) -> list[Flag]:
    """What the other cards say against this one.

    Two cards contradict each other when they are of the same framework, model family and scenario, share a touched
    path or symbol, and one was kept while the other was not.
    """
    found = []
    if card.outcome == "rolled-back":
        found.append(Flag(kind="rolled-back", why="this attempt itself was rolled back"))
    for other in every.values():
        if other.id == card.id:
            continue
        if card.id in other.reverts:
            found.append(Flag(kind="reverted", why=f"{other.id} takes it back: {other.title}"))
        elif _contradict(card, other):
            found.append(Flag(kind="contradicted", why=f"{other.id} was {other.outcome}: {other.title}"))
    found.extend(
        Flag(kind="gone", why=f"it reverts {r}, which is no card here") for r in card.reverts if r not in every
    )
    return found


def _contradict(a: Card, b: Card) -> bool:
    same = (a.framework, a.model_family, a.scenario) == (b.framework, b.model_family, b.scenario)
    shared = set(a.touched_paths) & set(b.touched_paths) or set(a.symbols) & set(b.symbols)
    kept = {a.outcome == "kept", b.outcome == "kept"}
    decided = {a.outcome, b.outcome} <= {"kept", "rolled-back", "failed"}
    return bool(same and shared and decided and len(kept) == 2)
