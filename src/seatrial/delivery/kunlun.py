"""What vLLM-Kunlun wants with a model: its registration, the README's list, a checklist for the pull request.

In: the repository and the evidence. Out: files, or reasons. A model that upstream's class serves needs no
registration.
"""

from __future__ import annotations

import ast
import json
import re

from seatrial.core.record import Record
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.listing import UNTESTED, Edited
from seatrial.delivery.order import Dropped, Order, Outgoing
from seatrial.delivery.repository import Repository

MODELS = "vllm_kunlun/models/__init__.py"
README = "README.md"
PACKAGE = "vllm_kunlun"


class Registered(Record):
    """A call of `ModelRegistry.register_model`: the architecture, the target, and its last line (1-based)."""

    architecture: str
    target: str
    line: int
    column: int


def kunlun_files(repo: Repository, view: EvidenceView, order: Order) -> tuple[list[Outgoing], list[Dropped]]:
    """Registration and README."""
    files: list[Outgoing] = []
    dropped: list[Dropped] = []
    for path, what, edit in ((MODELS, "adapter-registration", registration), (README, "readme", readme)):
        if path not in repo.files():
            dropped.append(Dropped(what=path, reason="the repository has no such file"))
            continue
        before = repo.read(path)
        after = edit(before, view, order)
        if after.text is None or (after.text == before and after.reason):
            dropped.append(Dropped(what=path, reason=after.reason))
        elif after.text != before:
            files.append(Outgoing(path=path, text=after.text, what=what))  # type: ignore[arg-type]
    return files, dropped


def registration(text: str, view: EvidenceView, order: Order) -> Edited:
    """Add the call for each architecture that a class of the plugin served in the run."""
    served = view.facts("support").get("served_by")
    served = served if isinstance(served, dict) else {}
    path, architecture = str(served.get("class_path") or ""), str(served.get("architecture") or "")
    if not path.startswith(f"{PACKAGE}."):
        owner = served.get("owner") or "an unknown package"
        return Edited(
            text=text, reason=f"no registration is needed: {architecture or 'the model'} is served by {owner}"
        )
    try:
        calls = registrations(text)
    except (SyntaxError, ValueError):
        return Edited(text=None, reason="it does not parse")
    if any(c.architecture == architecture for c in calls):
        return Edited(text=text)
    if not calls:
        return Edited(text=None, reason="it has no call of ModelRegistry.register_model to follow")
    last = max(calls, key=lambda c: c.line)
    lines = text.split("\n")
    pad = " " * last.column
    words = "".join(f"{pad}    {_constant(word)},\n" for word in (architecture, path))
    lines.insert(last.line, f"\n{pad}ModelRegistry.register_model(\n{words}{pad})")
    return Edited(text="\n".join(lines))


def _constant(text: str) -> str:
    """A string of Python in double quotes, as the file has them; whatever is in the text stays in it."""
    return json.dumps(text, ensure_ascii=False)


def registrations(text: str) -> list[Registered]:
    """All calls with two constant strings."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "register_model":
            words = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if len(words) == 2:
                end = node.end_lineno or node.lineno
                found.append(Registered(architecture=words[0], target=words[1], line=end, column=node.col_offset))
    return found


def readme(text: str, view: EvidenceView, order: Order) -> Edited:
    """Add the model's row to the README's table of supported models."""
    lines = text.split("\n")
    part = "Multimodal Language Models" if view.is_multimodal() else "Generative Models"
    start = next((n for n, line in enumerate(lines) if re.match(rf"^### +{part}\s*$", line)), None)
    head = next((n for n in range(start, len(lines)) if lines[n].startswith("|")), None) if start is not None else None
    if head is None:
        return Edited(text=None, reason=f"it has no table under '{part}'")
    end = head
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    if any(lines[n].strip("| ").split("|")[0].strip() == order.model for n in range(head, end)):
        return Edited(text=text)
    titles = [t.strip().lower() for t in lines[head].strip().strip("|").split("|")]
    lines.insert(end, f"| {' | '.join(_cell(t, view, order) for t in titles)} |")
    return Edited(text="\n".join(lines))


def _cell(title: str, view: EvidenceView, order: Order) -> str:
    if title == "model":
        return order.model
    if view.platform != "kunlun":
        # Nothing was run on this plugin's device.
        return UNTESTED
    if title == "support":
        return "✅" if view.passed("real") else UNTESTED
    names = {"quantization": "quantisation", "lora": "lora", "kunlun graph": "graph-mode"}
    row = view.feature(names.get(title, ""))
    if row is None:
        return UNTESTED
    return {"supported": "✅", "unsupported": "", "not-applicable": ""}.get(row.status, UNTESTED)
