"""Where a repository lists its models: the toctree or nav of tutorials, and the support matrix.

In: the text of a file at the commit, the model's name, its evidence. Out: the new text, or a reason why there is none.
Lines are inserted; nothing else of the file changes. Asking twice changes nothing.
"""

from __future__ import annotations

import ast
import re

from seatrial.core.record import Record
from seatrial.delivery.docs_dialect import DocsDialect
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.order import Order

UNTESTED = "🟡"
MARKS = {
    "supported": "✅",
    "unsupported": "❌",
    "not-applicable": "",
    "checkpoint-missing": "",
    "not-attempted": UNTESTED,
    "inconclusive": UNTESTED,
}
# Words of a column's title to the feature whose status it shows.
COLUMNS = (
    ("chunked prefill", "chunked-prefill"),
    ("prefix cach", "prefix-cache"),
    ("lora", "lora"),
    ("tensor parallel", "tensor-parallel"),
    ("pipeline parallel", "pipeline-parallel"),
    ("expert parallel", "expert-parallel"),
    ("graph", "graph-mode"),
)
SPECULATIVE = ("mtp", "speculative-ngram")


class Edited(Record):
    """`text` is None where the file has no place for the entry; `reason` says which was looked for."""

    text: str | None
    reason: str = ""


def in_toctree(text: str, model: str) -> Edited:
    """Add `model.md` after the last page of the toctree."""
    lines = text.split("\n")
    start = next((n for n, line in enumerate(lines) if re.match(r"^\s*(:::+|```+)\s*\{toctree\}", line)), None)
    if start is None:
        return Edited(text=None, reason="there is no toctree in it")
    mark = re.match(r"^\s*(:+|`+)", lines[start])
    fence = mark[1] if mark else ":::"
    end = next((n for n in range(start + 1, len(lines)) if lines[n].strip() == fence), None)
    if end is None:
        return Edited(text=None, reason="its toctree is not closed")
    names = {line.strip().removesuffix(".md") for line in lines[start + 1 : end]}
    if model in names:
        return Edited(text=text)
    pages = [n for n in range(start + 1, end) if lines[n].strip().endswith(".md")]
    at = pages[-1] + 1 if pages else end
    indent = re.match(r"\s*", lines[at - 1])
    lines.insert(at, f"{indent[0] if indent and pages else ''}{model}.md")
    return Edited(text="\n".join(lines))


def in_nav(text: str, model: str) -> Edited:
    """Add the page to the entry `Model Tutorials` of `mkdocs.yml`, written as its neighbours are."""
    lines = text.split("\n")
    start = next((n for n, line in enumerate(lines) if re.match(r"^\s*- ['\"]?Model Tutorials['\"]?:\s*$", line)), None)
    if start is None:
        return Edited(text=None, reason="its nav has no entry 'Model Tutorials'")
    indent = len(lines[start]) - len(lines[start].lstrip())
    last, pattern = start, None
    for n in range(start + 1, len(lines)):
        line = lines[n]
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        page = re.match(r"^(\s*- (?:[^:]+: )?)(\S*/)?([^/\s]+)\.md\s*$", line)
        if page:
            if page[3] == model:
                return Edited(text=text)
            if page[3] != "index":
                pattern = page
            last = n
    if pattern is None:
        return Edited(text=None, reason="the entry 'Model Tutorials' lists no page to follow")
    head = pattern[1] if ":" not in pattern[1] else re.sub(r"- .*", f"- {model}: ", pattern[1])
    lines.insert(last + 1, f"{head}{pattern[2] or ''}{model}.md")
    return Edited(text="\n".join(lines))


