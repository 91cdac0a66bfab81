"""The cards in a folder, one JSON file each, and a full-text index over them that can be deleted at any time.

Files are the truth: the index (SQLite FTS5) is rebuilt when it is missing, damaged or older than they are. Without FTS5
in the interpreter's SQLite the search goes through the files.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from seatrial.core.atomic import write_atomic
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record, from_json, replace, to_json
from seatrial.measure.history.card import SCHEMA_VERSION, Card, Flag, flags, with_id

LARGEST = 1 << 20
WORD = re.compile(r"[\w./:#-]+")
TEXTS = (
    "title",
    "framework",
    "model_family",
    "scenario",
    "intent",
    "validation",
    "risks",
    "next_checks",
    "outcome",
    "date",
)
LISTS = ("related_prs", "touched_paths", "symbols", "evidence", "reverts")


class Found(Record):
    """A card that was found, and what speaks against it."""

    card: Card
    flags: tuple[Flag, ...]


class Cards:
    """The cards of one folder (made on the first write)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = folder / "index.sqlite"

    def every(self) -> dict[str, Card]:
        """All cards by id; raises FileFormatError for a file that is none."""
        found: dict[str, Card] = {}
        for file in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []:
            card = _read(file)
            found[card.id] = card
        return found

    def add(self, card: Card) -> Card:
        """Keep a card; raises UsageError if one of that id says something else. A promoted one stays as it is."""
        card = with_id(card)
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", card.id):
            raise UsageError(f"{card.id!r} cannot be a card's id", mend="Use lower-case letters, digits and dashes.")
        with self._alone():
            file = self.folder / f"{card.id}.json"
            known = _read(file) if file.exists() else None
            if known is not None:
                draft = replace(known, state=card.state, evidence=card.evidence)
                if known != card and not (known.state == "promoted" and draft == card):
                    raise UsageError(f"there is another card {card.id}", mend="Give this one another title.")
                return known
            write_atomic(file, to_json(card, indent=2))
        return card

    def change(self, name: str, how: Callable[[Card], Card]) -> Card:
        """Replace the card of that id by what `how` makes of it as it stands now, nobody else writing meanwhile."""
        with self._alone():
            card = how(_read(self.folder / f"{name}.json"))
            write_atomic(self.folder / f"{card.id}.json", to_json(card, indent=2))
        return card

    def get(self, name: str) -> Found:
        """The card of that id or of a unique beginning of it."""
        cards = self.every()
        fits = [name] if name in cards else [i for i in cards if i.startswith(name)]
        if len(fits) != 1:
            raise UsageError(
                f"{name!r} is {'no' if not fits else 'the beginning of more than one'} card",
                mend=f"Known: {', '.join(fits or list(cards)[:8]) or 'none'}.",
            )
        card = cards[fits[0]]
        return Found(card=card, flags=tuple(flags(card, cards)))

    def search(self, query: str, *, framework: str = "", family: str = "", path: str = "") -> list[Found]:
        """Cards that hold every word of the query, best first. `path`: a touched path or the beginning of one."""
        cards = self.every()
        words = WORD.findall(query.lower())
        ids = self._ranked(cards, words) if words else list(cards)
        found = []
        for name in ids:
            card = cards[name]
            if framework and card.framework.lower() != framework.lower():
                continue
            if family and family.lower() not in card.model_family.lower():
                continue
            if path and not any(p.startswith(path) for p in card.touched_paths):
                continue
            found.append(Found(card=card, flags=tuple(flags(card, cards))))
        return found

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Waits until no other seatrial writes a card here; a card is read, changed and written in one go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _ranked(self, cards: dict[str, Card], words: list[str]) -> list[str]:
        # The index takes a run of Chinese characters for one word, so words of those are looked for in the texts.
        if all(word.isascii() for word in words):
            with contextlib.suppress(sqlite3.DatabaseError, OSError):
                return self._by_index(cards, words)
            # A damaged index, no FTS5, or a folder that cannot be written: the files answer.
            with contextlib.suppress(OSError):
                self.index.unlink()
        fits = [name for name, card in cards.items() if all(w in _text(card).lower() for w in words)]
        return sorted(fits, key=lambda name: -sum(w in cards[name].title.lower() for w in words))

    def _by_index(self, cards: dict[str, Card], words: list[str]) -> list[str]:
        with contextlib.closing(sqlite3.connect(self.index, timeout=10)) as base, base:
            base.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, text TEXT)")
            # Parts of paths and symbols are words of their own, so `attention.py` finds `ops/attention.py`.
            base.execute(
                "CREATE VIRTUAL TABLE IF NOT EXISTS cards USING fts5(id UNINDEXED, title, body, tokenize='unicode61')"
            )
            known = dict(base.execute("SELECT id, text FROM seen").fetchall())
            for name, card in cards.items():
                text = _text(card)
                if known.pop(name, None) != text:
                    base.execute("DELETE FROM cards WHERE id = ?", (name,))
                    base.execute("INSERT INTO cards VALUES (?, ?, ?)", (name, card.title, text))
                    base.execute("REPLACE INTO seen VALUES (?, ?)", (name, text))
            for gone in known:
                base.execute("DELETE FROM cards WHERE id = ?", (gone,))
                base.execute("DELETE FROM seen WHERE id = ?", (gone,))
            # Quoted, each word is a phrase: nothing the user types is query syntax. A title counts five times.
            match = " ".join(f'"{word}"' + "*" * (len(word) > 2) for word in words)
            order = "SELECT id FROM cards WHERE cards MATCH ? ORDER BY bm25(cards, 0, 5.0, 1.0)"
            return [row[0] for row in base.execute(order, (match,)).fetchall()]


def _read(file: Path) -> Card:
    """A card's file; raises FileFormatError for one that is none."""
    try:
        if file.is_symlink():
            raise FileFormatError(f"{file}: a link", mend="Take it away.")
        card = from_json(Card, read_plain(file, limit=LARGEST), where=str(file))
    except OSError as exc:
        raise FileFormatError(f"{file}: cannot be read as a card: {exc.strerror}", mend="Take it away.") from exc
    if card.schema_version != SCHEMA_VERSION or card.id != file.stem:
        raise FileFormatError(f"{file}: its schema_version or id is not the file's", mend="Add it again.")
    return card


def _text(card: Card) -> str:
    parts = [str(getattr(card, name)) for name in TEXTS]
    parts += [item for name in LISTS for item in getattr(card, name)]
    return "\n".join([card.id, *parts])
