"""How a repository builds its documentation: Sphinx with MyST or MkDocs, its tutorial template, macros and tabs.

In: a repository at a commit. Out: a `DocsDialect`, or None where there is no tutorial folder.
"""

from __future__ import annotations

import re
from typing import Literal

from seatrial.core.record import Record
from seatrial.delivery.repository import Repository

MODELS = "tutorials/models"
TEMPLATE = "_templates/Model-Deployment-Tutorial-Template.md"
HEADING = re.compile(r"^(##+) +(.+?)\s*$")
IMAGE = re.compile(r"quay\.io/ascend/vllm-ascend:(?:\{\{ *\w+ *\}\}|[^\s`\"'\\{}])+")
OLD_SECTIONS = (
    "Introduction", "Supported Features", "Environment Preparation", "Deployment", "Functional Verification",
    "Accuracy Evaluation", "Performance",
)  # fmt: skip
# Words of a heading to the section it is; the first that fits counts.
SECTIONS = (
    ("introduction", "introduction"),
    ("supported feature", "features"),
    ("environment preparation", "environment"),
    ("prerequisite", "prerequisites"),
    ("installation", "installation"),
    ("deployment", "deployment"),
    ("functional verification", "verification"),
    ("accuracy", "accuracy"),
    ("performance tuning", "tuning"),
    ("performance", "performance"),
    ("faq", "faq"),
)


class Section(Record):
    """A heading of the second level: its whole line, as the template has it, and which section it is."""

    line: str
    key: str


class DocsDialect(Record):
    """`root`: the folder that documents are below, like `docs/source`. `image`: the container image, as other pages
    name it (with the version macro), or empty.
    """

    builder: Literal["sphinx", "mkdocs"]
    root: str
    sections: tuple[Section, ...]
    template: str
    image: str

    def tutorial(self, model: str) -> str:
        return f"{self.root}/{MODELS}/{model}.md"

    @property
    def index(self) -> str:
        return f"{self.root}/{MODELS}/index.md"

    @property
    def macro(self) -> str:
        return "{{ vllm_ascend_version }}" if self.builder == "mkdocs" else "|vllm_ascend_version|"


def docs_dialect(repo: Repository) -> DocsDialect | None:
    """By what the repository holds: `mkdocs.yml` means MkDocs, a `conf.py` beside the documents means Sphinx."""
    root = next((r for r in ("docs/source", "docs") if repo.has(f"{r}/{MODELS}")), None)
    if root is None:
        return None
    is_mkdocs = "mkdocs.yml" in repo.files()
    if not is_mkdocs and f"{root}/conf.py" not in repo.files():
        return None
    template = f"{root}/{TEMPLATE}"
    lines = repo.read(template).splitlines() if template in repo.files() else []
    sections = sections_of(lines) or [Section(line=f"## {name}", key=key_of(name)) for name in OLD_SECTIONS]
    return DocsDialect(
        builder="mkdocs" if is_mkdocs else "sphinx",
        root=root,
        sections=tuple(sections),
        template=template if lines else "",
        image=_image(repo, root),
    )


def sections_of(lines: list[str]) -> list[Section]:
    """The second-level headings outside of code, that are of a section we know."""
    found, fence = [], ""
    for line in lines:
        mark = re.match(r"^\s*(`{3,}|~{3,})", line)
        if mark:
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
            continue
        heading = None if fence else HEADING.match(line)
        if heading and heading[1] == "##" and key_of(heading[2]):
            found.append(Section(line=line.rstrip(), key=key_of(heading[2])))
    return found


def key_of(title: str) -> str:
    """Which section a heading's words mean; empty for none."""
    low = re.sub(r"\{.*?\}", "", title).lower()
    return next((key for words, key in SECTIONS if words in low), "")


def _image(repo: Repository, root: str) -> str:
    """The image that most other tutorials name for the first series: without a series' ending."""
    seen: dict[str, int] = {}
    for path in sorted(repo.files()):
        if path.startswith(f"{root}/{MODELS}/") and path.endswith(".md"):
            for name in IMAGE.findall(_lenient(repo, path)):
                bare = re.sub(r"(-a3|-310p|-a5|-openeuler)+$", "", name)
                seen[bare] = seen.get(bare, 0) + 1
    return max(seen, key=lambda n: (seen[n], n), default="")


def _lenient(repo: Repository, path: str) -> str:
    from seatrial.core.errors import FileFormatError

    try:
        return repo.read(path)
    except FileFormatError:
        # Another page's encoding is not this delivery's business.
        return ""
