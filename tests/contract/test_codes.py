"""Finding codes are stable and speak for one place: no letter is used by two parts of the program."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src" / "seatrial"
CODE = re.compile(r'"([A-Z])\d{3}"')
# A folder whose subfolder has a subject of its own counts as two places.
PLACES = {"support/compat": "compat"}


def place(path: Path) -> str:
    relative = path.relative_to(SRC)
    folder = "/".join(relative.parts[:2])
    if relative.name.startswith("registry_"):
        return "registry"
    return PLACES.get(folder, relative.parts[0])


def test_each_letter_of_finding_codes_belongs_to_one_place():
    owners: dict[str, set[str]] = defaultdict(set)
    for path in SRC.rglob("*.py"):
        for letter in CODE.findall(path.read_text(encoding="utf-8")):
            owners[letter].add(place(path))
    assert owners, "no code was found at all"
    shared = {letter: sorted(places) for letter, places in owners.items() if len(places) > 1}
    assert shared == {}
