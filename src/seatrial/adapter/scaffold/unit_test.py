"""The unit test of a written model, and the maker of its tiny checkpoint.

F003 names what the tiny checkpoint is without, and sides that nothing in config.json gives.
"""

from __future__ import annotations

import json

from seatrial.adapter.scaffold.draft import Draft
from seatrial.adapter.scaffold.render import render
from seatrial.adapter.scaffold.site import Site, note
from seatrial.adapter.scaffold.tiny import Tiny
from seatrial.adapter.scaffold.undecided import module_name
from seatrial.core.finding import Finding

MOST = 3


def unit_test(
    site: Site,
    made: Tiny,
    *,
    interfaces: dict[str, bool | None],
    layers_field: str,
    draft: Draft | None,
    relative_type: str = "",
    quantised: tuple[str, ...] = (),
) -> list[Finding]:
    """`interfaces`: what the class can do by its text, as keys of vLLM's own functions (`supports_pp`).

    `relative_type`: the model type of the relative, for an overlay, whose draft is vLLM's rule for that one.
    `quantised`: the last words of tensors' names that the tiny checkpoint has not.
    """
    name = module_name(site.arch)
    tiny_file = f"tests/tiny_{name}.py"
    if made.shapes:
        site.files[tiny_file] = render(
            "tiny.py.jinja",
            arch=site.arch,
            file=tiny_file,
            config=json.dumps(made.config, indent=4),
            shapes={n: f"({', '.join(map(str, s))}{',' if len(s) == 1 else ''})" for n, s in made.shapes.items()},
        )
    findings = [
        note("F003", tiny_file, f"the tiny checkpoint is without {pattern}: nothing says its shape")
        for pattern in made.left_out
    ]
    if made.kept:
        more = f" and {len(made.kept) - MOST} more" if len(made.kept) > MOST else ""
        message = f"sides that nothing in config.json gives are kept: {', '.join(made.kept[:MOST])}{more}"
        findings.append(note("F003", tiny_file, message))
    point = next((p for p in site.plugin.distribution.entry_points if p.group == "vllm.general_plugins"), None)
    package, _, function = (point.target if point else f"{site.plugin.package.name}:register").partition(":")
    site.files[f"tests/test_{name}.py"] = render(
        "test.py.jinja",
        arch=site.arch,
        package=package.strip(),
        function=function.strip(),
        module=site.module,
        interfaces=sorted(key for key, has in interfaces.items() if has and key.startswith("supports_")),
        has_tiny=tiny_file in site.files,
        tiny_file=f"tiny_{name}.py",
        draft=site.draft_arch if draft is not None and not draft.reason else "",
        draft_field=draft.field if draft is not None else "",
        draft_own=draft is not None and draft.layout.own,
        layers_field=layers_field,
        relative_type=relative_type,
        quantised=quantised,
    )
    return findings
