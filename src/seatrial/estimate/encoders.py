"""Which models keep no KV cache: those whose layers look both ways, so that nothing is kept from one step to the next.

In: a model. Out: the reason in words, "" where a cache is kept. The engine decides by its own class, not by a field
(vLLM 0.32: `EncoderOnlyAttention` in models/*.py, and `is_causal` as models/config.py sets it).
"""

from __future__ import annotations

from seatrial.estimate.model import Model

# Architectures whose engine class has bidirectional attention only.
CLASSES = {
    "BertModel", "BertForMaskedLM", "BertForSequenceClassification", "BertForTokenClassification",
    "BertSpladeSparseEmbeddingModel", "BgeM3EmbeddingModel", "EmbeddingGemma2Model", "GteModel", "GteNewModel",
    "GteNewForSequenceClassification", "HF_ColBERT", "JinaRobertaModel", "ColBERTModernBertModel",
    "ColBERTJinaRobertaModel", "ModernBertModel", "ModernBertForSequenceClassification",
    "ModernBertForTokenClassification", "NomicBertModel", "OpenAIPrivacyFilterForTokenClassification",
    "RobertaModel", "RobertaForMaskedLM", "RobertaForSequenceClassification", "RobertaForTokenClassification",
    "SiglipModel", "XLMRobertaModel", "XLMRobertaForSequenceClassification", "XLMRobertaForTokenClassification",
    "LlamaBidirectionalModel", "LlamaBidirectionalForSequenceClassification", "LlamaNemotronVLModel",
    "LlamaNemotronVLForSequenceClassification", "VoyageQwen3BidirectionalEmbedModel",
}  # fmt: skip
# Language models of vLLM 0.32 whose class asks the config for `is_causal`.
ASKED = ("llama", "qwen2", "qwen3", "gemma3", "gemma3_text", "deepseek_v2", "apertus", "mistral")


def keeps_no_cache(model: Model) -> str:
    """Why the engine keeps no KV cache for this model; "" where it does."""
    names = [a for a in model.card.architecture.architectures if a in CLASSES]
    if names:
        return f"{names[0]} looks both ways: the engine keeps no KV cache, a request passes in one step"
    if model.kind() in ASKED and model.flag("is_causal") is False:
        return "is_causal is false: the engine keeps no KV cache, a request passes in one step"
    bidirectional = "Gemma3TextModel" in model.card.architecture.architectures and model.flag(
        "use_bidirectional_attention"
    )
    if bidirectional:
        return "use_bidirectional_attention: the engine keeps no KV cache, a request passes in one step"
    if "JinaEmbeddingsV5Model" in model.card.architecture.architectures and model.flag("is_decoder") is False:
        return "is_decoder is false: the engine keeps no KV cache, a request passes in one step"
    return ""
