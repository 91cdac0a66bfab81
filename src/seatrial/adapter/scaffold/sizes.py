"""Smaller sizes for a config.json of any layout, such that what is a product or a sum of them stays one.

In: the config. Out: `Section`s: each whole-number field that is a size, with its value and its smaller one. Heads are
divided by one number, the width of a plain attention's head by another, and a width that is heads times head width by
both; other widths stand for themselves. Widths of latent and linear attention's heads stay: kernels are made for them.
What is no size (patch, kernel, window, positions, token ids) keeps its value too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from seatrial.core.record import Record

Role = Literal["layers", "heads", "head width", "special width", "width", "vocabulary", "experts", "chosen", "groups"]
# First match wins; the whole name of a field.
ROLES: tuple[tuple[Role, str], ...] = (
    ("vocabulary", r"\w*vocab_size\w*"),
    ("chosen", r"num_experts_per_tok(en)?|moe_top_?k|moe_k|top_k_experts|num_selected_experts|experts_per_token"),
    ("groups", r"n_group|topk_group|num_expert_group|num_expert_groups"),
    ("experts", r"(moe_)?num_(local_|routed_)?experts|n_routed_experts|moe_num_experts"),
    ("layers", r"(num_)?(hidden_|encoder_|decoder_|encoder_hidden_)?layers|n_layers?|depth|num_(en|de)coder_layers"),
    ("heads", r".*(?<![a-z])(heads|n_head)(_kv)?|.*_heads|num_key_value_groups"),
    ("head width", r"head_(dim|size)|attention_head_dim|kv_channels|d_head|d_kv|global_head_dim"),
    ("special width", r".*head_(dim|size)\w*|.*_d_head|kv_lora_rank"),
    ("width", r"(?!.*(patch|image|window|kernel|merge|chunk|block|conv|state|batch|pool|spatial|crop|tile|cache))"
              r"(.*(hidden|intermediate|ffn|embed|embedding|projection|expert|inner)_?(size|dim|width|hidden_size)?"
              r"|d_model|d_ff|dim|n_embd|n_inner|width|.*_(lora_)?rank|.*_(ffn|hidden|inner|ff)_dim|.*_dim|lru_width|mamba_d_ssm"
              r"|mlp_hidden_size|hidden_size_\w+|\w*channels?)"),
)  # fmt: skip
PLAIN = {"quantization_config", "compression_config", "rope_scaling", "rope_parameters"}
HEADS, HEAD, WIDTH, LEAST, EXPERTS, CHOSEN, VOCABULARY = 4, 32, 64, 16, 4, 2, 256
MOST = 4096  # no model has more heads, and config.json is hostile input
# Widths that are often a whole multiple of the main one, which some models count on.
INNER = re.compile(r"intermediate|ffn|n_inner|d_ff")
# Sizes of a recurrent mixer, by the start of their fields.
MIXER = re.compile(r"(linear|mamba|ssm|gdn|kda|lightning)_")


class Size(Record):
    """One field: its value in the checkpoint and in the tiny one."""

    field: str
    role: Role
    value: int
    small: int


class Section(Record):
    """A section of config.json ("" for its top) with its sizes, and its other small numbers."""

    path: tuple[str, ...]
    sizes: tuple[Size, ...]
    others: tuple[int, ...]

    def of(self, *roles: str) -> list[Size]:
        """The sizes of these roles."""
        return [size for size in self.sizes if size.role in roles]

    def part(self, mixer: bool) -> Section:
        """The section with the recurrent mixer's own heads and widths alone, or without them."""
        mine = tuple(s for s in self.sizes if s.role == "width" or bool(MIXER.match(s.field)) == mixer)
        return Section(path=self.path, sizes=mine, others=self.others)


def sections(config: Mapping[str, Any]) -> tuple[Section, ...]:
    """The sections that hold sizes, the language model's first."""
    raw = list(_walk(config, ()))
    text = next((path for path, fields in raw if path and path[-1] in TEXT), ())
    raw.sort(key=lambda pair: (pair[0] != text, len(pair[0])))
    # A width that leads from one part to another is that part's own width there; the language model's comes first.
    lent: dict[int, int] = {}
    for path, fields in raw:
        hidden = next((s for s in _section(path, fields, {}).of("width") if s.field in MAIN), None)
        if hidden is not None:
            lent.setdefault(hidden.value, hidden.small)
    found = (_section(path, fields, lent) for path, fields in raw)
    return tuple(s for s in found if s.sizes or s.others)


