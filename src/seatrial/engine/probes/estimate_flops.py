"""FLOPs of a forward pass of transformers' model on the meta device, as torch's FlopCounterMode counts them.

Request: `{"folder", "batch", "new"}`. Answer: `{"total", "by_operation", "class", "versions", "notes"}`. Only the
language
model runs, eagerly: full (not causal) attention over all pairs, logits of every token. Experts run as batched
products of
the chosen ones, so that routing needs no values. No weights are read, nothing is written.
With `"image": [rows, columns]` (in patches) the image tower and its projector run instead, on the CPU with weights
that are
all zero: its positions need values.
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
    if getattr(config, "is_encoder_decoder", False):
        return heard(config, request, progress)
    if request.get("image"):
        return tower(config, request["image"], progress)
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


def heard(config, request, progress):
    """An encoder-decoder of audio: each clip through the encoder, the written tokens through the decoder."""
    import torch
    import transformers
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForSpeechSeq2Seq

    with torch.device("meta"):
        model = AutoModelForSpeechSeq2Seq.from_config(config, dtype=torch.bfloat16)
    model.eval()
    batch, new = request["batch"], request["new"]
    counter = FlopCounterMode(display=False)
    progress("counting")
    with torch.device("meta"), torch.no_grad(), counter:
        mel = torch.zeros((batch, config.num_mel_bins, 2 * config.max_source_positions), dtype=torch.bfloat16)
        ids = torch.zeros((batch, new), dtype=torch.long)
        mask = torch.zeros((batch, 1, new, new), dtype=torch.bfloat16)
        model(input_features=mel, decoder_input_ids=ids, decoder_attention_mask=mask, use_cache=False)
    return {
        "total": int(counter.get_total_flops()),
        "by_operation": {},
        "class": type(model).__name__,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "notes": ["encoder and decoder"],
    }


def tower(config, image, progress):
    """One image through transformers' own tower."""
    import torch
    import transformers
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModel

    high, wide = image
    vision = config.vision_config
    vision._attn_implementation = "eager"
    with torch.device("meta"):
        model = AutoModel.from_config(vision, dtype=torch.float32)
    model = model.to_empty(device="cpu")
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data.zero_()
    model.eval()
    width = 3 * vision.patch_size**2 * getattr(vision, "temporal_patch_size", 1)
    pixels = torch.zeros((high * wide, width))
    counter = FlopCounterMode(display=False)
    progress("counting")
    with torch.no_grad(), counter:
        if hasattr(vision, "pooling_kernel_size"):
            places = torch.stack(torch.meshgrid(torch.arange(wide), torch.arange(high), indexing="xy"), -1)
            out = model(pixel_values=pixels[None], pixel_position_ids=places.reshape(1, -1, 2)).last_hidden_state
            torch.nn.Linear(vision.hidden_size, config.get_text_config().hidden_size, bias=False)(out)
        else:
            model(pixels, grid_thw=torch.tensor([[1, high, wide]]))
    return {
        "total": int(counter.get_total_flops()),
        "by_operation": {},
        "class": type(model).__name__,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "notes": ["the image tower only"],
    }


def masks(config, mask):
    """A mask made beforehand: the library's own builder looks at values, which meta tensors do not have."""
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds & {"sliding_attention", "chunked_attention"}:
        return dict.fromkeys(kinds, mask)
    return mask
