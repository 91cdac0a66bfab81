"""The engine's own answer (probe `kv_spec`) in the estimate's records: exact for any model that the engine can build.

In: the probe's reply for each pipeline stage. Out: `WeightBytes` and `KvCache` that take the place of the formulas'.
"""

from __future__ import annotations

from typing import Any

from seatrial.core.errors import EngineError
from seatrial.core.record import Record
from seatrial.estimate.kv_specs import CacheSpec, Kind, KvCache
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.weights import StageWeights, WeightBytes

KINDS: dict[str, Kind] = {
    "FullAttentionSpec": "full",
    "SinkFullAttentionSpec": "full",
    "MLAAttentionSpec": "mla",
    "SlidingWindowSpec": "window",
    "SlidingWindowMLASpec": "window-mla",
    "ChunkedLocalAttentionSpec": "chunk",
    "MambaSpec": "state",
    "CrossAttentionSpec": "cross",
    "CircularBufferSpec": "ring",
}


class EngineAnswer(Record):
    """`placeholders` are what the engine could not do on this machine and what stood in for it."""

    weights: WeightBytes
    cache: KvCache
    placeholders: tuple[str, ...]


def request(folder: str, layout: Layout, serving: Serving) -> dict[str, Any]:
    """The probe's request: the first rank of every stage."""
    arguments: dict[str, Any] = {"enable_prefix_caching": serving.prefix_caching}
    if serving.max_model_len:
        arguments["max_model_len"] = serving.max_model_len
    if serving.kv_dtype != "auto":
        arguments["kv_cache_dtype"] = serving.kv_dtype
    if serving.block_size:
        arguments["block_size"] = serving.block_size
    stages = [{"tp": layout.tp, "pp": layout.pp, "rank": i * layout.tp, "ep": layout.ep} for i in range(layout.pp)]
    return {"folder": folder, "layouts": stages, "memory": [], "engine_args": arguments, "kv": True}


def read_answer(reply: dict[str, Any]) -> EngineAnswer:
    """Raises EngineError where the engine could not build the model or answer its cache."""
    stages: list[StageWeights] = []
    specs: list[CacheSpec] = []
    told: dict[str, None] = {}
    block, aligned, dtype = 0, False, "auto"
    for number, row in enumerate(reply["layouts"]):
        trouble = row.get("error") or row.get("kv_error")
        if trouble:
            raise EngineError(
                f"the engine could not answer ({trouble['stage']}): {trouble['type']}: {trouble['message']}"
            )
        total = sum(p[3] for p in row["parameters"])
        stages.append(StageWeights(stage=number, layers=len(row["kv"]["layers"]), parts={"all": total}))
        told.update(dict.fromkeys(f"{k}: {v}" for k, v in row["placeholders"].items()))
        block, dtype = row["kv"]["block_size"], row["kv"]["cache_dtype"]
        aligned = row["kv"]["mamba_cache_mode"] == "align"
        step = row["kv"].get("max_num_batched_tokens")
        specs += [_spec(name, spec, aligned, step) for name, spec in row["kv"]["layers"].items()]
    engine = reply["engine"]
    note = f"weights and cache as vLLM {engine['vllm']} itself builds them on {reply['platform']['device_type']}"
    return EngineAnswer(
        weights=WeightBytes(stages=tuple(stages), notes=(note,)),
        cache=KvCache(specs=tuple(specs), block=block, state_aligned=aligned, dtype=dtype),
        placeholders=tuple(told),
    )


def _spec(name: str, spec: dict[str, Any], aligned: bool, step: int | None) -> CacheSpec:
    kind = KINDS.get(spec["kind"])
    if kind is None:
        raise EngineError(f"the engine's cache spec {spec['kind']} of {name} is of a kind that the plan does not know")
    number = next((int(p) for p in name.split(".") if p.isdigit()), 0)
    sizes = " ".join(
        str(spec.get(k, "")) for k in ("num_kv_heads", "head_size", "head_size_v", "dtype", "tokens_per_state")
    )
    role = "state" if kind == "state" else "indexer" if "index" in name else "attention"
    window, chunk = spec.get("sliding_window"), spec.get("attention_chunk_size")
    merge = (
        f"state {spec['page_bytes']}"
        if kind == "state"
        else f"{kind} {window or ''}{chunk or ''} {spec['block_size']} {sizes} {role}"
    )
    states = (3 if len(spec.get("shapes", ())) == 2 and ".mixer" in name else 2) if aligned else 1
    return CacheSpec(
        layer=number, role=role, kind=kind, block=spec["block_size"], page=spec["page_bytes"],
        content=spec["page_bytes"], merge=merge, formula=f"the engine's {spec['kind']}: {spec['page_bytes']}",
        window=window, chunk=chunk, states=states, encoder=step if kind == "cross" else None,
    )  # fmt: skip