def in_titles(text: str, model: str) -> Edited:
    """Add the page's title to the dict `TITLES` of the nav hook, keyed as its last entry is."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return Edited(text=None, reason="it does not parse")
    for node in ast.walk(tree):
        names = [t.id for t in getattr(node, "targets", []) if isinstance(t, ast.Name)]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        value = getattr(node, "value", None)
        if "TITLES" in names and isinstance(value, ast.Dict):
            keys = [k for k in value.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)]
            models = [k for k in keys if "tutorials/models/" in str(k.value)]
            if not models:
                return Edited(text=text, reason="TITLES names no tutorial of a model")
            key = re.sub(r"[^/]+?(\.md)?$", lambda m: model + (m[1] or ""), str(models[-1].value))
            if any(k.value == key for k in keys):
                return Edited(text=text)
            place = value.values[value.keys.index(models[-1])]
            lines = text.split("\n")
            row = (place.end_lineno or place.lineno) - 1
            if not lines[row].rstrip().endswith(","):
                lines[row] = lines[row].rstrip() + ","
            lines.insert(row + 1, f'{" " * models[-1].col_offset}"{key}": "{model}",')
            return Edited(text="\n".join(lines))
    return Edited(text=None, reason="it has no dict TITLES")


def in_matrix(text: str, docs: DocsDialect, view: EvidenceView, order: Order) -> Edited:
    """Add the model's row to the table of models of its kind that are not the project's core ones."""
    lines = text.split("\n")
    part = "Multimodal Language Models" if view.is_multimodal() else "Text-Only Language Models"
    table = _table(lines, part)
    if table is None:
        return Edited(text=None, reason=f"it has no table under '{part}'")
    titles = _cells(lines[table[0]])
    first, end = table[0] + 2, table[1]
    if any(_cells(lines[n])[:1] == [order.model] for n in range(first, end)):
        return Edited(text=text)
    lines.insert(end, f"| {' | '.join(cell_of(t, docs, view, order) for t in titles)} |")
    return Edited(text="\n".join(lines))


def cell_of(title: str, docs: DocsDialect | None, view: EvidenceView, order: Order) -> str:
    """A column's cell: only what a record says, `🟡` for what was not tested on this kind of device."""
    low = title.lower().strip()
    is_own = view.platform == order.kind
    if low in ("model", "model name"):
        return order.model
    if low in ("support", "support status"):
        return "✅" if is_own and view.passed("real") else UNTESTED
    if low in ("note", "remarks"):
        return "" if is_own else f"verified on {view.platform} only"
    if low == "supported hardware":
        return order.hardware.replace("|", r"\|") if is_own else ""
    if low == "doc" or low.startswith("doc"):
        return f"[{order.model}](../../tutorials/models/{order.model}.md)" if docs is not None else ""
    if low == "bf16":
        return _mark(is_own, view.architecture().get("dtype") == "BF16" and view.passed("real"))
    if "max-model-len" in low or "max model len" in low:
        longest = view.facts("capacity").get("longest")
        return str(longest) if is_own and isinstance(longest, int) else ""
    if "speculative" in low:
        rows = [r for r in map(view.feature, SPECULATIVE) if r is not None]
        best = next((r for r in rows if r.status == "supported"), rows[0] if rows else None)
        return (MARKS.get(best.status, UNTESTED) if best else UNTESTED) if is_own else UNTESTED
    name = next((f for words, f in COLUMNS if words in low), "")
    row = view.feature(name) if name else None
    if not name:
        return ""
    return (MARKS.get(row.status, UNTESTED) if row else UNTESTED) if is_own else UNTESTED


def _mark(is_own: bool, seen: bool) -> str:
    return ("✅" if seen else "") if is_own else UNTESTED


def _table(lines: list[str], part: str) -> tuple[int, int] | None:
    """First and one past the last line of the table to add to: under `Extended Compatible Models` if there is one, else
    in the tab of A2/A3, else the part's first.
    """
    start = next((n for n, line in enumerate(lines) if re.match(rf"^## +{re.escape(part)}", line)), None)
    if start is None:
        return None
    stop = next((n for n in range(start + 1, len(lines)) if lines[n].startswith("## ")), len(lines))
    pooling = next((n for n in range(start, stop) if re.match(r"^### +Pooling", lines[n])), stop)
    found: list[tuple[int, int, int]] = []
    rank = 2
    n = start
    while n < pooling:
        line = lines[n]
        if re.match(r"^#### +Extended", line):
            rank = 0
        elif re.match(r"^#### ", line):
            rank = 2
        elif re.match(r"^(::::+ *\{tab-item\}|===) *.*A2", line):
            rank = min(rank, 1)
        elif "{tab-item}" in line or line.startswith("=== "):
            rank = 2 if rank else 0
        if line.lstrip().startswith("|") and n + 1 < pooling and re.match(r"^\s*\|[\s:|-]+\|\s*$", lines[n + 1]):
            end = n
            while end < pooling and lines[end].lstrip().startswith("|"):
                end += 1
            found.append((rank, n, end))
            n = end
            continue
        n += 1
    return min(found)[1:] if found else None


def _cells(line: str) -> list[str]:
    return [c.strip() for c in line.strip().strip("|").split("|")]
