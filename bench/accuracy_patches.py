"""Faults put into the engine's loaded modules for accuracy_faults.py: sources of `patch(model)`, each undoes itself."""

from __future__ import annotations

from typing import Any

# Every source defines `changes(model)`, which makes one change after another and yields what undoes each. HEAD makes a
# `patch(model)` of it. Engines differ in how deep the modules lie: they are found by suffix.
HEAD = """
import torch
def named(model, tail):
    return [m for n, m in model.named_modules() if n.endswith(tail) and "vision" not in n]
def rotations(model):
    found = {id(m): m for m in named(model, "rotary_emb")}.values()  # one instance may serve all layers
    return [m for m in found if hasattr(m, "cos_sin_cache")]
def put(owner, name, value):
    old = getattr(owner, name)
    setattr(owner, name, value)
    return lambda: setattr(owner, name, old)
def patch(model):
    done = list(changes(model))
    assert done
    return lambda: [undo() for undo in done]
"""
ROPE_STYLE = """
def changes(model):
    for m in rotations(model):
        for one in (m, getattr(m, "apply_rotary_emb", None)):
            if one is not None:
                yield put(one, "is_neox_style", not one.is_neox_style)
"""
ROPE_CACHE = """
def changes(model):
    for m in rotations(model):
        yield put(m, "cos_sin_cache", CHANGE(m.cos_sin_cache))
"""
SHIFT_QUERIES = """
def changes(model):
    for m in rotations(model):
        def forward(positions, query, key=None, *a, old=m.forward, **k):
            q, _ = old(positions + 1, query.clone(), None if key is None else key.clone(), *a, **k)
            _, k2 = old(positions, query.clone(), key, *a, **k)
            return q, k2
        yield put(m, "forward", forward)
"""
DECODE_POSITION = """
def changes(model):
    for m in rotations(model):
        def forward(positions, *a, old=m.forward, **k):
            return old(positions + 1 if positions.numel() <= 4 else positions, *a, **k)
        yield put(m, "forward", forward)
"""
EPSILON = """
def changes(model):
    for m in named(model, "TAIL"):
        yield put(m, "variance_epsilon", VALUE)
"""
ATTENTION_SCALE = """
def changes(model):
    for impl in (getattr(m, "impl", None) for m in model.modules()):
        if hasattr(impl, "scale"):
            yield put(impl, "scale", impl.scale * FACTOR)
"""
INPUT = """
def changes(model):
    for m in named(model, "TAIL"):
        yield m.register_forward_pre_hook(lambda mod, args: (CHANGE(args[0]), *args[1:]), prepend=True).remove
"""
OUTPUT = """
def changes(model):
    def change(mod, args, out):
        return (CHANGE(out[0]), *out[1:]) if isinstance(out, tuple) else CHANGE(out)
    for m in named(model, "TAIL"):
        yield m.register_forward_hook(change, prepend=True).remove
"""
# What lies between the logits and the token: `CHANGE(l, taken)` of the logits, `AFTER(t)` of the tokens. `taken` are
# the tokens chosen so far in this process, as a penalty keeps them that was meant for another request.
SAMPLER = """
import torch
from vllm.v1.sample.sampler import Sampler
def changes(model):
    taken = []
    def sample(self, logits, metadata, *a, old=Sampler.sample, **k):
        seen = torch.tensor(sorted(set(taken)), dtype=torch.long, device=logits.device)
        tokens, told = old(self, CHANGE(logits.clone(), seen), metadata, *a, **k)
        tokens = AFTER(tokens, logits.shape[-1])
        taken.extend(tokens.view(-1).tolist())
        return tokens, told
    yield put(Sampler, "sample", sample)
"""


def patch(source: str, **words: Any) -> str:
    for word, value in words.items():
        source = source.replace(word, str(value))
    return HEAD + source


def head_order(width: int, heads: int, order: list[int]) -> str:
    return f"(lambda x: x.reshape(*x.shape[:-1], {heads}, {width})[..., {order}, :].reshape(x.shape))"
