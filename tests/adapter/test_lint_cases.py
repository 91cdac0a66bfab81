"""Every rule by its own cases: good ones stay silent, bad ones fire where they say, fixes give what they say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from seatrial.adapter.lint import RULES
from seatrial.adapter.lint.engine import EngineFacts
from seatrial.adapter.lint.file import LintFile
from seatrial.adapter.lint.fixes import apply
from seatrial.adapter.lint.plugin import PluginFacts
from seatrial.adapter.lint.run import check_file, check_text
from seatrial.support.source import open_source

CASE_RULES = [r for r in RULES if r.check is not None]
GOOD = [pytest.param(r, c, id=f"{r.code}-good-{n}") for r in CASE_RULES for n, c in enumerate(r.good)]
BAD = [pytest.param(r, c, id=f"{r.code}-bad-{n}") for r in CASE_RULES for n, c in enumerate(r.bad)]


def judged(rule, case, tmp_path, code=None):
    files = {**case.others, case.path: case.code if code is None else code}
    plugin = PluginFacts(files, lambda path: files[path].encode(), case.architectures)
    engine = None
    if case.engine:
        for name, text in {"vllm/__init__.py": "", **case.engine}.items():
            place = tmp_path / "engine" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            for folder in place.parents:
                if folder == tmp_path / "engine":
                    break
                (folder / "__init__.py").touch()
        engine = EngineFacts(open_source(tmp_path / "engine"))
    source = files[case.path].encode()
    if not case.path.endswith(".py"):
        return check_text(case.path, source, [rule], {rule.code})[0]
    problems, _ = check_file(LintFile(case.path, source, plugin, engine), [rule], {rule.code})
    return problems


@pytest.mark.parametrize(("rule", "case"), GOOD)
def test_a_good_case_is_silent(rule, case, tmp_path):
    assert judged(rule, case, tmp_path) == []


@pytest.mark.parametrize(("rule", "case"), BAD)
def test_a_bad_case_fires_on_its_lines_and_nowhere_else(rule, case, tmp_path):
    assert case.hits
    assert tuple(p.line for p in judged(rule, case, tmp_path)) == case.hits


@pytest.mark.parametrize(("rule", "case"), [p for p in BAD if p.values[1].fixed])
def test_a_fix_gives_the_stated_code_and_is_silent_afterwards(rule, case, tmp_path):
    python = case.path.endswith(".py")
    fixed = apply(case.code.encode(), judged(rule, case, tmp_path), python=python).decode()
    assert fixed == case.fixed
    again = judged(rule, case, tmp_path, code=fixed)
    assert [p for p in again if p.fix] == []
    assert apply(fixed.encode(), again, python=python).decode() == fixed


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.code)
def test_a_rule_says_what_it_is(rule):
    assert rule.summary.endswith(".")
    assert rule.why.endswith(".")
    assert rule.mend
    assert bool(rule.check) != bool(rule.commits)
    if rule.check:
        assert len(rule.good) >= 4
        assert len(rule.bad) >= 4
        assert rule.fixable == any(c.fixed for c in rule.bad)
        for case in (*rule.good, *rule.bad):
            if case.path.endswith(".py"):
                ast.parse(case.code)


def test_a_rules_file_is_named_after_its_code():
    folder = Path(__file__).parents[2] / "src" / "seatrial" / "adapter" / "lint" / "rules"
    assert sorted(f.stem[:6].upper() for f in folder.glob("[a-z]*.py")) == sorted(r.code for r in RULES)
