"""adapter_oracle.py over the histories of plugins: every file that people made fit the next vLLM, release by release.

    python bench/adapter_fixes.py ENGINES --git kunlun=GIT_DIR --git ascend=GIT_DIR [--only WORD] [--rows] [--show N]

ENGINES is a folder with vLLM source trees called vX.Y.Z, GIT_DIR a clone (bare is fine) of the plugin's repository. Of
each line below, the plugin at the first state is held against that vLLM, and the truth is what stands in the same files
(followed through renames) at the second state, which is the plugin's first release for it, or nearest to it. A line
whose repository, revision or vLLM is not there is named and left out.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from adapter_oracle import Judged, examples, judge, show, totals


class Fix(NamedTuple):
    """A stretch of a plugin's history. `platform` "" where seatrial knows none of that name."""

    plugin: str
    platform: str
    before: str
    vllm: str
    after: str


FIXES = (
    Fix("kunlun", "kunlun", "v0.10.1.1", "v0.11.0", "v0.11.0"),
    Fix("kunlun", "kunlun", "fc48b79", "v0.15.1", "09869ee"),
    Fix("ascend", "ascend", "v0.10.2rc1", "v0.11.0", "v0.11.0rc1"),
    Fix("ascend", "ascend", "v0.11.0rc3", "v0.13.0", "v0.13.0rc1"),
    Fix("ascend", "ascend", "v0.13.0", "v0.15.1", "v0.15.0rc1"),
    Fix("ascend", "ascend", "v0.15.0rc1", "v0.18.1", "v0.18.0rc1"),
    Fix("ascend", "ascend", "v0.18.0", "v0.23.0", "v0.23.0"),
    Fix("ascend", "ascend", "v0.23.0", "v0.27.1", "182b75ea84"),
)


def git(folder: Path, *words: str) -> bytes:
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=True).stdout


def tree(folder: Path, revision: str, into: Path) -> Path:
    """The plugin's package and build files at a revision, without tests and native code."""
    tops = git(folder, "ls-tree", "--name-only", revision).decode().split()
    chosen = [t for t in tops if t.startswith("vllm_") or t in ("setup.py", "pyproject.toml", "setup.cfg")]
    with tarfile.open(fileobj=io.BytesIO(git(folder, "archive", revision, *chosen))) as archive:
        members = [m for m in archive.getmembers() if m.isfile() and m.name.endswith((".py", ".toml", ".cfg"))]
        archive.extractall(into, members=members, filter="data")
    return into


def renames(folder: Path, before: str, after: str) -> dict[str, str]:
    lines = git(folder, "diff", "-M", "--diff-filter=R", "--name-status", before, after).decode().splitlines()
    return {was: now for _, was, now in (line.split("\t") for line in lines) if was.endswith(".py")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", type=Path)
    parser.add_argument("--git", action="append", default=[], metavar="PLUGIN=DIR")
    parser.add_argument("--fix", action="append", default=[], metavar="PLUGIN:BEFORE:VLLM:AFTER", help="A line more.")
    parser.add_argument("--only", default="", help="Lines that hold this word.")
    parser.add_argument("--rows", action="store_true", help="The table of files of every line.")
    parser.add_argument("--show", type=int, default=5, help="Examples of each kind.")
    given = parser.parse_args()
    repositories = {name: Path(place) for name, _, place in (g.partition("=") for g in given.git)}
    more = [f.split(":") for f in given.fix]
    fixes = [*FIXES, *(Fix(p, p if p in ("ascend", "kunlun") else "", b, v, a) for p, b, v, a in more)]
    done: list[Judged] = []
    for fix in fixes:
        title = f"{fix.plugin} {fix.before} to {fix.after}, vLLM {fix.vllm.removeprefix('v')}"
        if given.only not in title:
            continue
        if fix.plugin not in repositories or not (given.engines / fix.vllm).is_dir():
            print(f"{title}: left out, no repository or no such vLLM here")
            continue
        with tempfile.TemporaryDirectory(prefix="seatrial-fixes-") as scratch:
            try:
                folder = repositories[fix.plugin]
                before, after = (tree(folder, r, Path(scratch) / s) for r, s in ((fix.before, "b"), (fix.after, "a")))
                moved = renames(folder, fix.before, fix.after)
            except subprocess.CalledProcessError as exc:
                print(f"{title}: left out, {exc.stderr.decode(errors='replace').strip().splitlines()[-1:]}")
                continue
            judged = judge(before, given.engines / fix.vllm, after, fix.platform, moved)
        if given.rows:
            show(judged)
        examples(judged, given.show)
        totals(title, [judged])
        done.append(judged)
    if not done:
        print("nothing was judged")
        return 2
    totals("all", done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
