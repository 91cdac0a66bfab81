"""Throws mutated headers, indexes, configs and tokenizers at `read_checkpoint` and watches what it does.

Usage: python bench/fuzz_inspect.py [CASES=100000] [SEED=0]

For each case: no exception in reading or in writing the JSON, no file opened outside the checkpoint's folder (an audit
hook watches every open), and an ERROR finding whenever an independent, simple reader of the format calls the shard
invalid or the standard library cannot decode the config. At the end a set of bombs (huge or deeply nested files), each
with the peak memory of the whole run so far. Ends with 1 on the first violation and prints the case.
"""

from __future__ import annotations

import copy
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from seatrial.checkpoint import read_checkpoint
from seatrial.checkpoint.dtypes import BITS
from seatrial.core.finding import Severity
from seatrial.core.record import to_json

CONFIG = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 128, "vocab_size": 256,
    "max_position_embeddings": 4096, "rope_theta": 1e6, "rope_scaling": {"rope_type": "yarn", "factor": 2.0},
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "num_nextn_predict_layers": 1,
    "layer_types": ["full_attention", "sliding_attention"], "sliding_window": 128, "mlp_only_layers": [0],
    "hybrid_override_pattern": None, "compress_ratios": None, "block_configs": None, "kv_lora_rank": None,
    "auto_map": {"AutoModel": "modeling_x.X"}, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    "eos_token_id": [2, 3], "image_token_id": 7,
    "vision_config": {"hidden_size": 32, "num_hidden_layers": 2, "patch_size": 14, "intermediate_size": 64,
                      "num_heads": 2, "spatial_merge_size": 2},
    "text_config": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "linear_num_value_heads": 2,
                    "full_attention_interval": 2, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
                    "linear_value_head_dim": 8, "linear_conv_kernel_dim": 4},
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [64, 64], "modules_to_not_convert": ["lm_head"],
                            "config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": 4}}}},
}  # fmt: skip
TENSORS = {
    "model.embed_tokens.weight": ("BF16", [256, 64]),
    "model.layers.0.self_attn.q_proj.weight": ("F8_E4M3", [64, 64]),
    "model.layers.0.self_attn.q_proj.weight_scale_inv": ("F32", [1, 1]),
    "model.layers.0.mlp.experts.0.up_proj.weight": ("BF16", [32, 64]),
    "model.layers.0.mlp.experts.1.up_proj.weight": ("BF16", [32, 64]),
    "model.layers.1.mlp.experts.0.up_proj.weight": ("BF16", [32, 64]),
    "model.layers.2.enorm.weight": ("BF16", [64]),
    "lm_head.weight": ("BF16", [256, 64]),
}
NASTY = [
    -1, 0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 10**40, 1.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "../../etc/passwd", "/etc/passwd", "a\0b", "\ud800", "é" * 50, "x" * 5000, "[bold]", None, True, False, [], {},
    [[]], [None], [1, 2, 3], {"a": {"b": {}}}, ["full_attention"] * 5, ["mamba", "moe"], [2**70], "MEM*E|-", [-1, 1],
    "F8_E4M3", "I8", [1] * 200, [{}], [{"attention": {"n_heads_in_group": 0}, "ffn": {"ffn_mult": -1}}],
]  # fmt: skip
KEYS = [
    "hidden_size", "num_hidden_layers", "num_attention_heads", "layer_types", "text_config", "quantization_config",
    "compress_ratios", "hybrid_override_pattern", "block_configs", "kv_lora_rank", "qk_rope_head_dim", "v_head_dim",
    "attn_type_list", "moe_layer_freq", "first_k_dense_replace", "o_lora_rank", "o_groups", "index_topk",
    "attention_chunk_size", "no_rope_layers", "linear_attn_config", "rope_parameters", "thinker_config", "mtp_config",
    "moe_layers_enum", "interleave_moe_layer_step", "attn_layer_period", "expert_layer_period", "weird_config",
    "num_key_value_heads", "n_head_kv", "multi_query", "state_size", "expand", "hc_mult", "indexer_types",
    "quant_algo", "group_size", "kv_cache_scheme", "producer", "dtype", "shape", "data_offsets", "__metadata__",
]  # fmt: skip
KINDS = ["header json", "header bytes", "length", "size", "config json", "config bytes", "index", "tokenizer"]


