"""Rules of the tutorial and its listings: sections, tabs, macros, links, nav, support matrix, commands, figures."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath

from seatrial.core.finding import Finding
from seatrial.delivery.check.case import Case, error
from seatrial.delivery.docs_dialect import DocsDialect, key_of, sections_of
from seatrial.delivery.figures import FIGURE, unfounded
from seatrial.delivery.listing import MARKS, in_nav, in_toctree
from seatrial.delivery.render import GUARDED, unguarded
from seatrial.delivery.serve import flags_of, serving_of

LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
OPEN = re.compile(r"^(:{3,})\{(tab-set|tab-item)\}")
PLACEHOLDER = re.compile(
    r"\b(TODO|TBD|FIXME|XXX)\b|<(?:model|path|version|value|fill)[^>]*>|\{\{(?!\s*vllm_ascend_version\s*\}\})"
)
EXTRA = {"--port", "--host"}


def tutorials(case: Case) -> Iterator[Finding]:
    docs = case.docs
    if docs is None:
        return
    for path, text in case.tutorials().items():
        yield from _sections(docs, path, text)
        yield from _tabs(docs, path, text)
        yield from _macros(docs, path, text)
        yield from _listed(case, docs, path)
        yield from _commands(case, path, text)
        title = text.lstrip().splitlines()[0] if text.strip() else ""
        if title.replace("\\", "") != f"# {PurePosixPath(path).stem}":
            yield error("Y121", path, f"the first line is {title[:60]!r}, not the model's name", "Deliver again.")
    if case.delivered is not None and case.delivered.kind == "ascend" and not case.tutorials():
        yield error("Y120", str(case.repo.top), "no tutorial is part of the delivery", "Deliver again.")


def _sections(docs: DocsDialect, path: str, text: str) -> Iterator[Finding]:
    have = [key_of(re.sub(r"^#+ *", "", s.line)) for s in sections_of(text.splitlines())]
    wanted = [s.key for s in docs.sections]
    for section in docs.sections:
        if section.key not in have:
            yield error("Y120", path, f"the section {section.line.lstrip('# ')!r} is missing", "Deliver again.")
    if not set(wanted) - set(have) and [k for k in have if k in wanted] != wanted:
        yield error("Y120", path, "the sections are not in the template's order", "Deliver again.")
    for section, following in zip(docs.sections, [*docs.sections[1:], None], strict=True):
        body = _body(text, section.line, following.line if following is not None else None)
        if body is not None and not body.strip():
            yield error("Y120", path, f"the section {section.line.lstrip('# ')!r} is empty", "Deliver again.")


def _body(text: str, line: str, following: str | None) -> str | None:
    lines = text.splitlines()
    if line not in lines:
        return None
    start = lines.index(line) + 1
    end = lines.index(following) if following in lines else len(lines)
    return "\n".join(lines[start:end])


def _tabs(docs: DocsDialect, path: str, text: str) -> Iterator[Finding]:
    sphinx = re.findall(r"^:+\{tab-item\} *(.+)$", text, re.M)
    mkdocs = re.findall(r'^=== "(.+)"$', text, re.M)
    wrong, right = (mkdocs, sphinx) if docs.builder == "sphinx" else (sphinx, mkdocs)
    if wrong:
        yield error("Y122", path, f"tabs of the wrong builder; this repository uses {docs.builder}", "Deliver again.")
    for series in ("A3", "A2"):
        if not any(series in label for label in right):
            yield error("Y123", path, f"there is no tab for {series}", "Deliver again.")
    stack: list[str] = []
    for line in text.splitlines():
        opened = OPEN.match(line)
        if opened:
            stack.append(opened[1])
        elif re.fullmatch(r":{3,}", line.strip()) and stack:
            if stack[-1] != line.strip():
                yield error("Y124", path, f"{line.strip()} closes {stack[-1]}", "Balance the tab fences.")
                return
            stack.pop()
    if stack:
        yield error("Y124", path, f"{len(stack)} tab fence(s) are not closed", "Balance the tab fences.")
    fences = re.findall(r"^\s*(`{3,})", text, re.M)
    if len(fences) % 2:
        yield error("Y124", path, "a code block is not closed", "Close it.")


def _macros(docs: DocsDialect, path: str, text: str) -> Iterator[Finding]:
    other = "|vllm_ascend_version|" if docs.builder == "mkdocs" else "{{ vllm_ascend_version }}"
    if other in text:
        yield error("Y125", path, f"{other} is no macro of {docs.builder}", f"Write {docs.macro}.")
    if (
        docs.builder == "sphinx"
        and docs.macro in text
        and not re.search(r"\{code-block\}[^\n]*\n\s*:substitutions:", text)
    ):
        yield error("Y125", path, "the version macro stands in a block without :substitutions:", "Deliver again.")


def _listed(case: Case, docs: DocsDialect, path: str) -> Iterator[Finding]:
    name = PurePosixPath(path).stem
    place = "mkdocs.yml" if docs.builder == "mkdocs" else docs.index
    text = case.now(place)
    if text is None:
        yield error("Y127", place, "the index cannot be read", "Restore it.")
        return
    edited = in_nav(text, name) if docs.builder == "mkdocs" else in_toctree(text, name)
    if edited.text != text:
        yield error("Y127", place, f"{name} is not in it, so nobody finds the page", "Deliver again.")
    entries = [line for line in text.splitlines() if re.search(rf"(^|[\s/]){re.escape(name)}(\.md)?\s*$", line)]
    if len(entries) > 1:
        yield error("Y127", place, f"{name} is in it {len(entries)} times", "Keep one.")
    matrix = f"{docs.root}/user_guide/support_matrix/supported_models.md"
    rows = case.now(matrix)
    if rows is not None:
        mine = [line for line in rows.splitlines() if line.startswith(f"| {name} |")]
        if not mine:
            yield error("Y128", matrix, f"{name} has no row", "Deliver again.")
        elif len(mine) > 1:
            yield error("Y128", matrix, f"{name} has {len(mine)} rows", "Keep one.")
        else:
            yield from _row(case, matrix, rows, mine[0])


def _row(case: Case, matrix: str, text: str, row: str) -> Iterator[Finding]:
    """A mark in the row that no record backs."""
    from seatrial.delivery.listing import cell_of

    if case.view is None or case.delivered is None:
        return
    lines = text.splitlines()
    at = lines.index(row)
    head = next(n for n in range(at, -1, -1) if n == 0 or not lines[n - 1].lstrip().startswith("|"))
    titles = [c.strip() for c in lines[head].strip().strip("|").split("|")]
    cells = [c.strip() for c in row.strip().strip("|").split("|")]
    if len(cells) != len(titles):
        yield error(
            "Y128", matrix, f"the row has {len(cells)} cells, the table {len(titles)} columns", "Deliver again."
        )
        return
    for title, cell in zip(titles, cells, strict=True):
        wanted = cell_of(title, case.docs, case.view, case.delivered.order).strip()
        if cell != wanted and (cell in {*MARKS.values(), "🔵"} or wanted in MARKS.values()):
            why = f"{title}: {cell or 'empty'!r} is shown, the records say {wanted or 'nothing'!r}"
            yield error("Y133", matrix, why, "Deliver again.")


def _commands(case: Case, path: str, text: str) -> Iterator[Finding]:
    """Serve and curl commands, held against the last successful start."""
    gate = case.view.gate("real") if case.view is not None else None
    if gate is None:
        return
    serving = serving_of(gate, port=0)
    text = unguarded(text) if case.docs is not None and case.docs.builder == "mkdocs" else text
    found = list(re.finditer(r"^vllm serve\s(?:.*\\\n)*.*$", text, re.M))
    if not found:
        yield error("Y129", path, "there is no serve command", "Deliver again.")
    wanted = {f: v for f, v in serving.flags if f not in EXTRA}
    for command in found:
        try:
            words = shlex.split(command[0].replace("\\\n", " "))[3:]
        except ValueError as exc:
            yield error("Y129", path, f"a serve command is none that a shell reads: {exc}", "Deliver again.")
            continue
        said = {f: v for f, v in flags_of(words) if f not in EXTRA}
        for flag in sorted(said.keys() | wanted.keys()):
            if said.get(flag, "absent") != wanted.get(flag, "absent"):
                why = (
                    f"{flag} is {said.get(flag, 'absent')}, the last successful start had {wanted.get(flag, 'absent')}"
                )
                yield error("Y129", path, why, "Deliver again.")
    for name, value in serving.env.items():
        if f"export {name}={value}" not in text.replace("'", ""):
            yield error("Y129", path, f"the start set {name}={value}, the page does not", "Deliver again.")
    for model in re.findall(r'"model":\s*"([^"]*)"', text):
        if model != serving.served_model:
            yield error("Y130", path, f"a request names the model {model!r}, served was {serving.served_model!r}",
                        "Deliver again.")  # fmt: skip


def links(case: Case) -> Iterator[Finding]:
    """Relative links of what was added lead to files that are there."""
    for path, text in case.texts.items():
        if text is None or not path.endswith(".md"):
            continue
        for target in LINK.findall(case.lines(path)):
            bare = target.split("#")[0]
            if not bare or "://" in target or target.startswith("mailto:"):
                continue
            place = PurePosixPath(path).parent / bare
            parts: list[str] = []
            for part in place.parts:
                if part == ".." and parts:
                    parts.pop()
                elif part != ".":
                    parts.append(part)
            if ".." in parts or not case.exists("/".join(parts)):
                yield error("Y126", path, f"the link {target} leads nowhere", "Mend or remove it.")


def figures(case: Case) -> Iterator[Finding]:
    """Every figure that was added is a recorded one."""
    if case.numbers is None:
        return
    known = set()
    if case.base is not None and case.docs is not None and case.docs.template:
        known = set(FIGURE.findall(" ".join(s.line for s in case.docs.sections)))
    for path, text in {**case.tutorials(), **case.reports()}.items():
        case.looked_up += len(FIGURE.findall(text))
        for found in unfounded(text, case.numbers, also=known):
            why = f"line {found.line}: the figure {found.figure} is in no record: {found.text}"
            yield error("Y131", path, why, "Take it from a record, or remove it.")


def placeholders(case: Case) -> Iterator[Finding]:
    for path, text in case.texts.items():
        if text is None or not path.endswith((".md", ".yaml")):
            continue
        for line in case.lines(path).splitlines():
            found = PLACEHOLDER.search(line.replace(GUARDED, ""))
            if found:
                yield error("Y132", path, f"a placeholder is left: {found[0]}", "Fill it from a record.")
