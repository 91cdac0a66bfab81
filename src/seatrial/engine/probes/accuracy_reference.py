"""The reference: the checkpoint in HF Transformers on the CPU scores sequences that the engine produced.

Request: `{"checkpoint", "dtypes": [...], "rows": [{"prompt_ids", "tokens", "ids": [[token ids] per position], "text",
"image", "chat"}], "keep"}`. `chat`: the text is a user's message beside the picture. One forward pass per sequence and
dtype: position p (from 1) is what the model says of token p given those before it, so the engine's own sequence is
judged and no generation is needed.
Answer: `{"dtypes": {dtype: [{"at": [[log-probability of the asked ids]], "best": [id], "best_logprob": [...]}]},
"prompt_ids": [[the reference's own tokens of the text]], "class", "transformers", "modules"}`.
"""

import base64
import gc
import io
import sys

STASH = "seatrial_probe_accuracy_reference_stash"


def probe(request, progress):
    progress("importing transformers")
    import torch
    import transformers

    answer = {"dtypes": {}, "class": "", "transformers": transformers.__version__, "prompt_ids": [], "modules": []}
    prepare, answer["prompt_ids"] = _inputs(request)
    for dtype in request["dtypes"]:
        progress("the reference in " + dtype)
        model = load(request["checkpoint"], getattr(torch, dtype), keep=request.get("keep", False))
        answer["class"] = type(model).__name__
        with torch.inference_mode():
            answer["dtypes"][dtype] = [
                _score(model, row, prepare(row, getattr(torch, dtype))) for row in request["rows"]
            ]
        del model
        gc.collect()
    return answer


def load(folder, dtype, keep=False):
    """The checkpoint's own class, in evaluation mode; raises what it raises. `keep`: for the next call too."""
    import torch
    import transformers

    kept = sys.modules.setdefault(STASH, type(sys)(STASH)).__dict__.setdefault("models", {})
    if (folder, dtype) in kept:
        return kept[folder, dtype]
    if not keep:
        kept.clear()
    config = transformers.AutoConfig.from_pretrained(folder)
    auto = transformers.AutoModelForCausalLM
    if getattr(config, "vision_config", None) is not None:
        auto = transformers.AutoModelForImageTextToText
    try:
        model = auto.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
    except ValueError as exc:
        if "attention implementation" not in str(exc):
            raise
        model = auto.from_pretrained(folder, dtype=dtype, attn_implementation="eager")  # gpt-oss: sinks
    model.eval()
    if dtype is torch.float64 and hasattr(model, "set_experts_implementation"):
        # The grouped matrix product of experts knows no float64.
        model.set_experts_implementation("eager")
    if keep:
        kept[folder, dtype] = model
    return model


def _inputs(request):
    """A function from a row and a dtype to the model's arguments, and the reference's own tokens of every text."""
    import torch
    import transformers

    images = any(row["image"] for row in request["rows"])
    if images:
        processor = transformers.AutoProcessor.from_pretrained(request["checkpoint"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(request["checkpoint"])
    own, pixels = [], {}
    for number, row in enumerate(request["rows"]):
        if row["image"]:
            from PIL import Image

            image = Image.open(io.BytesIO(base64.b64decode(row["image"]))).convert("RGB")
            text = row["text"]
            if row.get("chat"):
                parts = [{"type": "image"}, {"type": "text", "text": text}]
                message = {"role": "user", "content": parts}
                text = processor.apply_chat_template([message], add_generation_prompt=True, tokenize=False)
            made = processor(text=text, images=image, return_tensors="pt")
            own.append([int(t) for t in made["input_ids"][0]])
            pixels[number] = {k: v for k, v in made.items() if k not in ("input_ids", "attention_mask")}
        else:
            own.append([int(t) for t in tokenizer(row["text"])["input_ids"]])
    numbers = {id(row): number for number, row in enumerate(request["rows"])}

    def prepare(row, dtype):
        more = pixels.get(numbers[id(row)], {})
        more = {k: v.to(dtype) if v.is_floating_point() else v for k, v in more.items()}
        ids = torch.tensor([row["prompt_ids"] + row["tokens"]])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False, **more}

    return prepare, own


def _score(model, row, inputs):
    import torch

    logits = model(**inputs).logits[0].to(torch.float64 if model.dtype == torch.float64 else torch.float32)
    spoken = torch.log_softmax(logits, dim=-1)
    at, best, best_logprob = [], [], []
    for place, ids in enumerate(row["ids"]):
        # The row before a token says what is expected of it; nothing is said of the first.
        told = spoken[place - 1] if place else None
        at.append([] if told is None else [float(told[i]) for i in ids])
        top = None if told is None else int(told.argmax())
        best.append(top)
        best_logprob.append(None if told is None else float(told[top]))
    return {"at": at, "best": best, "best_logprob": best_logprob}
