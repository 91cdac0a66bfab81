"""What a platform's attention takes: data with a source for each number, laid over a checkpoint elsewhere.

`platforms/<name>/attention.py` holds one `RULES`. A rule that no document states is not there; None means "no rule".
"""

from __future__ import annotations

import msgspec

from seatrial.core.record import Record


class AttentionRules(Record):
    """`kinds`: attention kind to the backend that serves it; `refused`: kind to why it is not served.

    `head_sizes` and `mla_heads_per_rank` are the sizes that the platform's documents name; `draft_tokens` the most
    tokens a draft may have. `dtypes` are torch's names. `quantisation` stands in where no engine can be asked;
    `quantisation_limits`: method to why the list alone does not settle it.
    `sources` says where each field's figures are from.
    """

    kinds: dict[str, str] = msgspec.field(default_factory=dict)
    refused: dict[str, str] = msgspec.field(default_factory=dict)
    head_sizes: tuple[int, ...] | None = None
    mla_heads_per_rank: tuple[int, ...] | None = None
    draft_tokens: int | None = None
    dtypes: tuple[str, ...] | None = None
    quantisation: tuple[str, ...] | None = None
    quantisation_limits: dict[str, str] = msgspec.field(default_factory=dict)
    sources: dict[str, str] = msgspec.field(default_factory=dict)
