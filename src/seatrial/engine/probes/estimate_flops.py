"""FLOPs of a forward pass of transformers' model on the meta device, as torch's FlopCounterMode counts them.

Request: `{"folder", "batch", "new"}`. Answer: `{"total", "by_operation", "class", "versions", "notes"}`. Only the
language
model runs, eagerly: full (not causal) attention over all pairs, logits of every token. Experts run as batched
products of
the chosen ones, so that routing needs no values. No weights are read, nothing is written.
"""

import os


def probe(request, progress):
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    progress("importing transformers")
    import torch
    import transformers
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(request["folder"])
    notes = []
    text = config.get_text_config()
    if text is not config:
        notes.append("the language model's section only")
    for place in (config, text):
        place._attn_implementation = "eager"
        place._experts_implementation = "batched_mm"
        if hasattr(place, "quantization_config"):
            del place.quantization_config
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(text, dtype=torch.bfloat16)
    model.eval()
    batch, new = request["batch"], request["new"]
    progress("counting")
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        ids = torch.zeros((batch, new), dtype=torch.long)
        mask = torch.zeros((batch, 1, new, new), dtype=torch.bfloat16)
        given = {"input_ids": ids, "use_cache": False, "attention_mask": masks(text, mask)}
        model(**given)
    operations = {}
    for name, count in counter.get_flop_counts().get("Global", {}).items():
        operations[str(name)] = operations.get(str(name), 0) + int(count)
    return {
        "total": int(counter.get_total_flops()),
        "by_operation": operations,
        "class": type(model).__name__,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "notes": notes,
    }


def masks(config, mask):
    """A mask made beforehand: the library's own builder looks at values, which meta tensors do not have."""
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds & {"sliding_attention", "chunked_attention"}:
        return dict.fromkeys(kinds, mask)
    return mask
