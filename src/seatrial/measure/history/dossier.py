"""Cards from Markdown dossiers as people keep them: a table of pull requests, or sections with `key: value` lines.

In: a text and what it is about. Out: draft cards and the parts that gave none, each with a reason. Nothing is guessed:
an outcome is taken only from the words that say it (revert, rollback, 回退, failed, no improvement), else it is open.
"""

from __future__ import annotations

import re

from seatrial.core.record import Record
from seatrial.measure.history.card import SCHEMA_VERSION, Card, Outcome, with_id

HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
PULL = re.compile(r"(?<![\w/])(?:[\w.-]+/[\w.-]+)?#\d{1,6}\b")
PATH = re.compile(r"(?<![\w:/.])(?:[\w.-]+/)+[\w.-]+\.(?:py|cpp|cc|h|hpp|cu|md|json|yaml|yml|toml|sh|txt|proto)\b")
SYMBOL = re.compile(r"`([A-Za-z_][\w:.]{2,80})`")
DATE = re.compile(r"\b20\d\d-\d\d-\d\d\b")
ROLLED = re.compile(r"\brevert(?:s|ed)?\b|\broll(?:ed)?[ -]?back\b|回退|回滚", re.I)
FAILED = re.compile(r"\bfail(?:s|ed)?\b|\bno (?:improvement|gain)\b|失败|无收益|没有收益", re.I)
KEPT = re.compile(r"\bmerged\b|\bkept\b|\blanded\b|已合入|已合并", re.I)
FIELDS = {
    "intent": ("optimization_intent", "intent", "goal", "目标", "优化意图"),
    "validation": ("validation", "verification", "验证"),
    "risks": ("risks", "risk", "风险"),
    "next_checks": ("next_checks", "next checks", "next steps", "后续"),
    "scenario": ("scenario", "场景"),
}


class Imported(Record):
    """`dropped`: what gave no card, with the reason."""

    cards: tuple[Card, ...]
    dropped: tuple[str, ...]


def read_dossier(text: str, *, source: str, framework: str, family: str) -> Imported:
    """Every table row with a pull request or a date, and every section with one of the known fields."""
    cards: dict[str, Card] = {}
    dropped: list[str] = []
    title, start = "", 1
    lines: list[str] = []
    sections: list[tuple[str, list[str], int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        heading = HEADING.match(line)
        if heading:
            sections.append((title, lines, start))
            title, lines, start = heading[2], [], number
        else:
            lines.append(line)
    sections.append((title, lines, start))
    for title, lines, start in sections:
        found = list(_rows(title, lines, source, framework, family))
        whole = _section(title, lines, source, framework, family)
        if whole is not None:
            found.append(whole)
        if not found and title and any(line.strip() for line in lines):
            dropped.append(f"{source}:{start}: section {title!r} names no pull request, date or known field")
        for card in found:
            cards.setdefault(card.id, card)
    return Imported(cards=tuple(cards.values()), dropped=tuple(dropped))


def _rows(title: str, lines: list[str], source: str, framework: str, family: str) -> list[Card]:
    found = []
    for line in lines:
        if not line.lstrip().startswith("|") or set(line) <= set("|-: \t"):
            continue
        if not (PULL.search(line) or DATE.search(line)):
            continue
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        told = max(cells, key=len)
        found.append(_card(told[:120], line.strip(), title, source, framework, family, {}))
    return found


def _section(title: str, lines: list[str], source: str, framework: str, family: str) -> Card | None:
    text = "\n".join(line for line in lines if not line.lstrip().startswith("|"))
    fields: dict[str, str] = {}
    for name, words in FIELDS.items():
        pattern = rf"^\s*[-*]?\s*\**`?(?:{'|'.join(map(re.escape, words))})`?\**\s*[:：]\s*(.+)$"
        match = re.search(pattern, text, re.I | re.M)
        if match:
            fields[name] = match[1].strip().strip("*").strip()
    return _card(title, text, title, source, framework, family, fields) if fields and title else None


def _card(
    title: str, text: str, section: str, source: str, framework: str, family: str, fields: dict[str, str]
) -> Card:
    outcome: Outcome = "open"
    if ROLLED.search(text):
        outcome = "rolled-back"
    elif FAILED.search(text):
        outcome = "failed"
    elif KEPT.search(text):
        outcome = "kept"
    paths = tuple(dict.fromkeys(PATH.findall(text)))
    return with_id(
        Card(
            schema_version=SCHEMA_VERSION,
            id="",
            title=title,
            framework=framework,
            model_family=family,
            scenario=fields.get("scenario", section),
            intent=fields.get("intent", " ".join(text.split())[:400]),
            outcome=outcome,
            date=(DATE.findall(text) or [""])[0],
            related_prs=tuple(dict.fromkeys(PULL.findall(text))),
            touched_paths=paths,
            symbols=tuple(dict.fromkeys(s for s in SYMBOL.findall(text) if "/" not in s)),
            validation=fields.get("validation", ""),
            risks=fields.get("risks", ""),
            next_checks=fields.get("next_checks", ""),
            source=source,
        )
    )
