"""Rules of the commit: one, signed off by its author, only this adaptation, unchanged since."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.delivery.check.case import Case, error, warning
from seatrial.delivery.plan import prefix_style

EXPECTED = re.compile(
    r"^(docs/|mkdocs\.yml$|tests/e2e/models/configs/|\.github/workflows/configs/|README(\.\w+)?\.md$"
    r"|vllm_(ascend|kunlun)/models/)"
)


def commits(case: Case) -> Iterator[Finding]:
    if case.base is None:
        yield warning(
            "Y101", str(case.repo.top), "what the delivery was made from is unknown, so commits were not counted",
            "Name it: --base COMMIT.",
        )  # fmt: skip
        return
    listed = (case.repo.git("rev-list", f"{case.base.at}..HEAD") or "").split()
    if len(listed) > 1:
        yield error("Y101", str(case.repo.top), f"{len(listed)} commits instead of one", "Squash them into one.")
    if not listed:
        yield warning("Y102", str(case.repo.top), "nothing is committed yet", "git commit -s")
        return
    for commit in listed:
        yield from _signed(case, commit)
    subject = (case.repo.git("log", "-1", "--format=%s", "HEAD") or "").strip()
    if case.delivered is not None:
        wanted = prefix_style(case.base, case.delivered.order).strip()
        if wanted and not subject.startswith(wanted.split("]")[0].rstrip(":")):
            yield error("Y103", listed[0][:12], f"the subject does not begin with {wanted!r}", "Amend the message.")


def _signed(case: Case, commit: str) -> Iterator[Finding]:
    author = (case.repo.git("log", "-1", "--format=%an <%ae>", commit) or "").strip()
    body = case.repo.git("log", "-1", "--format=%B", commit) or ""
    signers = re.findall(r"^Signed-off-by: (.+)$", body, re.M)
    if not signers:
        yield error("Y102", commit[:12], "no Signed-off-by line", "git commit --amend -s")
    elif author not in signers:
        yield error(
            "Y102", commit[:12], f"signed off by {signers[0]}, not by its author {author}", "git commit --amend -s"
        )


def scope(case: Case) -> Iterator[Finding]:
    """Only files of this adaptation, all of those that were delivered, and as they were delivered."""
    known = {f.path: f for f in case.delivered.files} if case.delivered is not None else {}
    for path in case.texts:
        if known and path not in known:
            yield error("Y104", path, "the file is not part of the delivery", "Take it out of the commit.")
        elif not known and not EXPECTED.match(path):
            yield warning("Y104", path, "the file is of no kind that a delivery has", "See that it belongs here.")
    for path, file in known.items():
        place = case.repo.top / path
        if not place.is_file():
            yield error("Y105", path, "the delivered file is gone", "Deliver again.")
        elif hashlib.sha256(place.read_bytes()).hexdigest() != file.sha256:
            yield error(
                "Y105", path, "the file is not as it was delivered", "Deliver again, so that records and text agree."
            )
    status = case.repo.git("status", "--porcelain", "--", *case.texts) if case.texts else ""
    committed = case.base is not None and case.repo.at != case.base.at
    if committed and (status or "").strip():
        yield error(
            "Y105", str(case.repo.top), "delivered files differ from the commit", "git commit --amend, or restore."
        )


def readable(case: Case) -> Iterator[Finding]:
    for path, text in case.texts.items():
        if text is None and case.exists(path):
            yield error("Y106", path, "the file is no UTF-8 text", "Convert it.")
