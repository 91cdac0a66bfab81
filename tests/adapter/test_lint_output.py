"""What the linter prints: text, JSON, GitHub's commands, SARIF; all say the same."""

from __future__ import annotations

import json

from linted import DOTTED, run

from seatrial.adapter.lint import formats


def test_json_and_text_and_github_say_the_same(plugin):
    document = json.loads(run(plugin, "--json").stdout)
    assert [(p["code"], p["path"], p["line"]) for p in document["problems"]] == [("VLM013", "vllm_kunlun/ops.py", 1)]
    assert run(plugin).stdout.startswith("vllm_kunlun/ops.py:1:18: VLM013 [*] ")
    github = run(plugin, "--format", "github").stdout
    assert github.startswith("::error file=vllm_kunlun/ops.py,line=1,endLine=1,col=18,title=VLM013::VLM013 ")


def test_github_commands_escape_what_would_end_them():
    from seatrial.adapter.lint.record import LintReport, Problem

    problem = Problem(code="VLM013", path="a,b:c%.py", line=1, column=1, end_line=1, message="100% a\nb")
    report = LintReport(
        schema_version=1,
        path="",
        root="",
        platform="",
        engine="",
        engine_version="",
        files=1,
        rules=(),
        problems=(problem,),
        ignored=(),
        not_run=(),
    )
    [text] = formats.github(report)
    assert "\n" not in text
    assert "file=a%2Cb%3Ac%25.py," in text
    assert text.endswith("VLM013 100%25 a%0Ab")


# What the SARIF 2.1.0 schema (errata 01) demands of the parts we write; the whole schema is half a megabyte.
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "$schema": {"type": "string", "format": "uri"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "additionalProperties": False,
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {"type": "object", "required": ["id"]},
                                    }
                                },
                            }
                        },
                    },
                    "invocations": {
                        "type": "array",
                        "items": {"type": "object", "required": ["executionSuccessful"]},
                    },
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "originalUriBaseIds": {"type": "object"},
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": -1},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": {"type": "object", "required": ["text"]},
                                "suppressions": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "required": ["kind"],
                                        "properties": {"kind": {"enum": ["inSource", "external"]}},
                                    },
                                },
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "required": ["artifactLocation"],
                                                "properties": {
                                                    "region": {
                                                        "type": "object",
                                                        "required": ["startLine"],
                                                        "properties": {
                                                            "startLine": {"type": "integer", "minimum": 1},
                                                            "startColumn": {"type": "integer", "minimum": 1},
                                                            "endLine": {"type": "integer", "minimum": 1},
                                                        },
                                                    }
                                                },
                                            }
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


def test_sarif_has_the_shape_of_the_standard_and_hides_nothing(plugin):
    import jsonschema

    ignored = DOTTED.rstrip() + "  # seatrial: ignore[VLM013] kept\n"
    (plugin / "vllm_kunlun" / "old.py").write_text(ignored)
    document = json.loads(run(plugin, "--format", "sarif").stdout)
    jsonschema.validate(document, SARIF)
    [one_run] = document["runs"]
    rules = one_run["tool"]["driver"]["rules"]
    assert all(rules[r["ruleIndex"]]["id"] == r["ruleId"] for r in one_run["results"])
    assert [bool(r.get("suppressions")) for r in one_run["results"]] == [False, True]
    notes = one_run["invocations"][0]["toolExecutionNotifications"]
    assert any(n["associatedRule"]["id"] == "VLM018" for n in notes)
