"""What the linter looks at: the delivered files as they are now, the commits, and the evidence if it is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from seatrial.core.finding import Finding, Severity
from seatrial.delivery.docs_dialect import DocsDialect
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.figures import Numbers
from seatrial.delivery.order import Delivered
from seatrial.delivery.repository import Repository
from seatrial.delivery.scores import Scored


class Case:
    """`texts`: path to text of every file that differs from the base; None for one that is gone or no text."""

    def __init__(
        self,
        repo: Repository,
        base: Repository | None,
        texts: Mapping[str, str | None],
        docs: DocsDialect | None,
        view: EvidenceView | None,
        scored: Scored,
        delivered: Delivered | None,
        numbers: Numbers | None,
    ) -> None:
        self.repo = repo
        self.base = base
        self.texts = texts
        self.docs = docs
        self.view = view
        self.scored = scored
        self.delivered = delivered
        self.numbers = numbers
        self.looked_up = 0

    def now(self, path: str) -> str | None:
        """The text of any file of the checkout as it is in the work tree; None if it is none."""
        place = self.repo.top / path
        if place.is_symlink() or not place.is_file():
            return None
        try:
            return place.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def exists(self, path: str) -> bool:
        return (self.repo.top / path).exists()

    def delivered_as(self, what: str) -> list[str]:
        """Paths of the delivery record with that meaning."""
        return [f.path for f in self.delivered.files if f.what == what] if self.delivered is not None else []

    def tutorials(self) -> dict[str, str]:
        """Delivered tutorial pages: path to text."""
        root = f"{self.docs.root}/tutorials/models/" if self.docs is not None else "\0"
        return {
            p: t for p, t in self.texts.items() if t is not None and p.startswith(root) and p.endswith(".md")
            and not p.endswith("/index.md")
        }  # fmt: skip

    def reports(self) -> dict[str, str]:
        """Delivered Markdown that speaks of the run in the repository: analysis and runbook."""
        return {p: t for p, t in self.texts.items() if t is not None and p.startswith("docs/adaptations/")}

    def lines(self, path: str) -> str:
        """The lines that the delivery added to a file, as one text."""
        text = self.texts.get(path) or ""
        before: set[str] = set()
        if self.base is not None and path in self.base.files():
            before = set(self.base.read(path).split("\n"))
        return "\n".join(line for line in text.split("\n") if line not in before)

    def model(self) -> str:
        """The model's name in file names, from the delivery record or the first tutorial; empty if unknown."""
        if self.delivered is not None:
            return self.delivered.model
        return next((Path(p).stem for p in self.tutorials()), "")


def error(code: str, place: str, message: str, next_step: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, place=place, message=message, next_step=next_step)


def warning(code: str, place: str, message: str, next_step: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, place=place, message=message, next_step=next_step)
