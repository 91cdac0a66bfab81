"""Write every generated docs page; `--check` fails and names those that differ from what would be written.

A generator is a file of `scripts/docs_pages/` that defines `PAGE`, a path under `docs/`, and `page() -> str`, or
`pages()`, a dict of such paths and texts.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = []
    for file in sorted((ROOT / "scripts" / "docs_pages").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"docs_page_{file.stem}", file)
        if spec is None or spec.loader is None:
            raise ImportError(file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        texts = module.pages() if hasattr(module, "pages") else {module.PAGE: module.page()}
        for path, text in texts.items():
            place = ROOT / "docs" / path
            if place.exists() and place.read_text(encoding="utf-8") == text:
                continue
            if check:
                stale.append(str(place.relative_to(ROOT)))
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text, encoding="utf-8")
                print(f"wrote {place.relative_to(ROOT)}")
    if stale:
        print(f"out of date: {', '.join(stale)}; run `make docs`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
