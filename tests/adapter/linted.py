"""What the linter's tests share: one fault that can be mended, and ways to run the linter."""

from __future__ import annotations

from click.testing import CliRunner

from seatrial.adapter.lint import RULES, lint
from seatrial.cli.lint import command

DOTTED = 'splitting_ops = ["vllm.unified_attention"]\n'
FIXED = 'splitting_ops = ["vllm::unified_attention"]\n'


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


def codes(report):
    return [(p.code, p.line) for p in report.problems]


def one(tmp_path, text, **options):
    file = tmp_path / "x.py"
    file.write_text(text)
    return lint(file, RULES, **options).report
