"""`seatrial lint`: the pitfalls of plugin code as rules, one file each under `rules/`.

The core takes bytes and yields problems; only the command line prints, and only it (through `adapter.writes`) writes.
"""

from seatrial.adapter.lint.record import LintReport, Problem
from seatrial.adapter.lint.rule import Case, Rule
from seatrial.adapter.lint.rules import RULES
from seatrial.adapter.lint.run import OWN, Linted, lint

__all__ = ["OWN", "RULES", "Case", "LintReport", "Linted", "Problem", "Rule", "lint"]
