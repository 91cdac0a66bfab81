"""Collect the fragments of `changes/*.md` into CHANGELOG.md under a version and delete them.

    python scripts/changelog.py VERSION DATE      write the section and remove the fragments
    python scripts/changelog.py                   print what the next section would be

A fragment is one file a topic, one or two lines of Markdown, with no heading.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHANGELOG = ROOT / "CHANGELOG.md"


def fragments() -> list[Path]:
    return sorted(f for f in (ROOT / "changes").glob("*.md") if f.name != "README.md")


def main() -> int:
    files = fragments()
    section = "\n".join(f"* {' '.join(f.read_text(encoding='utf-8').split())}" for f in files)
    if len(sys.argv) == 1:
        print(section or "no fragments")
        return 0
    if len(sys.argv) != 3 or not files:
        print(__doc__ if len(sys.argv) != 3 else "no fragments", file=sys.stderr)
        return 2
    version, date = sys.argv[1:]
    before = CHANGELOG.read_text(encoding="utf-8")
    head, marker, rest = before.partition("<!-- sections -->")
    if not marker:
        print(f"{CHANGELOG.name}: the line <!-- sections --> is missing", file=sys.stderr)
        return 2
    CHANGELOG.write_text(f"{head}{marker}\n\n## {version} ({date})\n\n{section}\n{rest}", encoding="utf-8")
    for file in files:
        file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