TEXT = ("text_config", "llm_config", "language_config", "thinker_config")
MAIN = ("hidden_size", "d_model", "n_embd", "dim", "embed_dim", "width")


def role_of(field: str) -> Role | None:
    """What a field counts, by its name; None: no size."""
    return next((role for role, rule in ROLES if re.fullmatch(rule, field)), None)


def _walk(config: Mapping[str, Any], path: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], Mapping[str, Any]]]:
    yield path, config
    for key, value in config.items():
        if isinstance(value, dict) and key not in PLAIN and not key.isdigit() and len(path) < 4:
            yield from _walk(value, (*path, key))


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else 0


def _section(path: tuple[str, ...], fields: Mapping[str, Any], lent: Mapping[int, int]) -> Section:
    """`lent`: the widths of all parts, which fields that lead to another part have too."""
    numbers = {name: n for name, value in fields.items() if (n := _whole(value))}
    roles = {name: role for name in numbers if (role := role_of(name)) is not None}
    heads = [numbers[n] for n, role in roles.items() if role == "heads"]
    plain = [numbers[n] for n, role in roles.items() if role == "heads" and not MIXER.match(n)]
    main_name = next((name for name in MAIN if name in numbers), "")
    main = numbers.get(main_name, 0)
    head_widths = [numbers[n] for n, role in roles.items() if role == "head width"]
    latent = any(role == "special width" and not MIXER.match(n) for n, role in roles.items())
    if main and plain and main % max(plain) == 0 and not head_widths and not latent:
        head_widths = [main // max(plain)]
    by_heads, by_width = _fewer(heads), 1 if latent else _narrower(head_widths)
    products = {h * w: h // by_heads * (w // by_width) for h in plain for w in head_widths}
    mixers = [numbers[n] for n, role in roles.items() if role == "heads" and MIXER.match(n)]
    wide = [numbers[n] for n, role in roles.items() if role == "special width" and MIXER.match(n)]
    mixed = {h * w: h // by_heads * w for h in mixers for w in wide}
    expand = next((numbers[n] for n in ("mamba_expand", "expand") if n in numbers), 0)
    if expand and main * expand in mixed and mixed[main * expand] % expand == 0:
        products[main] = mixed[main * expand] // expand
    step = max(1, (main or max(numbers.values(), default=1)) // WIDTH)

    def small(name: str, role: Role) -> int:
        value = numbers[name]
        if role == "heads":
            return value // by_heads
        if role == "head width":
            return value // by_width
        if role == "width":
            if INNER.search(name) and main and numbers[name] in range(2 * main, 9 * main, main):
                return numbers[name] // main * small(main_name, role)
            if name not in MAIN and value in lent:
                return lent[value]
            if MIXER.match(name) and value in mixed:
                return mixed[value]
            return products.get(value) or min(value, max(LEAST, -(-value // step // LEAST) * LEAST))
        if role in ("special width", "layers"):
            return value
        fixed = {"vocabulary": VOCABULARY, "experts": EXPERTS, "chosen": CHOSEN, "groups": 1}
        return min(value, fixed.get(role, value))

    sizes = [Size(field=n, role=role, value=numbers[n], small=small(n, role)) for n, role in roles.items()]
    tables = [v for v in fields.values() if isinstance(v, dict) and all(str(key).isdigit() for key in v)]
    counts = [n for table in tables for value in table.values() if (n := _whole(value))]
    others = sorted({n for n in (*(n for name, n in numbers.items() if name not in roles), *counts) if n > 1})
    return Section(path=path, sizes=tuple(sizes), others=tuple(others))


def _fewer(heads: list[int]) -> int:
    """What all counts of heads are divided by: four heads, and two KV heads, are left where there are as many."""
    if not heads:
        return 1
    least, most = min(heads), max(heads)
    return max(n for n in _divisors(heads) if n == 1 or (least // n >= min(2, least) and most // n >= HEADS))


def _narrower(widths: list[int]) -> int:
    """What the widths of a head are divided by: at least 32 is left, a multiple of 16, as kernels want it."""
    fits = [n for n in _divisors(widths) if all(w // n >= HEAD and w // n % LEAST == 0 for w in widths)]
    return max(fits, default=1) if widths else 1


def _divisors(numbers: list[int]) -> list[int]:
    whole = math.gcd(*numbers) if numbers else 1
    return [n for n in range(1, min(whole, MOST) + 1) if whole % n == 0]
