"""Heads that are no language model's: classifiers and poolers, whole on every rank and, but for BERT's own, in float32.

In: a model. Out: the matrices of its head as vLLM 0.32 builds them (models/bert.py, roberta.py, gpt2.py, jamba.py; the
engine's parameters are kept in tests/estimate/data/engine_zoo.jsonl). Refuses (NotModelled) every other head.
"""

from __future__ import annotations

from collections.abc import Callable

from seatrial.estimate.matrices import Matrix, vector
from seatrial.estimate.model import Model

# transformers' own default where config.json names no labels.
LABELS = 2
MOST_LABELS = 1_000_000


def labels(model: Model) -> int:
    """How many classes the head has."""
    named = model.config.get("id2label")
    if isinstance(named, dict) and 0 < len(named) <= MOST_LABELS:
        return len(named)
    stated = model.number("num_labels")
    return min(stated, MOST_LABELS) if stated else LABELS


def _plain(name: str, rows: int, cols: int, dtype: str, bias: bool = True) -> Matrix:
    """A product with its bias, both of one dtype."""
    return vector("head", name, rows * cols + (rows if bias else 0), (), dtype=dtype)


def _classifier(model: Model) -> list[Matrix]:
    return [_plain("classifier", labels(model), model.hidden(), "F32")]


def _dense_and_classifier(model: Model) -> list[Matrix]:
    return [_plain("dense", model.hidden(), model.hidden(), "F32"), *_classifier(model)]


def _score(model: Model) -> list[Matrix]:
    return [_plain("score", labels(model), model.hidden(), "F32", bias=False)]


def _masked(model: Model) -> list[Matrix]:
    """BERT's head over the vocabulary: a product, a norm, and an output of its own, not the embedding."""
    hidden = model.hidden()
    return [
        _plain("mlm_head.dense", hidden, hidden, ""),
        vector("head", "mlm_head.layer_norm", 2 * hidden, ()),
        _plain("mlm_head.decoder", model.vocabulary(), hidden, ""),
    ]


HEADS: dict[str, Callable[[Model], list[Matrix]]] = {
    "BertForMaskedLM": _masked,
    "BertForSequenceClassification": _dense_and_classifier,
    "BertForTokenClassification": _classifier,
    "RobertaForSequenceClassification": _dense_and_classifier,
    "RobertaForTokenClassification": _classifier,
    "XLMRobertaForSequenceClassification": _dense_and_classifier,
    "XLMRobertaForTokenClassification": _classifier,
    "GPT2ForSequenceClassification": _score,
    "JambaForSequenceClassification": _score,
}
