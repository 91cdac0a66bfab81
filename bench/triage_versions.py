"""Find in which releases of the engine and its plugins each signature's text stands, and write the table that ships.

Usage: python bench/triage_versions.py PACKAGE=VERSION=FOLDER... [--write]

FOLDER is the package's own folder (site-packages/vllm, a checkout's vllm_ascend). Give the releases of a package oldest
first; a span "0.11.0..0.18.1" says that all releases searched between the two hold the text.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from seatrial.core.record import to_json
from seatrial.triage.liveness import present
from seatrial.triage.signatures import VERSIONS, Versions


def spans(order: list[str], held: set[str]) -> str:
    """The releases `held` as runs of `order`."""
    parts: list[list[str]] = []
    broken = True
    for version in order:
        if version not in held:
            broken = True
        elif broken:
            parts.append([version])
            broken = False
        else:
            parts[-1].append(version)
    return ", ".join(p[0] if len(p) == 1 else f"{p[0]}..{p[-1]}" for p in parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="+", metavar="PACKAGE=VERSION=FOLDER")
    parser.add_argument("--write", action="store_true", help="write the table that ships with the package")
    given = parser.parse_args()
    order: dict[str, list[str]] = {}
    held: dict[str, dict[str, set[str]]] = {}
    for release in given.releases:
        package, version, folder = release.split("=", 2)
        found = present([Path(folder)])
        order.setdefault(package, []).append(version)
        for signature in found.found:
            held.setdefault(signature, {}).setdefault(package, set()).add(version)
        print(f"{package} {version}: {found.files} files, {len(found.found)} signatures' texts")
    table = Versions(
        looked_at={p: tuple(v) for p, v in sorted(order.items())},
        found={s: {p: spans(order[p], v) for p, v in sorted(by.items())} for s, by in sorted(held.items())},
    )
    for package, names in order.items():
        count = Counter(
            "in all"
            if by[package] == f"{names[0]}..{names[-1]}" or by[package] == names[0]
            else "not in the newest"
            if names[-1] not in held[s][package]
            else "newer than the oldest"
            for s, by in table.found.items()
            if package in by
        )
        print(f"{package}: {dict(count)}")
    if given.write:
        VERSIONS.write_bytes(to_json(table, indent=1) + b"\n")
        print(f"wrote {VERSIONS.name} ({VERSIONS.stat().st_size} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
