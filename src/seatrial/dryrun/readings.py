"""All ranks' readings of one dry run together: what the account is made from."""

from __future__ import annotations

from collections import defaultdict

from seatrial.dryrun.rank import RankReading
from seatrial.dryrun.raw import RawDry
from seatrial.dryrun.request import DryRequest
from seatrial.dryrun.spread import Spread


class Readings:
    """`into`: tensor to the parameters it went into on any rank; `shared_by`: parameter to the tensors that fill it."""

    def __init__(self, request: DryRequest, raw: RawDry) -> None:
        self.request = request
        self.raw = raw
        self.columns = request.tensors
        self.full = [RankReading(r) for r in raw.ranks if r.built and r.how == "full"]
        self.sampled = [RankReading(r) for r in raw.ranks if r.built and r.how == "sample"]
        self.spread = Spread(request, self.full, self.sampled)
        self.into: dict[int, set[str]] = defaultdict(set)
        for rank in self.full:
            for tensor, names in rank.into.items():
                self.into[tensor] |= names
        self.shared_by: dict[str, int] = {}
        for rank in self.full:
            for name, filling in rank.fillings.items():
                self.shared_by[name] = max(self.shared_by.get(name, 0), len(filling.tensors))
