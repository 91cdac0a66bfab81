"""The suspects on numbers made by hand: each fault, put into random rows, is named; rounding names none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from seatrial_probes import accuracy_locate as locate
from seatrial_probes import accuracy_suspects as suspects
from seatrial_probes import accuracy_watch as watch

CONFIG = SimpleNamespace(
    head_dim=8, hidden_size=32, num_attention_heads=4, num_experts_per_tok=1, rope_parameters={"rope_theta": 10000.0}
)
TOKENS, HEADS, WIDTH = 12, 4, 8
THETA = 10000.0 ** (-np.arange(WIDTH // 2) * 2.0 / WIDTH)


class Weight:
    """What a probe asks of a tensor."""

    def __init__(self, matrix):
        self.matrix, self.shape = matrix, matrix.shape

    def dim(self):
        return self.matrix.ndim

    def to(self, _):
        return self

    def double(self):
        return self

    def numpy(self):
        return self.matrix


def named(key, mine, theirs, others=None, weights=None, tokens_out=None):
    """Names of the suspects for these rows."""
    arrays = {key: theirs, **(others or {})}
    row = {"key": key, "engine_key": key, "step": 0, "width": mine.shape[1], "tokens": list(range(len(mine)))}
    row["tokens_out"] = list(range(len(mine))) if tokens_out is None else tokens_out

    tokens = list(range(len(mine)))
    return [s["name"] for s in suspects.test(row, mine, theirs, tokens, arrays.get, weights or {}, CONFIG)]


@pytest.fixture
def rows():
    return np.random.default_rng(3).normal(size=(TOKENS, HEADS * WIDTH))


def turned(raw, positions, theta=THETA):
    """Queries rotated by halves."""
    folded = raw.reshape(TOKENS, HEADS, WIDTH)
    z = folded[..., : WIDTH // 2] + 1j * folded[..., WIDTH // 2 :]
    w = z * np.exp(1j * positions[:, None, None] * theta[None, None, :])
    return np.concatenate([w.real, w.imag], axis=-1).reshape(raw.shape)


def test_rounding_alone_has_no_suspect(rows):
    noise = np.random.default_rng(4).normal(size=rows.shape) * 0.01
    assert named("layers.0.self_attn.q_proj", rows + noise, rows) == []


def test_a_missing_scale_a_dropped_bias_and_swapped_halves_are_named(rows):
    other = np.random.default_rng(5).normal(size=rows.shape)
    assert named("layers.0.mlp.down_proj", rows * 1.3, rows)[0] == "scale"
    bias = np.random.default_rng(6).normal(size=(1, rows.shape[1]))
    assert named("layers.0.self_attn.q_proj", rows - bias, rows)[0] == "bias"
    assert named("layers.0.mlp.gate_proj", other, rows, {"layers.0.mlp.up_proj": other})[0] == "swapped-halves"


def test_norm_faults_are_told_apart(rows):
    weight = np.random.default_rng(7).uniform(0.6, 1.4, size=rows.shape[1])
    size = np.random.default_rng(8).uniform(0.5, 0.9, size=(TOKENS, 1))
    assert named("layers.0.input_layernorm", rows, rows * weight)[0] == "norm-weight"
    assert named("layers.0.input_layernorm", rows * size, rows)[0] == "norm-epsilon"


def test_heads_in_another_order_and_a_transposed_weight_are_named(rows):
    moved = rows.reshape(TOKENS, HEADS, WIDTH)[:, [2, 3, 0, 1]].reshape(rows.shape)
    assert {"head-order", "feature-order"} & set(named("layers.0.self_attn.o_proj@in", moved, rows))

    given = np.random.default_rng(10).normal(size=(TOKENS, 32))
    weight = Weight(np.random.default_rng(9).normal(size=(32, 32)))
    right, wrong = given @ weight.matrix.T, given @ weight.matrix
    own = {"m.layers.0.self_attn.o_proj.weight": weight}
    assert "transposed" in named("layers.0.self_attn.o_proj", wrong, right, weights=own)


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (lambda raw, at: turned(raw, at + 1), "position"),
        (lambda raw, at: turned(raw, at, 500000.0 ** (-np.arange(WIDTH // 2) * 2.0 / WIDTH)), "rope-base"),
        (lambda raw, at: turned(raw, at * 0.5), "rope-scaling"),
        (lambda raw, at: raw, "no-rope"),
    ],
)
def test_faults_of_the_rotation_are_told_apart(rows, fault, name):
    at = np.arange(TOKENS, dtype=float)
    right = turned(rows, at)
    assert name in named("layers.0.self_attn#rope_q", fault(rows, at), right, {"layers.0.self_attn.q_norm": rows})


def test_tokens_of_one_expert_and_late_tokens_are_named(rows):
    logits = np.random.default_rng(11).normal(size=(TOKENS, 4)) * 3
    wrong = [t for t in range(TOKENS) if logits[t].argmax() == 2]
    broken = rows.copy()
    broken[wrong] *= np.random.default_rng(12).normal(size=(1, rows.shape[1]))
    told = named("layers.0.mlp.experts", broken, rows, {"layers.0.mlp.gate": logits}, tokens_out=wrong)
    assert "expert" in told
    late = rows.copy()
    late[8:] = np.random.default_rng(13).normal(size=(4, rows.shape[1]))
    assert "late-tokens" in named("layers.0.linear_attn", late, rows, tokens_out=[8, 9, 10, 11])


def test_not_a_number_is_named_before_anything_else(rows):
    broken = rows.copy()
    broken[3, 3] = np.nan
    assert named("layers.0.mlp", broken, rows) == ["not-a-number"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("model.layers.3.self_attn.q_proj", "layers.3.self_attn.q_proj"),
        ("language_model.model.layers.0.mlp", "layers.0.mlp"),
        ("model.language_model.layers.0.mlp", "layers.0.mlp"),
        ("vision_tower.vision_model.encoder.layers.1.mlp.fc1", "vision.layers.1.mlp.fc1"),
        ("model.embed_tokens", "embed_tokens"),
        ("model.multi_modal_projector.linear_1", "projector.linear_1"),
        ("transformer.h.2.attn", "layers.2.attn"),
    ],
)
def test_names_of_both_sides_meet(name, key):
    assert watch.key_of(name) == key


def test_a_module_whose_parent_is_inside_the_band_is_excused_and_one_whose_parent_is_not_is_not():
    judged = {"layers.0.mlp.experts", "layers.0.mlp", "layers.0"}
    assert locate.excused("layers.0.mlp.experts", {"layers.0.mlp.experts"}, judged)
    assert not locate.excused("layers.0.mlp.experts", {"layers.0.mlp.experts", "layers.0.mlp"}, judged)
    assert not locate.excused("layers.0", {"layers.0"}, judged)


def test_at_most_a_few_tokens_are_kept_the_first_and_the_last_among_them():
    chosen = watch.spread(5000)
    assert (chosen[0], chosen[-1]) == (0, 4999)
    assert len(chosen) <= watch.ROWS
    assert watch.spread(3) == [0, 1, 2]


def attention(q, k, v, factor=1.0, hide=1, order=None):
    """Causal attention of HEADS query heads over half as many key heads, as rows [tokens, features]."""
    split = [a.reshape(TOKENS, -1, WIDTH).transpose(1, 0, 2) for a in (q, k, v)]
    order = np.arange(HEADS) // 2 if order is None else order
    scores = np.einsum("hqd,hkd->hqk", split[0], split[1][order]) * WIDTH**-0.5 * factor
    scores = np.where(np.triu(np.ones((TOKENS, TOKENS), dtype=bool), hide), -1e30, scores)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("hqk,hkd->hqd", scores / scores.sum(-1, keepdims=True), split[2][order])
    return mixed.transpose(1, 0, 2).reshape(TOKENS, -1)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("attention-scale", {"factor": 2.0}),
        ("attention-scale", {"factor": 0.7}),
        ("no-mask", {"hide": TOKENS}),
        ("mask-late", {"hide": 2}),
        ("kv-heads", {"order": np.arange(HEADS) % 2}),
    ],
)
def test_what_is_wrong_in_the_attentions_core_is_named(name, fault, rows):
    source = np.random.default_rng(21)
    k, v = source.normal(size=(2, TOKENS, HEADS * WIDTH // 2))
    at = "layers.0.self_attn"
    others = {f"{at}#rope_q": rows, f"{at}#rope_k": k, f"{at}.v_proj": v}
    right = attention(rows, k, v)
    told = named(f"{at}.o_proj@in", attention(rows, k, v, **fault), right, others)
    assert told[0] == name
    # Where the plain attention is not the reference's (a gate, a window), nothing is said.
    assert named(f"{at}.o_proj@in", attention(rows, k, v, **fault) * 3, right * 3 + rows, others) == []


def test_the_weight_of_another_layer_is_named(rows):
    source = np.random.default_rng(22)
    given_ = source.normal(size=(TOKENS, 24))
    one, two = source.normal(size=(2, HEADS * WIDTH, 24))
    weights = {f"model.layers.{n}.mlp.down_proj.weight": Weight(w) for n, w in ((0, one), (1, two))}
    key = "layers.0.mlp.down_proj"
    told = named(key, given_ @ two.T, given_ @ one.T, {f"{key}@in": given_}, weights)
    assert told == ["other-layer"]


def test_a_vocabulary_moved_by_one_is_named():
    wide = np.random.default_rng(23).normal(size=(TOKENS, 5000))
    assert named("lm_head", np.roll(wide, 1, axis=1), wide) == ["feature-order"]


def test_a_head_that_is_rotated_in_part_and_one_without_a_declared_width_have_their_suspects(rows, monkeypatch):
    half = WIDTH // 2
    theta = 10000.0 ** (-np.arange(half // 2) * 2.0 / half)

    def partly(raw, positions):
        folded = raw.reshape(TOKENS, HEADS, WIDTH).copy()
        z = folded[..., : half // 2] + 1j * folded[..., half // 2 : half]
        w = z * np.exp(1j * positions[:, None, None] * theta)
        folded[..., : half // 2], folded[..., half // 2 : half] = w.real, w.imag
        return folded.reshape(raw.shape)

    parameters = {"rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    partial = SimpleNamespace(hidden_size=32, num_attention_heads=4, num_experts_per_tok=1, rope_parameters=parameters)
    at = np.arange(TOKENS, dtype=float)
    monkeypatch.setitem(globals(), "CONFIG", partial)
    told = named(
        "layers.0.self_attn#rope_q", partly(rows, at + 1), partly(rows, at), {"layers.0.self_attn.q_norm": rows}
    )
    assert told[0] == "position"


def test_an_error_that_goes_on_into_the_next_step_is_not_excused_by_a_block_that_drowns_it():
    def row(key, out):
        return {"key": key, "step": 0, "out": out}

    at = "layers.0.self_attn"
    rows = [row(f"{at}.q_norm", True), row(f"{at}#rope_q", True), row(at, False)]
    locate.excuse(rows)
    assert [r["excused"] for r in rows] == [False, False, False]
    alone = [row("layers.0.mlp.experts", True), row("layers.0.mlp", False)]
    locate.excuse(alone)
    assert [r["excused"] for r in alone] == [True, False]
