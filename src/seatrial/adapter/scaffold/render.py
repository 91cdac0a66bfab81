"""The scaffold's own templates."""

from __future__ import annotations

from typing import Any

from seatrial.adapter.render import render as render_any


def render(template: str, /, **values: Any) -> str:
    """The template's text; Python is parsed before it is handed out."""
    return render_any("seatrial.adapter.scaffold", template, **values)
