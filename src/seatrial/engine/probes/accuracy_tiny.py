"""A tiny checkpoint on which faults show: families of `tiny_checkpoint`, `accuracy_families`; weights of real spread.

Request: `{"family", "folder", "seed"}`; answer as `tiny_checkpoint`'s. `deepseek_v3_mtp` is `deepseek_v3` with a draft
layer behind the last one, as the published checkpoints have it. What is changed, and why a fault would hide
else: norm weights are uniform in 0.6 to 1.4 (at 1 a missing or exchanged norm changes nothing); embeddings have a
standard deviation of 0.05 as in trained models (at 1 an epsilon of 1e-5 is below every rounding); every projection, the
experts' three-dimensional ones too, 1.5 / sqrt(inputs) (at the initialiser's 0.02 a layer adds nothing to the residual
stream); places in a picture 0.3, beside patches of the same size (at 0.02 their order is nothing); biases 0.5 (at 0
dropping one changes nothing); routers 2 / sqrt(inputs), so that experts are told apart clearly.
"""

import os

PROJECTIONS = ("proj", "experts", ".fc1.", ".fc2.", "query_key_value", "dense", "c_attn", "c_fc")


def probe(request, progress):
    from seatrial_probes import accuracy_families
    from seatrial_probes import tiny_checkpoint as tiny

    tiny.FAMILIES.update(accuracy_families.FAMILIES)
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
    if any(word in name for word in ("embed_tokens", "embed_in", "wte", "wpe")):
        return normal(0.05)
    if name.endswith("e_score_correction_bias"):
        return normal(0.05)
    if name.endswith((".bias", "proj_bias", ".sinks")):
        return normal(0.5)
    if name.endswith(("gate.weight", "router.weight")):
        return normal(2.0 * tensor.shape[-1] ** -0.5)
    if any(word in name for word in PROJECTIONS) and tensor.dim() in (2, 3):
        return normal(1.5 * tensor.shape[-1] ** -0.5)
    return None
