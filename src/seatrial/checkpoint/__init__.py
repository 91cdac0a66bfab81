"""What a checkpoint says about itself, from its small files and the headers of its shards, never a weight.

The only door: `read_checkpoint(folder)` gives everything (the `Card` and all `Tensor`s), `read_card(folder)` the card
alone, `inspect(folder)` the step's result with its verdict, `fingerprint(folder)` a hash that changes when the
checkpoint does, `compare(card, card)` what differs.

Map of the folder: files, documents (safe reading) · headers, index, weights (shards) · names, components, params (what
tensors add up to) · config, architecture, attention, layers, rope, state, moe, quant, context, mtp, multimodal,
tokenizer, parallel, estimate (what the small files say) · checks/ (tensors against config) · card, read, step (all
together) · diff (two checkpoints) · fields (what of config.json is known) · codes (all findings).
"""

from seatrial.checkpoint.card import Card, Checkpoint, human_bytes, human_count
from seatrial.checkpoint.codes import CODES, Code
from seatrial.checkpoint.diff import Difference, compare
from seatrial.checkpoint.fingerprint import fingerprint
from seatrial.checkpoint.parallel import TpCheck, fitting, powers
from seatrial.checkpoint.read import index_names, read_card, read_checkpoint
from seatrial.checkpoint.step import inspect, judge
from seatrial.checkpoint.weights import Shard, Tensor

__all__ = [
    "CODES",
    "Card",
    "Checkpoint",
    "Code",
    "Difference",
    "Shard",
    "Tensor",
    "TpCheck",
    "compare",
    "fingerprint",
    "fitting",
    "human_bytes",
    "human_count",
    "index_names",
    "inspect",
    "judge",
    "powers",
    "read_card",
    "read_checkpoint",
]
