"""How the model is spread over devices, and how it is served: what a user chooses.

In: the numbers of a command line. Refuses (UsageError): sizes below one, expert parallelism without experts.
"""

from __future__ import annotations

from seatrial.core.record import Record


class Layout(Record):
    """`tp` ranks share each layer, `pp` stages share the layers, `dp` replicas each with its own KV cache.

    With `ep` the experts are spread whole over all tp x dp ranks of a stage; otherwise each expert is cut by `tp`.
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: bool = False

    def devices(self) -> int:
        return self.tp * self.pp * self.dp

    def expert_ranks(self) -> int:
        """Over how many ranks whole experts are spread; 1 without expert parallelism."""
        return self.tp * self.dp if self.ep else 1

    def stage_layers(self, layers: int) -> tuple[range, ...]:
        """Each stage's layers. The rule is vLLM's `get_pp_indices`: a remainder goes to the last stages but one."""
        counts = [layers // self.pp] * self.pp
        for i in range(2, layers % self.pp + 2):
            counts[-i] += 1
        ends = [sum(counts[: i + 1]) for i in range(self.pp)]
        return tuple(range(end - count, end) for end, count in zip(ends, counts, strict=True))

    def words(self) -> str:
        """`TP 8, PP 2, EP`."""
        parts = [f"TP {self.tp}"]
        parts += [f"PP {self.pp}"] if self.pp > 1 else []
        parts += [f"DP {self.dp}"] if self.dp > 1 else []
        return ", ".join(parts + (["EP"] if self.ep else []))


class Serving(Record):
    """How it is served. None means the engine's default, which `EngineRules` then supplies and the plan shows.

    `kv_dtype`: "auto" (the model's), "fp8", "int8_per_token_head", … as `--kv-cache-dtype`. `utilization` is the share
    of a device's memory the engine may use; `kv_bytes` (per device) sets the KV cache outright, as
    `--kv-cache-memory-bytes`. `spec_tokens` are drafted per step, by the checkpoint's own layers where it has them,
    unless another checkpoint drafts (`own_draft` false). `encoder_tokens`: longest encoder input (cross-attention).
    """

    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    utilization: float = 0.9
    kv_bytes: int | None = None
    kv_dtype: str = "auto"
    block_size: int | None = None
    prefix_caching: bool = True
    eager: bool = False
    spec_tokens: int = 0
    own_draft: bool = True
    encoder_tokens: int | None = None
