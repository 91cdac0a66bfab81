"""The smaller side of a tensor: which size of config.json it is, or what product or sum of them.

In: a side, the tensor's name and shape, the sections in the order they are asked. Out: the smaller side, or None where
no size gives it. The forms are tried from the simplest on; the name decides between forms that give the same number:
what goes into attention's heads comes from products of heads, a router's rows are experts, an embedding's the
vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from seatrial.adapter.scaffold.roles import NamedTensor
from seatrial.adapter.scaffold.sizes import MAIN, Section

# A tower's section by the words of its tensors' names.
TOWERS = (("vi", r"vision|visual|vit\.|image"), ("au", r"audio|sound|speech|whisper"))
ATTENTION = re.compile(r"(^|\.)\w*(attn|attention|mixer|mamba|ssm)\.")
RECURRENT = re.compile(r"(^|\.)(linear_attn|mamba\d?|mixer|ssm|kda|gated_delta\w*)\.")
FUSED = re.compile(r"query_key_value|qkv|c_attn")
OUT = re.compile(r"\.(o_proj|out_proj|dense|wo|Wo|o|c_proj|proj)\.\w+$")
# Tensors with a side that a field gives which is no size: positions, queries, channels.
KEPT = re.compile(r"pos|query|conv|latent|token|patch")
# Of those, tensors with a row for each of such things: not their last side.
ROWS = re.compile(r"pos|query|latent|token")
# Between a tower and the language model: what goes in comes from the tower.
BETWEEN = re.compile(r"projector|merger|connector|aligner")
NORM = re.compile("norm")
FROM_TOWER = re.compile(r"norm|merg|linear_1|fc1|proj_in|mlp\.[01]\.")
# A router's rows are experts, and so is the first side of weights stacked over them.
EXPERTS_IN_ROWS = {False: r"\b(gate|router)\b|e_score|\bexperts\.\D", True: r"expert|moe"}
Pairs = list[tuple[int, int]]


def in_order(name: str, found: Sequence[Section]) -> list[Section]:
    """The sections, that of the tensor's own tower first, then the language model's."""
    words = next((start for start, rule in TOWERS if re.search(rule, name)), "")
    mine = [s for s in found if words and any(p.startswith(words) or f"_{words}" in p for p in s.path)]
    return [*mine, *(s for s in found if s not in mine)]


def smaller(side: int, tensor: NamedTensor, at: int, order: Sequence[Section]) -> int | None:
    """The smaller side; None where no size of the config gives it, or it is a convolution's kernel."""
    if side == 1 or (len(tensor.shape) > 3 and at > 1):
        return None
    first, rows = "", at == 0
    if rows and re.search(r"embed_tokens|lm_head|wte\b|word_embeddings|embed_out", tensor.name):
        first = "vocabulary"
    elif "e_score" in tensor.name or (rows and re.search(EXPERTS_IN_ROWS[len(tensor.shape) == 3], tensor.name)):
        first = "experts"
    recurrent = RECURRENT.search(tensor.name) is not None
    last = at == len(tensor.shape) - 1
    if not first and not last and ROWS.search(tensor.name) and any(side in s.others for s in order):
        return side
    entering = FROM_TOWER if len(tensor.shape) > 1 else NORM
    if BETWEEN.search(tensor.name) and ("merging" in tensor.name or (last and entering.search(tensor.name))):
        order = [*(s for s in order if _tower(s)), *(s for s in order if not _tower(s))]
    for section in order:
        if recurrent and (at or "norm" in tensor.name) and side in section.others:
            return side
        for form in _forms(_part(section, recurrent), first, tensor, at):
            for value, small in form:
                if value == side:
                    return small
    return None


def _tower(section: Section) -> bool:
    """Whether it is a tower's section, by its name in config.json."""
    return any(p.startswith(word) or f"_{word}" in p for p in section.path for word, _ in TOWERS)


def _part(section: Section, recurrent: bool) -> Section:
    """The sizes of a tensor's own sort of mixer. A model without plain attention has no prefix before its fields."""
    if recurrent and not any(size.field == "num_attention_heads" for size in section.sizes):
        return section
    return section.part(recurrent)


def _forms(section: Section, first: str, tensor: NamedTensor, at: int) -> Iterator[Pairs]:
    """Sizes and what is made of them, as (value, smaller), the simplest first; in attention, products of heads."""
    attention = ATTENTION.search(tensor.name) is not None
    yield _pairs(section, first)
    heads, dims, widths = _pairs(section, "heads"), _pairs(section, "head width"), _pairs(section, "width")
    special = _pairs(section, "special width")
    if not dims and not special:
        main = [(s.value, s.small) for s in section.of("width") if s.field in MAIN] or widths
        dims = [(w // h, v // g) for w, v in main[:1] for h, g in heads if w % h == 0 and v % g == 0][:1]
    dims += special
    products = [(h * d, g * e) for h, g in heads for d, e in dims]
    if attention and len(tensor.shape) == 1:
        yield [*dims, *heads] if "norm" in tensor.name else [*heads, *dims]
    outside = len(tensor.shape) > 1 and (at == 0) == (OUT.search(tensor.name) is not None)
    if attention and not outside:
        yield products
        yield [(k * v, k * s) for k in (2, 3) for v, s in products]
        if FUSED.search(tensor.name):
            # One head of keys and one of values beside all of the queries.
            yield [((h + 2) * d, (g + 2) * e) for h, g in heads for d, e in dims]
    yield [*widths, *_pairs(section, "vocabulary"), *([*dims, *heads] if attention else [])]
    if KEPT.search(tensor.name):
        yield [(n, n) for n in section.others]
    yield dims
    yield products
    sums = [(d + f, e + g) for d, e in dims for f, g in dims]
    yield sums
    yield [(h * d, g * e) for h, g in heads for d, e in sums]
    yield [(k * v, k * s) for k in (2, 3, 4) for v, s in (*widths, *products, *heads, *dims)]
    yield [(p + k * q, r + k * s) for k in (1, 2) for p, r in (*products, *widths) for q, s in products]
    yield [(2 * (p + q), 2 * (r + s)) for p, r in products for q, s in products]
    few = [n for n in section.others if n <= 64]
    yield [(v * n**e, s * n**e) for n in few for e in (1, 2) for v, s in (*widths, *products)]
    if RECURRENT.search(tensor.name):
        # Beside the inner width: states of all groups, twice; heads; a rank.
        mine = [n for n in section.others if n <= 1024]
        states = [2 * n * m for n in (1, *mine) for m in mine]
        inner = [*products, *((k * v, k * s) for k in (1, 2) for v, s in widths)]
        more = [(0, 0), *heads]
        yield [(k * v + n + h, k * s + n + g) for k in (1, 2) for v, s in inner for n in states for h, g in more]


def _pairs(section: Section, role: str) -> Pairs:
    return [(size.value, size.small) for size in section.of(role)]
