"""Templates to text. Every Python file that comes out has been parsed; one that does not parse is a fault of ours."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _environment(package: str) -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def load(name: str) -> str | None:
        file = resources.files(package) / "templates" / name
        return file.read_text(encoding="utf-8") if file.is_file() else None

    # The output is Python and TOML, not HTML.
    environment = Environment(
        loader=FunctionLoader(load),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    environment.filters["literal"] = literal
    environment.filters["words"] = words
    return environment


def literal(value: str) -> str:
    """A string as a Python literal: names of a checkpoint are hostile input, and what is written gets run."""
    return json.dumps(value)


def words(value: str) -> str:
    """Text for a comment or a docstring: one line, nothing that could end either."""
    return re.sub(r"[^\w .,:;/*()\[\]<>=+%@&!?'-]", "?", " ".join(value.split()))


def render(package: str, template: str, /, **values: Any) -> str:
    """The text of a template in the folder `templates` of a package; Python is parsed before it is handed out."""
    text = _environment(package).get_template(template).render(**values)
    if template.endswith(".py.jinja"):
        ast.parse(text)
    return text
