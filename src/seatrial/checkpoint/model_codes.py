"""Codes of findings about the model: its config, quantisation, MTP, tokenizer, and tensors against the config.

Longer than 250 lines because it is one table.
"""

from __future__ import annotations

from seatrial.checkpoint.codes import ERROR, INFO, WARNING, add

# --- what the model needs ------------------------------------------------------------------------------------------
REMOTE_CODE = add(
    "C050",
    WARNING,
    "remote code",
    "config.json maps classes to Python files of the checkpoint (`auto_map`); they run "
    "only with --trust-remote-code. seatrial never runs them.",
    "Read the files named before you serve with --trust-remote-code, or use an engine that has the class built in.",
)
REMOTE_FILE = add(
    "C051",
    WARNING,
    "remote code absent",
    "auto_map names a Python file that is not in the folder.",
    "Download the .py files too; an engine that has the class built in does not need them.",
)
LAYER_LIST = add(
    "C052",
    ERROR,
    "per-layer list of the wrong length",
    "A per-layer list does not have one entry for each layer.",
    "Compare the list and num_hidden_layers with the published config.json.",
)
UNKNOWN_LAYER = add(
    "C053",
    WARNING,
    "unknown kind of layer",
    "The config names a kind of layer that seatrial does not know.",
    "Report the checkpoint, so that the kind can be added.",
)
HEADS = add(
    "C054",
    ERROR,
    "heads do not fit",
    "Attention heads are no multiple of the KV heads, or the head size is unclear.",
    "Compare num_attention_heads, num_key_value_heads and head_dim with the published config.json.",
)
EXPERT_COUNT = add(
    "C055",
    ERROR,
    "impossible expert counts",
    "More experts per token than experts, or groups that do not divide.",
    "Compare the expert fields with the published config.json.",
)
QUANT_DISAGREES = add(
    "C056",
    WARNING,
    "quantisation descriptions disagree",
    "Two files describe different quantisations.",
    "Keep the description that belongs to these weights; vLLM reads config.json first, vllm-ascend "
    "quant_model_description.json.",
)
QUANT_UNKNOWN = add(
    "C057",
    WARNING,
    "unknown quantisation method",
    "The config names a method that seatrial does not know.",
    "Check that the engine knows it: `seatrial run` asks the engine itself.",
)

# --- multi-token prediction, other modalities, tokenizer -------------------------------------------------------------
MTP_MISSING = add(
    "C060",
    WARNING,
    "MTP weights missing",
    "The config declares MTP layers, but the checkpoint holds none of their "
    "tensors: speculative decoding by MTP is checkpoint-missing.",
    "Serve without MTP, or download the form of the checkpoint that has the layers.",
)
MTP_FEWER = add(
    "C061",
    WARNING,
    "fewer MTP layers than declared",
    "Some of the declared MTP layers have no tensors.",
    "Use only as many speculative tokens as there are layers, or reuse one layer (the engine decides).",
)
MTP_UNDECLARED = add(
    "C062", INFO, "undeclared MTP weights", "Tensors of MTP layers are there, but the config does not declare them."
)
NO_PROCESSOR = add(
    "C063",
    WARNING,
    "no processor file",
    "A multimodal model without preprocessor_config.json or processor_config.json: "
    "requests with images, video or audio will fail.",
    "Download the processor's files into the folder.",
)
TOWER_MISSING = add(
    "C064",
    WARNING,
    "tower without weights",
    "The config describes a tower of which no tensor is there.",
    "Download the missing shards, or serve as a language model only.",
)
MM_TOKEN_RANGE = add(
    "C065",
    ERROR,
    "special token beyond the vocabulary",
    "A placeholder's id has no row in the embedding.",
    "Compare the id and vocab_size with the published config.json.",
)
NO_TOKENIZER = add(
    "C066",
    WARNING,
    "no tokenizer",
    "Weights are there, but no vocabulary: the engine cannot serve text.",
    "Download the tokenizer's files, or name a tokenizer with --tokenizer.",
)
VOCABULARY = add(
    "C067",
    WARNING,
    "tokenizer larger than the vocabulary",
    "The tokenizer can make ids that have no embedding row.",
    "Check that the tokenizer belongs to these weights.",
)
EOS_RANGE = add(
    "C068",
    ERROR,
    "EOS out of range",
    "An end-of-sequence id is no id of the vocabulary, so generation never stops.",
    "Correct eos_token_id in generation_config.json or config.json.",
)
NO_EOS = add(
    "C069", WARNING, "no EOS", "No file names an end-of-sequence id.", "Add eos_token_id to generation_config.json."
)
EOS_DISAGREE = add(
    "C070",
    INFO,
    "EOS of tokenizer and generation differ",
    "The tokenizer's EOS is not among the ids at which generation stops; usual for base models, not for chat models.",
)
NO_CHAT_TEMPLATE = add(
    "C071", INFO, "no chat template", "Without one, /v1/chat/completions needs --chat-template; usual for base models."
)

