"""Hooks on every module of a model: statistics and a few rows of each output, written as they come; used by both sides.

`begin(model, folder)` puts hooks on, `end(model)` takes them off and returns one record per output, in the order in
which the calls ended: `{"key", "module", "class", "tokens", "width", "step", "rows", "mean", "rms",
"largest", "bad", "parts", "file"}`.
`step` counts forward passes (0: prefill), `rows` are token numbers over all of them.
`file` holds the chosen rows as little-endian float32, `rows` says which tokens they are. At most ROWS tokens and WIDTH
features of an output are written and nothing is kept in memory, so a model of a hundred layers costs disk, not memory.
A fused projection says its `parts` (name and width, of this rank), where the model's own `packed_modules_mapping` and
the layer's own `output_sizes` tell them. Keys are made alike on both sides: see `key_of`.
"""

import os
import re
import sys

ROWS = 48
WIDTH = 65536
STASH = "seatrial_probe_accuracy_hooks"
LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)(?:\.(.*))?$")
# The input of these is the output of something without a module of its own (the attention's core, the activation).
INPUTS = ("o_proj", "out_proj", "down_proj", "dense", "wo", "fc2")


def key_of(name):
    """`language_model.model.layers.0.mlp` -> `layers.0.mlp`; a tower keeps its mark; outside layers the last word."""
    tower = "vision." if "vision" in name or "visual" in name else ""
    if "projector" in name:
        return "projector." + name.rsplit(".", 1)[-1]
    found = LAYER.search(name)
    if found:
        return tower + "layers." + found[1] + ("." + found[2] if found[2] else "")
    return tower + name.rsplit(".", 1)[-1]


def apart(name):
    """Is it part of a tower or its projector, whose rows are no tokens of the text?"""
    return key_of(name).startswith(("vision.", "projector."))


class Watch:
    """The hooks' common state; `stack` are the names of the calls under way."""

    def __init__(self, model, folder, rows=None):
        """`rows`: these tokens and no others (the reference takes what the engine gave)."""
        self.folder, self.records, self.stack, self.handles = folder, [], [], []
        self.rows, self.step, self.offset, self.tokens, self.first = rows, -1, 0, 0, ""
        os.makedirs(folder, exist_ok=True)
        self.parts = {}
        for module in model.modules():
            packed = getattr(module, "packed_modules_mapping", None)
            if isinstance(packed, dict):
                self.parts.update({k: list(v) for k, v in packed.items()})
        for name, module in model.named_modules():
            if name:
                self.handles.append(module.register_forward_pre_hook(self._enter(name), with_kwargs=True))
                self.handles.append(module.register_forward_hook(self._leave(name), with_kwargs=True, always_call=True))

    def _enter(self, name):
        leaf = name.rsplit(".", 1)[-1]

        def hook(module, args, kwargs):
            self.stack.append(name)
            if leaf in INPUTS and args and hasattr(args[0], "dim"):
                self.write(name, module, args[0], suffix="@in")

        return hook

    def _leave(self, name):
        leaf = name.rsplit(".", 1)[-1]

        def hook(module, args, kwargs, output):
            if self.stack and self.stack[-1] == name:
                self.stack.pop()
            if leaf == "rotary_emb":
                # One instance serves all layers: it is named after its caller. (In Transformers it gives cos and sin.)
                if self.stack and isinstance(output, tuple) and "layers" in self.stack[-1]:
                    self.rope(self.stack[-1], output)
                return
            self._output(name, leaf, module, output)

        return hook

    def _output(self, name, leaf, module, output):
        first = output
        if isinstance(output, (tuple, list)) and output:
            first = output[0]
            second = output[1] if len(output) > 1 else None
            block = LAYER.search(name)
            if block and not block[2] and hasattr(second, "shape") and second.shape == first.shape:
                first = first + second  # the engine hands the residual on beside the hidden states
        if hasattr(output, "logits"):
            return
        if not hasattr(first, "dim") or not first.is_floating_point():
            return
        sizes = list(getattr(module, "output_sizes", None) or ())
        names = self.parts.get(leaf)
        width = first.shape[-1]
        parts = []
        if names and len(names) == len(sizes) and sum(sizes) and width * (sum(sizes) // width) == sum(sizes):
            share = sum(sizes) // width  # more than one: a rank holds its share of every part
            parts = [[part, size // share] for part, size in zip(names, sizes, strict=True)]
        self.write(name, module, first, parts=parts)

    def rope(self, caller, output, by_head=False):
        """Rotated queries and keys, `by_head`: [batch, heads, tokens, width]."""
        for letter, tensor in zip("qk", output[:2], strict=False):
            if hasattr(tensor, "dim"):
                moved = tensor.transpose(1, 2) if by_head and tensor.dim() == 4 else tensor
                self.write(caller, None, moved, suffix="#rope_" + letter)

    def write(self, name, module, tensor, suffix="", parts=()):
        import torch

        with torch.no_grad():
            flat = tensor.detach()
            if name == self.first or (not self.first and not apart(name)):
                # What was called first, the embedding, begins every forward pass: prefill, then one decode step.
                self.first = name
                self.step, self.offset = self.step + 1, self.offset + self.tokens
                self.tokens = flat.numel() // flat.shape[-1]
            tokens = self.tokens
            count = flat.numel() // flat.shape[-1]
            # A row for every token, or several (heads); fewer are the last tokens' (the logits), however wide they are.
            if flat.numel() and not apart(name) and flat.numel() % tokens == 0 and (count >= tokens or flat.dim() < 2):
                count = tokens
            flat = flat.reshape(count, -1)
            # A tower's rows are patches, counted by themselves and the same on both sides whatever is called first.
            at = 0 if apart(name) else self.offset + max(0, tokens - count)
            rows = spread(count) if apart(name) or self.rows is None or count < tokens else self.rows
            slice_ = flat[rows, :WIDTH].to("cpu", torch.float32).contiguous()
            whole = flat.to(torch.float32)
            finite = torch.isfinite(whole)
            number = len(self.records)
            file = os.path.join(self.folder, f"{number:05d}.f32")
            slice_.numpy().tofile(file)
            kind = type(module).__name__ if module is not None else "rope"
            self.records.append(
                {
                    "key": key_of(name) + suffix,
                    "module": name,
                    "class": kind,
                    "tokens": count,
                    "width": int(flat.shape[1]),
                    "step": max(0, self.step),
                    "rows": [at + r for r in rows],
                    "mean": float(whole[finite].mean()) if bool(finite.any()) else 0.0,
                    "rms": float(whole[finite].square().mean().sqrt()) if bool(finite.any()) else 0.0,
                    "largest": float(whole[finite].abs().max()) if bool(finite.any()) else 0.0,
                    "bad": int((~finite).sum()),
                    "parts": list(parts),
                    "file": file,
                }
            )


def spread(count):
    """At most ROWS token numbers, the first and the last among them."""
    if count <= ROWS:
        return list(range(count))
    return sorted({round(i * (count - 1) / (ROWS - 1)) for i in range(ROWS)})


def begin(model, folder):
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        folder = os.path.join(folder, f"rank{torch.distributed.get_rank()}")
    stash = type(sys)(STASH)
    stash.watch = Watch(model, folder)
    sys.modules[STASH] = stash


def end(model):
    watch = sys.modules.pop(STASH).watch
    for handle in watch.handles:
        handle.remove()
    return watch.records
