"""A minimal out-of-tree plugin package for vLLM: one entry point, lazy registration, a folder for models.

In: a name. Out: the files by path, relative to the package's root. Refuses (UsageError): a name that is no
distribution's name, or that would shadow vLLM or a known plugin.
"""

from __future__ import annotations

import keyword
import re

from seatrial.adapter.scaffold.render import render
from seatrial.core.errors import UsageError

TAKEN = {"vllm", "torch", "transformers", "vllm_ascend", "vllm_kunlun", "tests", "seatrial"}


def package_name(name: str) -> str:
    """The import name of a distribution: `vllm-harbour` gives `vllm_harbour`."""
    return re.sub(r"[-.]+", "_", name).lower()


def plugin_files(name: str) -> dict[str, str]:
    """Path to text of every file of the new plugin."""
    package = package_name(name)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([._-][A-Za-z0-9]+)*", name) or keyword.iskeyword(package):
        raise UsageError(f"{name!r} is no name for a package", mend="Use letters, digits and dashes: vllm-harbour.")
    if package in TAKEN:
        raise UsageError(f"the name {name!r} belongs to somebody else", mend="Choose another, such as vllm-harbour.")
    values = {"name": name, "package": package}
    return {
        "pyproject.toml": render("plugin/pyproject.toml.jinja", **values),
        "README.md": render("plugin/README.md.jinja", **values),
        f"{package}/__init__.py": render("plugin/__init__.py.jinja", **values),
        f"{package}/models/__init__.py": render("plugin/models.py.jinja", **values),
    }
