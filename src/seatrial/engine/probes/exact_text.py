"""Make texts of exact lengths in tokens, by the model's own tokenizer.

Request: `{"folder": PATH, "lengths": [N, …], "seed": N}`. Answer: `{"texts": [...], "lengths": [...]}`; each, encoded
as a server encodes a completion's prompt (special tokens added), has exactly the length asked for. Raises ValueError
when a length cannot be met (shorter than the special tokens, or a tokenizer that will not settle).
"""

import random


def probe(request, progress):
    progress("loading the tokenizer")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(request["folder"], trust_remote_code=False)
    dice = random.Random(request["seed"])  # noqa: S311
    special = set(tokenizer.all_special_ids)
    ids = [i for i in range(len(tokenizer)) if i not in special]
    # Tokens that survive decoding and encoding alone are the likeliest to survive together.
    sample = dice.sample(ids, min(len(ids), 4000))
    words = [i for i in sample if tokenizer.encode(tokenizer.decode([i]), add_special_tokens=False) == [i]]
    if len(words) < 16:
        raise ValueError("the tokenizer has too few tokens that stand for themselves")
    texts = [_text(tokenizer, words, length, dice) for length in request["lengths"]]
    return {"texts": texts, "lengths": [len(tokenizer.encode(t)) for t in texts]}


def _text(tokenizer, words, length, dice):
    extra = len(tokenizer.encode(""))
    if length <= extra:
        raise ValueError(f"a prompt of {length} tokens leaves no room beside {extra} special tokens")
    pieces = [dice.choice(words) for _ in range(length - extra)]
    for _ in range(400):
        text = tokenizer.decode(pieces)
        there = len(tokenizer.encode(text))
        if there == length:
            return text
        if there > length:
            # Two tokens joined into more: take as many away, from the end.
            pieces = pieces[: max(1, len(pieces) - (there - length))]
        else:
            pieces += [dice.choice(words) for _ in range(length - there)]
    raise ValueError(f"no text of exactly {length} tokens was found")
