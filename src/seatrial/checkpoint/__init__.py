"""What a checkpoint says about itself, from its small files and the headers of its shards, never a weight.

The only door: `read_checkpoint(folder)` gives everything (the `Card` and all `Tensor`s), `inspect(folder)` the step's
result with its verdict, `fingerprint(folder)` a hash that changes when the checkpoint does. Map of the folder:
files, documents (safe reading) · headers, index, weights (shards) · names, components, params (what tensors add up to)
· config, architecture, attention, layers, rope, state, moe, quant, context (config.json) · codes (all findings).
"""

from seatrial.checkpoint.card import Card, Checkpoint
from seatrial.checkpoint.fingerprint import fingerprint
from seatrial.checkpoint.read import read_checkpoint
from seatrial.checkpoint.step import inspect
from seatrial.checkpoint.weights import Shard, Tensor

__all__ = ["Card", "Checkpoint", "Shard", "Tensor", "fingerprint", "inspect", "read_checkpoint"]
