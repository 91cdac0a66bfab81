"""The prompts of parity and locate: plain texts of several kinds and lengths, our own words, the same every time.

`chosen` gives the first ones for a seed: short and long ones alternate, so that few prompts still cross the border of a
KV cache block (16 to 128 tokens) and of a chunk.
"""

from __future__ import annotations

import random

TEXTS = (
    "The quick brown boat leaves the harbour at seven and",
    "What is the capital of France? The capital of France is",
    "Count from one to ten: one, two, three,",
    "def depth(tide, chart):\n    return",
    '{"name": "harbour", "depth": 12.5, "open": true, "berths": [1, 2,',
    "Eine Probefahrt ist die letzte Prüfung eines neuen Schiffes, denn",
    "试航是新船交付之前的最后一次检验。每一个数字都要",
    "A train leaves at 9:40 and takes 75 minutes. It arrives at",
)
SENTENCES = (
    "The yard brings the ship out of the harbour.",
    "Her engines run up to full power and every figure is written down.",
    "Nobody takes the word of the builder for it.",
    "Wind from the north, five knots, sea calm.",
    "At noon the captain orders hard to port.",
    "The circle she turns in measures 412 metres.",
    "Fuel, noise and vibration are within the contract.",
    "One gauge in the engine room shows nothing at all.",
)
# With a picture; the placeholder is LLaVA's, the family's own template is the reader's business.
IMAGE = "<image>\nWhat is in this picture?"


def chosen(count: int, seed: int = 0) -> tuple[str, ...]:
    """`count` prompts; another seed gives other long ones and another order of the short ones."""
    pick = random.Random(seed)  # noqa: S311 - repeatable, nothing secret
    short = list(TEXTS)
    if seed:
        pick.shuffle(short)
    made = []
    for number in range(count):
        if number % 2:
            long = [pick.choice(SENTENCES) for _ in range(3 + 2 * (number // 2))]
            made.append(" ".join(long))
        else:
            text = short[(number // 2) % len(short)]
            again = number // 2 // len(short)
            made.append(text if not again else f"{again}. {text}")
    return tuple(made)


def watched(seed: int = 0) -> str:
    """The prompt of `locate`: two sentences, so that its 20 odd tokens are kept whole and reach most experts."""
    return " ".join(random.Random(seed).sample(SENTENCES, 2))  # noqa: S311 - repeatable, nothing secret