# --- tensors against the config --------------------------------------------------------------------------------------
LAYER_GAP = add(
    "C080",
    ERROR,
    "gap in the layers",
    "A layer's number is missing between others.",
    "Download the missing shards; if the layer was pruned, the config must say so.",
)
LAYER_COUNT = add(
    "C081",
    ERROR,
    "number of layers differs",
    "The weights hold another number of layers than num_hidden_layers.",
    "Check that config.json belongs to these weights.",
)
EXPERT_GAP = add(
    "C082",
    ERROR,
    "gap in the experts",
    "An expert's tensor is missing in a layer whose other experts are there.",
    "Download the missing shards.",
)
SHAPE = add(
    "C083",
    ERROR,
    "shape contradicts the config",
    "A tensor's shape is not what the config's numbers give.",
    "Check that config.json belongs to these weights.",
)
EXPERT_MISMATCH = add(
    "C084",
    ERROR,
    "number of experts differs",
    "The weights hold another number of experts than the config says.",
    "Check that config.json belongs to these weights.",
)
LAYER_INCOMPLETE = add(
    "C085",
    WARNING,
    "tensor missing in one layer",
    "Layers of the same kind have this tensor, this one does not. An engine may load such a checkpoint in silence.",
    "Run `seatrial run` with the dry stage, which accounts for every parameter; download the shard again.",
)
HEAD_MISSING = add(
    "C086",
    ERROR,
    "no output layer",
    "The config does not tie the output layer to the embedding, but it is not there.",
    "Download the shard that holds lm_head, or set tie_word_embeddings where the model ties them.",
)
HEAD_SPARE = add(
    "C087", INFO, "output layer beside a tied embedding", "Loaders ignore the output layer where the config ties it."
)
TIE_UNKNOWN = add(
    "C088", INFO, "tying not stated", "config.json does not say whether the output layer is the embedding."
)
NO_EMBEDDING = add(
    "C089",
    WARNING,
    "no embedding",
    "No tensor has a name like an embedding's; the names may follow no known scheme.",
    "Compare the names (seatrial inspect --json) with those of the model class.",
)
VOCABULARY_ROWS = add(
    "C090", INFO, "padded vocabulary", "The embedding has more rows than vocab_size; the engine uses the first ones."
)
DTYPE_DIFFERS = add(
    "C091",
    WARNING,
    "dtype differs",
    "The config's dtype is not that of most weights: the engine converts on loading.",
    "Give --dtype explicitly, or correct config.json.",
)
WEIGHT_UNSCALED = add(
    "C092",
    ERROR,
    "fp8 weight without scale",
    "An fp8 weight has no scale; its values cannot be restored.",
    "Download the shard that holds the scale.",
)
SCALE_ALONE = add(
    "C093",
    WARNING,
    "scale without weight",
    "A scale belongs to a weight that is not there.",
    "Download the missing shard.",
)
SCALE_SHAPE = add(
    "C094",
    ERROR,
    "scale of the wrong shape",
    "A block scale does not have one value for each block.",
    "Check weight_block_size against the weights.",
)
NOT_QUANTISED = add(
    "C095",
    ERROR,
    "declared quantisation absent",
    "The config describes a quantisation; no tensor is quantised.",
    "Remove the description, or download the quantised weights.",
)
QUANT_SILENT = add(
    "C096",
    ERROR,
    "undeclared quantisation",
    "Tensors are quantised, but no file says how.",
    "Download hf_quant_config.json, quant_model_description.json or the config.json with quantization_config.",
)
EXCLUDED_QUANTISED = add(
    "C097",
    WARNING,
    "excluded module is quantised",
    "A module on the list of exclusions has quantised weights.",
    "Check that the description belongs to these weights.",
)
NO_SCHEME = add(
    "C098",
    WARNING,
    "names without a scheme",
    "There are more kinds of tensor names than any model has; not all were compared with the config.",
    "Check that the files are a language model's checkpoint.",
)