def header() -> dict:
    rows, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape) in TENSORS.items():
        size = BITS[dtype] // 8
        for n in shape:
            size *= n
        rows[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return rows


DATA = max(e["data_offsets"][1] for n, e in header().items() if n != "__metadata__")


def mutate_value(chance: random.Random, document):
    """Change one thing somewhere in a JSON document, in place where it can."""
    spots = []

    def walk(value):
        if isinstance(value, dict):
            spots.extend((value, k) for k in value)
            for v in value.values():
                walk(v)
        elif isinstance(value, list):
            spots.extend((value, i) for i in range(len(value)))
            for v in value:
                walk(v)

    walk(document)
    kind = chance.random()
    if kind < 0.6 and spots:
        place, key = chance.choice(spots)
        place[key] = copy.deepcopy(chance.choice(NASTY))
    elif kind < 0.75 and spots:
        place, key = chance.choice(spots)
        del place[key]
    elif isinstance(document, dict):
        inner = [v for v, _ in spots if isinstance(v, dict)] or [document]
        chance.choice([document, *inner])[chance.choice(KEYS)] = copy.deepcopy(chance.choice(NASTY))
    return document


def mutate_bytes(chance: random.Random, raw: bytes) -> bytes:
    raw = bytearray(raw)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(raw) + 1)
        kind = chance.randrange(5)
        if kind == 0 and at < len(raw):
            raw[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            raw[at:at] = chance.choice([b'"', b"{", b"}", b"[", b",", b"\\", b"\xff", b"\0", b"9" * 30, b"\\u0022"])
        elif kind == 2:
            del raw[at : at + chance.randint(1, 40)]
        elif kind == 3:
            raw[at:at] = raw[at : at + chance.randint(1, 80)]
        elif at < len(raw):
            raw[at] = chance.randrange(256)
    return bytes(raw)


def either(chance: random.Random, document) -> bytes:
    """One change to the document, or a few to its bytes."""
    if chance.random() < 0.6:
        return dumps(mutate_value(chance, document))
    return mutate_bytes(chance, dumps(document))


def dumps(document) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


def valid(raw: bytes) -> bool:
    """An independent, plain reading of the safetensors format."""
    if len(raw) < 8:
        return False
    length = struct.unpack("<Q", raw[:8])[0]
    if length > len(raw) - 8 or length < 2:
        return False

    def once(pairs):
        if len({k for k, _ in pairs}) != len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        rows = json.loads(raw[8 : 8 + length].decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError):
        return False
    if not isinstance(rows, dict):
        return False
    spans = []
    for name, e in rows.items():
        if name == "__metadata__":
            if not isinstance(e, dict) or not all(isinstance(v, str) for v in e.values()):
                return False
            continue
        if not isinstance(e, dict) or not {"dtype", "shape", "data_offsets"} <= e.keys():
            return False
        numbers = [*e["shape"], *e["data_offsets"]] if isinstance(e["shape"], list) and isinstance(
            e["data_offsets"], list) else [None]  # fmt: skip
        if any(type(n) is not int or n < 0 or n >= 2**63 for n in numbers) or len(e["data_offsets"]) != 2:
            return False
        if not isinstance(e["dtype"], str) or e["dtype"] not in BITS:
            return False
        size = BITS[e["dtype"]]
        for n in e["shape"]:
            size *= n
        begin, end = e["data_offsets"]
        if (end - begin) * 8 != size:
            return False
        spans.append((begin, end))
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            return False
        at = end
    return at == len(raw) - 8 - length


def config_ok(raw: bytes) -> bool:
    try:
        return isinstance(json.loads(raw.decode("utf-8")), dict)
    except (ValueError, RecursionError):
        return False


class Guard:
    """Watches every open while it is armed."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder.resolve())
        self.armed = False
        self.outside: list[str] = []
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple) -> None:
        if self.armed and event == "open":
            path = os.path.realpath(os.fsdecode(arguments[0])) if isinstance(arguments[0], (str, bytes)) else ""
            if path and not path.startswith(self.folder):
                self.outside.append(path)


def peak_mb() -> float:
    """This process's own peak; ru_maxrss would be the parent's, which is passed on through exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def check(folder: Path, guard: Guard, what: str) -> Counter:
    guard.armed = True
    try:
        checkpoint = read_checkpoint(folder)
        to_json(checkpoint)
        checkpoint.card.line()
        found = checkpoint.card.findings
    finally:
        guard.armed = False
    if guard.outside:
        raise SystemExit(f"{what}: opened {guard.outside[:3]}")
    return Counter(f.code for f in found if f.severity is Severity.ERROR)


def one(chance: random.Random, folder: Path, guard: Guard) -> tuple[str, Counter]:
    """One case: a mutated file among good ones."""
    shard = struct.pack("<Q", len(dumps(header()))) + dumps(header()) + b"\0" * DATA
    config, index, tokens = dumps(CONFIG), None, None
    kind = chance.choice(KINDS)
    if kind == "header json":
        document = header()
        for _ in range(chance.randint(1, 3)):
            document = mutate_value(chance, document)
        raw = dumps(document)
        shard = struct.pack("<Q", len(raw)) + raw + b"\0" * DATA
    elif kind == "header bytes":
        raw = mutate_bytes(chance, dumps(header()))
        shard = struct.pack("<Q", len(raw)) + raw + b"\0" * DATA
    elif kind == "length":
        length = chance.choice([0, 1, 2, 2**63, 2**64 - 1, 100_000_001, chance.randrange(2**12)])
        shard = struct.pack("<Q", length) + shard[8:]
    elif kind == "size":
        shard = shard[: chance.randrange(len(shard))] if chance.random() < 0.7 else shard + bytes(chance.randint(1, 99))
    elif kind == "config json":
        document = json.loads(config)
        if chance.random() < 0.7:
            document.pop("text_config")
        for _ in range(chance.randint(1, 5)):
            document = mutate_value(chance, document)
        config = dumps(document)
    elif kind == "config bytes":
        config = mutate_bytes(chance, config)
    elif kind == "index":
        document = {"metadata": {"total_size": DATA}, "weight_map": dict.fromkeys(TENSORS, "model.safetensors")}
        index = (
            dumps(mutate_value(chance, document)) if chance.random() < 0.6 else mutate_bytes(chance, dumps(document))
        )
    else:
        document = {"added_tokens": [{"id": 1, "content": "x"}], "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}}}
        tokens = (
            dumps(mutate_value(chance, document)) if chance.random() < 0.6 else mutate_bytes(chance, dumps(document))
        )
    (folder / "config.json").write_bytes(config)
    (folder / "model.safetensors").write_bytes(shard)
    for name, content in (("model.safetensors.index.json", index), ("tokenizer.json", tokens)):
        if content is None:
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).write_bytes(content)
    codes = check(folder, guard, kind)
    # Only what is wrong with files counts here: the tensors of these checkpoints are few and contradict the config.
    files = {code for code in codes if code < "C047"}
    if index is None and not valid(shard) and not files:
        raise SystemExit(f"{kind}: an invalid shard without an error: {shard[:1500]!r}")
    if not config_ok(config) and not files:
        raise SystemExit(f"{kind}: an invalid config without an error: {config[:1500]!r}")
    return kind, codes


def listed(count: int, entry: bytes) -> bytes:
    """`count` keys, numbered, each with `entry`."""
    return b",".join(b'"%d":%s' % (i, entry) for i in range(count))


def bombs() -> Iterator[tuple[str, str, bytes]]:
    """Files made to take all memory or time: what, file, content. Made one at a time."""
    weights, config, index, tokens = (
        "model.safetensors", "config.json", "model.safetensors.index.json", "tokenizer.json")  # fmt: skip

    def shard(raw: bytes) -> bytes:
        return struct.pack("<Q", len(raw)) + raw

    yield "nested header", weights, shard(b'{"a":' * 200_000 + b"1" + b"}" * 200_000)
    yield "nested config", config, b"[" * 5_000_000
    yield "config of lists", config, b'{"a":[' + b"[]," * 10_000_000 + b"[]]}"
    yield "config of keys", config, b"{" + listed(3_000_000, b"0") + b"}"
    yield "config of small objects", config, b'{"a":[' + b'{"a":1},' * 600_000 + b"{}]}"
    yield "huge config", config, b" " * (70 << 20)
    yield "long digits", config, b'{"hidden_size":' + b"9" * 20_000_000 + b"}"
    yield "9999 layers", config, dumps({**CONFIG, "num_hidden_layers": 9999, "text_config": None})
    entry = b'{"dtype":"U8","shape":[],"data_offsets":[0,0]}'
    yield "header of 900,000 entries", weights, shard(b"{" + listed(900_000, entry) + b"}")
    yield "header of 380,000 entries", weights, shard(b"{" + listed(380_000, entry) + b"}")
    yield "header of 150,000 entries", weights, shard(b"{" + listed(150_000, entry) + b"}")
    yield "header of one shape", weights, shard(b'{"a":{"dtype":"U8","shape":[' + b"0," * 20_000_000 + b"0]}}")
    yield "header of a 2M shape", weights, shard(b'{"a":{"dtype":"U8","shape":[' + b"0," * 2_000_000 + b"0]}}")
    yield "header of lists", weights, shard(b'{"a":[' + b"[]," * 20_000_000 + b"[]]}")
    yield "header of escapes", weights, shard(b'{"__metadata__":{"a":"' + b'\\"' * 20_000_000 + b'"}}')
    yield "header of spaces", weights, shard(b"{" + b" " * 90_000_000 + b"}")
    yield "metadata of quotes", weights, shard(b'{"__metadata__":{' + b'"' * 30_000_000 + b"}}")
    yield "metadata of strings", weights, shard(b'{"__metadata__":{' + listed(900_000, b'"x"') + b"}}")
    yield "index of one shard", index, b'{"weight_map":{' + listed(2_000_000, b'"a"') + b"}}"
    yield "index of 700,000 names", index, b'{"weight_map":{' + listed(700_000, b'"a"') + b"}}"
    names = b",".join(b'"%d":"%d.safetensors"' % (i, i) for i in range(400_000))
    yield "index of shards", index, b'{"weight_map":{' + names + b"}}"
    yield "tokenizer of strings", tokens, b'{"model":{"vocab":{' + listed(1_900_000, b"1") + b"}}}"
    yield "tokenizer of objects", tokens, b'{"added_tokens":[' + b'{"id":1},' * 1_900_000 + b'{"id":1}],"model":{}}'
    yield "tokenizer of merges", tokens, b'{"model":{"vocab":{}, "merges":[' + b"[[]]," * 10_000_000 + b"[]]}}"


def drop(folder: Path) -> int:
    """Each bomb in a process of its own, whose peak memory is then its own."""
    worst = 0
    for name, file, content in bombs():
        for old in folder.iterdir():
            old.unlink()
        (folder / "config.json").write_bytes(dumps(CONFIG))
        (folder / file).write_bytes(content)
        size = len(content)
        del content
        done = subprocess.run([sys.executable, __file__, "--one", str(folder)], capture_output=True, text=True)
        print(f"  {name:26} {size / 2**20:5.0f} MiB  {done.stdout.strip() or done.stderr[-600:]}", flush=True)
        worst = max(worst, done.returncode)
    return worst


def alone(folder: Path) -> int:
    """One checkpoint; 1 where it takes more than 512 MB."""
    guard, began = Guard(folder), time.perf_counter()
    found = check(folder, guard, str(folder))
    print(f"{time.perf_counter() - began:6.2f} s  peak {peak_mb():4.0f} MB  errors {dict(found)}")
    return int(peak_mb() > 512)


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        guard = Guard(folder)
        start, kinds, wrong, codes = time.perf_counter(), Counter(), Counter(), Counter()
        for case in range(cases):
            chance = random.Random(f"{seed}/{case}")
            try:
                kind, found = one(chance, folder, guard)
            except BaseException:
                print(f"case {case} of seed {seed}")
                raise
            kinds[kind] += 1
            wrong[kind] += bool(found)
            codes.update(found.keys())
        took = time.perf_counter() - start
        print(f"{cases} cases in {took:.0f} s, no violation; peak memory {peak_mb():.0f} MB")
        for kind, number in sorted(kinds.items()):
            print(f"  {kind:14} {number:6} cases, {wrong[kind]:6} with an error finding")
        print("  error codes seen: " + ", ".join(f"{c} {n}" for c, n in sorted(codes.items())))
        worst = drop(folder)
    sys.exit(worst)


if __name__ == "__main__":
    sys.exit(alone(Path(sys.argv[2])) if sys.argv[1:2] == ["--one"] else main())
