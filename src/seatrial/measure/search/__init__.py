"""Search: candidates from a space in tiers, the highest load under a service level, ranking and Pareto front."""

from seatrial.measure.search.framework import FRAMEWORKS, Framework, launch, words
from seatrial.measure.search.highest import Highest, Try, highest
from seatrial.measure.search.rank import Entry, pareto, rank
from seatrial.measure.search.space import Candidate, Space, candidates, read_space

__all__ = [
    "FRAMEWORKS",
    "Candidate",
    "Entry",
    "Framework",
    "Highest",
    "Space",
    "Try",
    "candidates",
    "highest",
    "launch",
    "pareto",
    "rank",
    "read_space",
    "words",
]
