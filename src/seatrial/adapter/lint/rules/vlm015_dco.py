"""VLM015: a commit without the sign-off that both plugins demand."""

from __future__ import annotations

from pathlib import Path

from seatrial.adapter.lint.rule import Rule
from seatrial.core.git import git

# More commits than this are no change to be delivered.
MOST = 200


def commits(root: Path, since: str) -> list[tuple[str, str]] | str:
    """Commits of the change without `Signed-off-by`; or why that cannot be said."""
    if git(root, "rev-parse", "--verify", "--quiet", "HEAD") is None:
        return "no git repository with a commit here"
    if since and git(root, "rev-parse", "--verify", "--quiet", f"{since}^{{commit}}") is None:
        return f"git knows no revision {since}"
    first = since
    if not first:
        tracked = git(root, "rev-parse", "--verify", "--quiet", "@{upstream}")
        if tracked is None:
            return "the branch tracks none, so which commits are yours is unknown: --since REV"
        first = tracked.decode().strip()
    listing = git(root, "log", "--no-merges", f"--max-count={MOST}", "--format=%h%x00%s%x00%b%x01", f"{first}..HEAD")
    if listing is None:
        return f"git does not list the commits after {first}"
    out = []
    for entry in listing.decode("utf-8", "replace").split("\x01"):
        short, _, rest = entry.strip("\n").partition("\0")
        subject, _, body = rest.partition("\0")
        if short and not any(line.startswith("Signed-off-by: ") and "@" in line for line in body.splitlines()):
            out.append((short, f"no Signed-off-by: {subject[:80]}"))
    return out


RULE = Rule(
    code="VLM015",
    name="missing-sign-off",
    summary="A commit of the change has no `Signed-off-by` line.",
    why="vLLM, vllm-ascend and vLLM-Kunlun check the Developer Certificate of Origin of every commit of a pull request.",
    mend="`git commit --amend -s`, or `git rebase --signoff BASE` for several.",
    commits=commits,
)
