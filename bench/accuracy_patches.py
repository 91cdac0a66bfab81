"""Faults put into the engine's loaded modules for accuracy_faults.py: sources of `patch(model)`, each undoes itself."""

from __future__ import annotations

from typing import Any

# Patches: source of `patch(model)`; what it returns undoes it. Engines differ in how deep the modules lie: by suffix.
HEAD = """
def named(model, tail):
    return [m for n, m in model.named_modules() if n.endswith(tail) and "vision" not in n]
def undoing(steps):
    def undo():
        for s in steps: s()
    return undo
"""
ROPE_STYLE = """
def patch(model):
    done = []
    for m in {id(m): m for m in named(model, "rotary_emb")}.values():
        if hasattr(m, "is_neox_style"):
            m.is_neox_style = not m.is_neox_style
            inner = getattr(m, "apply_rotary_emb", None)
            if inner is not None: inner.is_neox_style = not inner.is_neox_style
            def back(m=m, inner=inner):
                m.is_neox_style = not m.is_neox_style
                if inner is not None: inner.is_neox_style = not inner.is_neox_style
            done.append(back)
    assert done
    return undoing(done)
"""
ROPE_CACHE = """
import torch
def patch(model):
    done = []
    for m in {id(m): m for m in named(model, "rotary_emb")}.values():
        if hasattr(m, "cos_sin_cache"):
            old = m.cos_sin_cache
            m.cos_sin_cache = CHANGE(old)
            done.append(lambda m=m, old=old: setattr(m, "cos_sin_cache", old))
    assert done
    return undoing(done)
"""
SHIFT_QUERIES = """
def patch(model):
    done = []
    for m in named(model, "LAYER.self_attn.o_proj"):
        pass
    for m in {id(m): m for m in named(model, "rotary_emb")}.values():
        if not hasattr(m, "cos_sin_cache"): continue
        old = m.forward
        def forward(positions, query, key=None, *a, old=old, **k):
            q, _ = old(positions + 1, query.clone(), None if key is None else key.clone(), *a, **k)
            _, k2 = old(positions, query.clone(), key, *a, **k)
            return q, k2
        m.forward = forward
        done.append(lambda m=m: m.__dict__.pop("forward"))
    assert done
    return undoing(done)
"""
DECODE_POSITION = """
def patch(model):
    done = []
    for m in {id(m): m for m in named(model, "rotary_emb")}.values():
        if not hasattr(m, "cos_sin_cache"): continue
        old = m.forward
        def forward(positions, *a, old=old, **k):
            return old(positions + 1 if positions.numel() <= 4 else positions, *a, **k)
        m.forward = forward
        done.append(lambda m=m: m.__dict__.pop("forward"))
    assert done
    return undoing(done)
"""
EPSILON = """
def patch(model):
    done = []
    for m in named(model, "TAIL"):
        old = m.variance_epsilon
        m.variance_epsilon = VALUE
        done.append(lambda m=m, old=old: setattr(m, "variance_epsilon", old))
    assert done
    return undoing(done)
"""
ATTENTION_SCALE = """
def patch(model):
    done = []
    for m in model.modules():
        impl = getattr(m, "impl", None)
        if impl is not None and hasattr(impl, "scale"):
            old = impl.scale
            impl.scale = old * FACTOR
            done.append(lambda impl=impl, old=old: setattr(impl, "scale", old))
    assert done
    return undoing(done)
"""
INPUT = """
import torch
def patch(model):
    done = []
    for m in named(model, "TAIL"):
        h = m.register_forward_pre_hook(lambda mod, args: (CHANGE(args[0]), *args[1:]), prepend=True)
        done.append(h.remove)
    assert done
    return undoing(done)
"""
OUTPUT = """
import torch
def patch(model):
    done = []
    def change(mod, args, out):
        return (CHANGE(out[0]), *out[1:]) if isinstance(out, tuple) else CHANGE(out)
    for m in named(model, "TAIL"):
        h = m.register_forward_hook(change, prepend=True)
        done.append(h.remove)
    assert done
    return undoing(done)
"""


def patch(source: str, **words: Any) -> str:
    for word, value in words.items():
        source = source.replace(word, str(value))
    return HEAD + source


def head_order(width: int, heads: int, order: list[int]) -> str:
    return f"(lambda x: x.reshape(*x.shape[:-1], {heads}, {width})[..., {order}, :].reshape(x.shape))"
