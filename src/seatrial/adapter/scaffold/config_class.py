"""The config class of a relative, from the sources: what an overlay's own config class must be a kind of.

vLLM decides by a config's class and `model_type` which attention, caches and processor a model gets; so a model that is
served as its relative must be seen with the relative's. Nothing is imported: transformers' and vLLM's tables are read.
"""

from __future__ import annotations

import re

from seatrial.adapter.scaffold.render import render
from seatrial.adapter.scaffold.site import Site, note
from seatrial.adapter.scaffold.undecided import class_prefix
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.support.source import Trees

MODELS = "transformers/models/auto/modeling_auto.py"
CONFIGS = ("transformers/models/auto/auto_mappings.py", "transformers/models/auto/configuration_auto.py")
ADJUSTED = "vllm/model_executor/models/config.py"
ENGINE = "vllm/transformers_utils/config.py"
IMPORTED = re.compile(r"^from vllm\.transformers_utils\.configs[\w.]* import (\([^)]*\)|[^\n]*)", re.MULTILINE)


class ConfigBase(Record):
    """`import_line` brings `name`; `model_type` is what vLLM must see."""

    model_type: str
    name: str
    import_line: str


def config_base(trees: Trees, architecture: str, module: str) -> ConfigBase | None:
    """The config class of a supported architecture, defined in `module` of vLLM; None where nothing says it."""
    model_type = _key_of(trees.read(MODELS), architecture)
    texts = [trees.read(path) for path in CONFIGS]
    named = next((n for text in texts if model_type and (n := _value_of(text, model_type))), "")
    if named:
        return ConfigBase(model_type=model_type, name=named, import_line=f"from transformers import {named}")
    source = (trees.read(module.replace(".", "/") + ".py") or b"").decode("utf-8", "replace")
    table = (trees.read(ENGINE) or b"").decode("utf-8", "replace")
    prefix = class_prefix(architecture).lower()
    for line in IMPORTED.finditer(source):
        for name in re.findall(r"\w+Config\b", line[1]):
            entry = re.search(rf"^\s*([\w]+)=\"{name}\"", table, re.MULTILINE)
            if entry and name.removesuffix("Config").lower().startswith(prefix):
                return ConfigBase(
                    model_type=entry[1], name=name, import_line=f"from vllm.transformers_utils.configs import {name}"
                )
    return None


def by_name(site: Site, architecture: str, base: ConfigBase | None) -> list[Finding]:
    """What vLLM does for a relative by its names: entered for the overlay too (F002), or said not to be (F015)."""
    findings = []
    trees, model_type = site.trees, str(site.config.get("model_type") or "")
    if base is None and knows_model_type(trees, model_type) is False:
        message = f"no table says which config class {architecture} has: model_type {model_type!r} gets a plain one"
        step = "Where vLLM looks at model_type (latent attention, caches, processors), give it the relative's class."
        findings.append(note("F015", "config.json", message, Severity.WARNING, step))
    if f'"{architecture}":'.encode() in (trees.read(ADJUSTED) or b""):
        module = f"{site.module}_adjusted"
        place = site.plugin.path_of(module)
        site.files[place] = render("adjusted.py.jinja", arch=site.arch, relative=architecture)
        site.calls.append((module, "adjust"))
        message = f"assumed: what vLLM adjusts in the configuration of {architecture} by its name is right here too"
        step = f"Read what MODELS_CONFIG_MAP has for it ({ADJUSTED})."
        findings.append(note("F002", place, message, next_step=step))
    return findings


def knows_model_type(trees: Trees, model_type: str) -> bool | None:
    """Whether transformers or vLLM has a config class for it, by their text; None: transformers is not in the sources.

    Transformers 4 keeps its table in `configuration_auto.py`, 5 in `auto_mappings.py`.
    """
    texts = [trees.read(path) for path in CONFIGS]
    if not any(texts):
        return None
    texts.append(trees.read(ENGINE))
    key = re.escape(model_type.encode())
    pattern = re.compile(rb"""["']""" + key + rb"""["']\s*[:,]|\b""" + key + rb"""\s*=\s*["']""")
    return any(pattern.search(text) for text in texts if text)


def _key_of(text: bytes | None, value: str) -> str:
    """The first key of `("key", "value")` pairs with this value."""
    match = re.search(
        rb"""\(\s*["']([\w.-]+)["'],\s*["']""" + re.escape(value.encode()) + rb"""["']\s*\)""", text or b""
    )
    return match[1].decode() if match else ""


def _value_of(text: bytes | None, key: str) -> str:
    match = re.search(
        rb"""\(\s*["']""" + re.escape(key.encode()) + rb"""["'],\s*["'](\w+Config)["']\s*\)""", text or b""
    )
    return match[1].decode() if match else ""
