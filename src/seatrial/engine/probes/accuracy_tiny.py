"""A tiny checkpoint on which faults show: `tiny_checkpoint`'s families (and qwen2) with weights of realistic spread.

Request: `{"family", "folder", "seed"}`; answer as `tiny_checkpoint`'s. `deepseek_v3_mtp` is `deepseek_v3` with a draft
layer behind the last one, as the published checkpoints have it. What is changed, and why a fault would hide
else: norm weights are uniform in 0.6 to 1.4 (at 1 a missing or exchanged norm changes nothing); embeddings have a
standard deviation of 0.05 as in trained models (at 1 an epsilon of 1e-5 is below every rounding); every projection, the
experts' three-dimensional ones too, 1.5 / sqrt(inputs) (at the initialiser's 0.02 a layer adds nothing to the residual
stream); places in a picture 0.3, beside patches of the same size (at 0.02 their order is nothing); biases 0.5 (at 0
dropping one changes nothing); routers 2 / sqrt(inputs), so that experts are told apart clearly.
"""

import importlib.util
import os
import sys


def sibling(name):
    """The helper `name.py` beside this file, loaded once."""
    full = "seatrial_probe_" + name
    if full not in sys.modules:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        spec = importlib.util.spec_from_file_location(full, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


def qwen2(ids, tokenizer):
    """Dense, with biases at queries, keys and values, without q and k norms. Four heads of 32: vLLM 0.32's CPU
    attention refuses 16.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM

    sizes = {**sibling("tiny_checkpoint")._text(ids), "hidden_size": 128, "intermediate_size": 256}
    return Qwen2Config(**sizes), Qwen2ForCausalLM, None


def probe(request, progress):
    tiny = sibling("tiny_checkpoint")
    tiny.FAMILIES["qwen2"] = qwen2
    drafted = request["family"].endswith("_mtp")
    answer = tiny.probe(dict(request, family=request["family"].removesuffix("_mtp")), progress)
    spread(request["folder"], request.get("seed", 0))
    if drafted:
        draft_layer(request["folder"])
    return answer


def draft_layer(folder):
    """One multi-token-prediction layer: the last layer's weights again, its own norms and projection, shared ends."""
    import json

    import torch
    from safetensors.torch import load_file, save_file

    place = os.path.join(folder, "config.json")
    with open(place) as stream:
        config = json.load(stream)
    layers = config["num_hidden_layers"]
    config["num_nextn_predict_layers"] = 1
    with open(place, "w") as stream:
        json.dump(config, stream, indent=2)
    file = os.path.join(folder, "model.safetensors")
    tensors = load_file(file)
    last, drafted = f"model.layers.{layers - 1}.", f"model.layers.{layers}."
    tensors.update({drafted + n[len(last) :]: t.clone() for n, t in tensors.items() if n.startswith(last)})
    width = config["hidden_size"]
    for name in ("enorm", "hnorm", "shared_head.norm"):
        tensors[drafted + name + ".weight"] = tensors["model.norm.weight"].clone()
    # The hidden state of the main model goes through, the next token's embedding beside it: some drafts are right.
    mix = torch.cat([0.5 * torch.eye(width), torch.eye(width)], dim=1)
    tensors[drafted + "eh_proj.weight"] = mix.to(tensors["model.norm.weight"].dtype)
    tensors[drafted + "embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors[drafted + "shared_head.head.weight"] = tensors["lm_head.weight"].clone()
    save_file(tensors, file, metadata={"format": "pt"})


def spread(folder, seed):
    """Rewrite the only shard."""
    import torch
    from safetensors.torch import load_file, save_file

    file = os.path.join(folder, "model.safetensors")
    tensors = load_file(file)
    source = torch.Generator().manual_seed(seed + 1)
    for name, tensor in tensors.items():
        if "patch_embedding" in name or "class_embedding" in name:
            continue
        fresh = value(name, tensor, source)
        if fresh is not None:
            tensors[name] = fresh.to(tensor.dtype).contiguous()
    save_file(tensors, file, metadata={"format": "pt"})


def value(name, tensor, source):
    """The new value of a tensor, None: it stays as it is (the output head, state-space constants)."""
    import torch

    def normal(deviation):
        return torch.randn(tensor.shape, generator=source) * deviation

    if "norm" in name and name.endswith("weight") and tensor.dim() == 1:
        # Norms of the form 1 + weight are near zero in the file.
        base = 1.0 if float(tensor.float().abs().mean()) > 0.5 else 0.0
        return torch.rand(tensor.shape, generator=source) * 0.8 - 0.4 + base
    if "position_embedding" in name:
        return normal(0.3)
    if "embed_tokens" in name:
        return normal(0.05)
    if name.endswith("e_score_correction_bias"):
        return normal(0.05)
    if name.endswith(".bias"):
        return normal(0.5)
    if name.endswith(("gate.weight", "router.weight")):
        return normal(2.0 * tensor.shape[-1] ** -0.5)
    if any(word in name for word in ("proj", "experts", ".fc1.", ".fc2.")) and tensor.dim() in (2, 3):
        return normal(1.5 * tensor.shape[-1] ** -0.5)
    return None
