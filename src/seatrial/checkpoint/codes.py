"""The one registry of this folder's findings: code, severity, what it means and the usual next step.

`note(CODE, place, message)` makes the finding. `docs/findings.md` is generated from this table; a code is never reused.
250 lines and more on purpose: it is one table, and splitting it would hide a code that is used twice.
"""

from __future__ import annotations

from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.core.registry import Registry


class Code(Record):
    """A kind of finding. `next_step` is used where the place that found it says nothing more exact."""

    code: str
    severity: Severity
    title: str
    meaning: str
    next_step: str = ""


CODES: Registry[Code] = Registry("finding code")

# Messages show names and values from hostile files: this many characters of each are enough to recognise it.
SHOWN = 200


def _add(code: str, severity: Severity, title: str, meaning: str, next_step: str = "") -> str:
    CODES.add(code, Code(code=code, severity=severity, title=title, meaning=meaning, next_step=next_step))
    return code


def shown(value: object) -> str:
    """A value of a hostile file, fit for one line of a message."""
    text = " ".join(str(value)[: SHOWN * 2].split())
    printable = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return printable if len(printable) <= SHOWN else f"{printable[: SHOWN - 1]}…"


def note(code: str, place: str, message: str, next_step: str | None = None) -> Finding:
    """A finding of `code`; raises UsageError for a code that is not registered (a programming error)."""
    kind = CODES.get(code)
    return Finding(
        code=code,
        severity=kind.severity,
        place=shown(place),
        message=shown(message),
        next_step=kind.next_step if next_step is None else shown(next_step),
    )


ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
AGAIN = "Download the file again and compare its size and sha256 with the source."

# --- files and documents -------------------------------------------------------------------------------------------
NO_CONFIG = _add(
    "C001",
    ERROR,
    "no config.json",
    "The folder holds no config.json, so the model is unknown.",
    "Name the folder that holds config.json, or copy it there.",
)
BAD_JSON = _add(
    "C002",
    ERROR,
    "broken JSON",
    "A JSON file of the checkpoint cannot be decoded (syntax, UTF-8, nesting too deep).",
    "Download the file again or mend the JSON at the place named.",
)
DUPLICATE_KEY = _add(
    "C003",
    WARNING,
    "duplicate JSON key",
    "A key stands twice in one object; parsers silently keep the last.",
    "Remove one of the two keys.",
)
NOT_FINITE = _add(
    "C004", INFO, "NaN or Infinity in JSON", "The file holds a number that strict JSON does not allow; Python reads it."
)
BAD_VALUE = _add(
    "C005",
    ERROR,
    "value of the wrong type or range",
    "A field that matters holds something that cannot be meant.",
    "Correct the value in the file named.",
)
UNKNOWN_NESTING = _add(
    "C006",
    WARNING,
    "unknown nested config",
    "A nested section looks like a model's config, but its role is unknown.",
    "Report the checkpoint, so that the section's role can be added.",
)
TOO_LARGE = _add(
    "C007",
    ERROR,
    "file too large to read safely",
    "The file is beyond the bound for its kind and was not read.",
    "Check that the file is what its name says.",
)
NOT_REGULAR = _add(
    "C008",
    ERROR,
    "not a readable regular file",
    "A FIFO, device, folder or unreadable file stands in a file's place.",
    "Put the real file there, or give read permission.",
)
OUTSIDE = _add(
    "C009",
    ERROR,
    "path leaves the folder",
    "A symlink leads out of the checkpoint; it was not followed.",
    "Put the file itself into the folder (links into the same Hugging Face cache's blobs are accepted).",
)
LFS_POINTER = _add(
    "C010",
    ERROR,
    "git-LFS pointer",
    "The file holds a git-LFS pointer of some 130 bytes, not the content.",
    "Run `git lfs pull` in the checkpoint's repository.",
)
MISSING_FIELD = _add(
    "C011",
    WARNING,
    "a field that matters is missing",
    "A fact that the engine needs is in no file of the folder.",
    "Compare config.json with the model's published one.",
)
NOT_AN_OBJECT = _add(
    "C012",
    ERROR,
    "JSON of the wrong kind",
    "The file's top level (or section) is not a JSON object.",
    "Replace the file by the right one.",
)
UNEXPLAINED = _add(
    "C013",
    INFO,
    "fields without a known meaning",
    "Fields of config.json that seatrial neither uses nor knows.",
)

# --- shards and their index ----------------------------------------------------------------------------------------
NO_WEIGHTS = _add(
    "C020",
    WARNING,
    "no weights",
    "There is no shard to read, so what the tensors say is unknown.",
    "Download the .safetensors files into the folder.",
)
OTHER_FORMAT = _add(
    "C021",
    WARNING,
    "weights in another format",
    "Weights that are not safetensors were found and not read.",
    "Convert them to safetensors; pickle files are never opened.",
)
SHARD_ABSENT = _add(
    "C022",
    ERROR,
    "shard absent",
    "The index (or the numbering of the files) names a shard that is not there.",
    "Download the missing shard.",
)
INDEX_ESCAPES = _add(
    "C023",
    ERROR,
    "index path leaves the folder",
    "The index names a file by an absolute path or through '..'.",
    "Correct the index: shards stand beside it.",
)
TENSOR_ABSENT = _add(
    "C024",
    ERROR,
    "tensor absent",
    "The index names a tensor that no shard holds.",
    "Download the shard again, or rebuild the index from the shards.",
)
WRONG_SHARD = _add(
    "C025",
    ERROR,
    "tensor in another shard",
    "The index places a tensor in another shard than the one that holds it.",
    "Rebuild the index from the shards.",
)
NOT_IN_INDEX = _add(
    "C026",
    WARNING,
    "tensor not in the index",
    "A shard holds a tensor that the index does not name: vLLM loads it, transformers does not.",
    "Rebuild the index from the shards.",
)
EXTRA_SHARD = _add(
    "C027",
    WARNING,
    "shard not in the index",
    "A .safetensors file that the index does not name; loaders ignore it.",
    "Remove it, or rebuild the index.",
)
DUPLICATE_TENSOR = _add(
    "C028",
    ERROR,
    "tensor in two shards",
    "Two shards hold a tensor of the same name; which one wins is chance.",
    "Remove the stale file.",
)
TOTAL_SIZE = _add(
    "C029",
    WARNING,
    "total_size differs",
    "metadata.total_size of the index is not the sum of the tensors' bytes.",
    "Rebuild the index from the shards.",
)
HEADER_TRUNCATED = _add(
    "C030", ERROR, "header does not fit the file", "The first 8 bytes announce a header longer than the file.", AGAIN
)
BAD_HEADER = _add("C031", ERROR, "broken header", "The shard's header is not the JSON that the format demands.", AGAIN)
HEADER_TOO_LARGE = _add(
    "C032",
    ERROR,
    "header too large",
    "The header is beyond what can be decoded in bounded memory; it was not read.",
    "Split the checkpoint into more shards.",
)
DATA_TRUNCATED = _add(
    "C033", ERROR, "truncated shard", "Tensors reach beyond the end of the file: the download stopped early.", AGAIN
)
OVERLAP = _add("C034", ERROR, "overlapping tensors", "Two tensors of a shard claim the same bytes.", AGAIN)
DUPLICATE_HEADER_KEY = _add(
    "C035",
    ERROR,
    "duplicate key in a header",
    "A header names a tensor (or one of its fields) twice.",
    "Write the shard again with safetensors.",
)
HOLE = _add(
    "C036", ERROR, "hole between tensors", "Bytes between two tensors belong to none; loaders refuse it.", AGAIN
)
TRAILING = _add("C037", ERROR, "bytes after the last tensor", "The file is longer than its header says.", AGAIN)
SIZE_MISMATCH = _add(
    "C038", ERROR, "shape and bytes disagree", "Shape times dtype is not the number of bytes the offsets span.", AGAIN
)
UNKNOWN_DTYPE = _add(
    "C039",
    ERROR,
    "unknown dtype",
    "The header names a dtype that the safetensors format does not have.",
    "Write the shard again with a current safetensors.",
)
BAD_OFFSETS = _add("C040", ERROR, "offsets run backwards", "A tensor's end lies before its begin.", AGAIN)
BAD_ENTRY = _add(
    "C041",
    ERROR,
    "malformed header entry",
    "An entry lacks dtype, shape or data_offsets, or they are no whole numbers from 0 to 2^63-1.",
    AGAIN,
)
NOT_SAFETENSORS = _add("C042", ERROR, "not a safetensors file", "The file is empty or too short for a header.", AGAIN)
BAD_INDEX = _add(
    "C043",
    ERROR,
    "unusable index",
    "The index has no `weight_map` of tensor names to file names.",
    "Download the index again, or rebuild it from the shards.",
)
UNKNOWN_ENTRY_FIELD = _add(
    "C044", WARNING, "unknown field in a header", "A header entry holds a field that the format does not have."
)
TOO_MANY_TENSORS = _add(
    "C045",
    ERROR,
    "too many tensors",
    "The checkpoint holds more tensors than can be read in bounded memory.",
    "Merge the experts' tensors, or report the checkpoint.",
)
NESTED_SHARD = _add(
    "C046",
    WARNING,
    "shard in a subfolder",
    "The index names a shard in a subfolder; vLLM looks at the top only.",
    "Move the shard beside the index.",
)

# --- what the model needs ------------------------------------------------------------------------------------------
REMOTE_CODE = _add(
    "C050",
    WARNING,
    "remote code",
    "config.json maps classes to Python files of the checkpoint (`auto_map`); they run "
    "only with --trust-remote-code. seatrial never runs them.",
    "Read the files named before you serve with --trust-remote-code, or use an engine that has the class built in.",
)
REMOTE_FILE = _add(
    "C051",
    WARNING,
    "remote code absent",
    "auto_map names a Python file that is not in the folder.",
    "Download the .py files too; an engine that has the class built in does not need them.",
)
LAYER_LIST = _add(
    "C052",
    ERROR,
    "per-layer list of the wrong length",
    "A per-layer list does not have one entry for each layer.",
    "Compare the list and num_hidden_layers with the published config.json.",
)
UNKNOWN_LAYER = _add(
    "C053",
    WARNING,
    "unknown kind of layer",
    "The config names a kind of layer that seatrial does not know.",
    "Report the checkpoint, so that the kind can be added.",
)
HEADS = _add(
    "C054",
    ERROR,
    "heads do not fit",
    "Attention heads are no multiple of the KV heads, or the head size is unclear.",
    "Compare num_attention_heads, num_key_value_heads and head_dim with the published config.json.",
)
EXPERT_COUNT = _add(
    "C055",
    ERROR,
    "impossible expert counts",
    "More experts per token than experts, or groups that do not divide.",
    "Compare the expert fields with the published config.json.",
)
QUANT_DISAGREES = _add(
    "C056",
    WARNING,
    "quantisation descriptions disagree",
    "Two files describe different quantisations.",
    "Keep the description that belongs to these weights; vLLM reads config.json first, vllm-ascend "
    "quant_model_description.json.",
)
QUANT_UNKNOWN = _add(
    "C057",
    WARNING,
    "unknown quantisation method",
    "The config names a method that seatrial does not know.",
    "Check that the engine knows it: `seatrial run` asks the engine itself.",
)

# --- multi-token prediction, other modalities, tokenizer -------------------------------------------------------------
MTP_MISSING = _add(
    "C060",
    WARNING,
    "MTP weights missing",
    "The config declares MTP layers, but the checkpoint holds none of their "
    "tensors: speculative decoding by MTP is checkpoint-missing.",
    "Serve without MTP, or download the form of the checkpoint that has the layers.",
)
MTP_FEWER = _add(
    "C061",
    WARNING,
    "fewer MTP layers than declared",
    "Some of the declared MTP layers have no tensors.",
    "Use only as many speculative tokens as there are layers, or reuse one layer (the engine decides).",
)
MTP_UNDECLARED = _add(
    "C062", INFO, "undeclared MTP weights", "Tensors of MTP layers are there, but the config does not declare them."
)
NO_PROCESSOR = _add(
    "C063",
    WARNING,
    "no processor file",
    "A multimodal model without preprocessor_config.json or processor_config.json: "
    "requests with images, video or audio will fail.",
    "Download the processor's files into the folder.",
)
TOWER_MISSING = _add(
    "C064",
    WARNING,
    "tower without weights",
    "The config describes a tower of which no tensor is there.",
    "Download the missing shards, or serve as a language model only.",
)
MM_TOKEN_RANGE = _add(
    "C065",
    ERROR,
    "special token beyond the vocabulary",
    "A placeholder's id has no row in the embedding.",
    "Compare the id and vocab_size with the published config.json.",
)
NO_TOKENIZER = _add(
    "C066",
    WARNING,
    "no tokenizer",
    "Weights are there, but no vocabulary: the engine cannot serve text.",
    "Download the tokenizer's files, or name a tokenizer with --tokenizer.",
)
VOCABULARY = _add(
    "C067",
    WARNING,
    "tokenizer larger than the vocabulary",
    "The tokenizer can make ids that have no embedding row.",
    "Check that the tokenizer belongs to these weights.",
)
EOS_RANGE = _add(
    "C068",
    ERROR,
    "EOS out of range",
    "An end-of-sequence id is no id of the vocabulary, so generation never stops.",
    "Correct eos_token_id in generation_config.json or config.json.",
)
NO_EOS = _add(
    "C069", WARNING, "no EOS", "No file names an end-of-sequence id.", "Add eos_token_id to generation_config.json."
)
EOS_DISAGREE = _add(
    "C070",
    INFO,
    "EOS of tokenizer and generation differ",
    "The tokenizer's EOS is not among the ids at which generation stops; usual for base models, not for chat models.",
)
NO_CHAT_TEMPLATE = _add(
    "C071", INFO, "no chat template", "Without one, /v1/chat/completions needs --chat-template; usual for base models."
)

# --- tensors against the config --------------------------------------------------------------------------------------
LAYER_GAP = _add(
    "C080",
    ERROR,
    "gap in the layers",
    "A layer's number is missing between others.",
    "Download the missing shards; if the layer was pruned, the config must say so.",
)
LAYER_COUNT = _add(
    "C081",
    ERROR,
    "number of layers differs",
    "The weights hold another number of layers than num_hidden_layers.",
    "Check that config.json belongs to these weights.",
)
EXPERT_GAP = _add(
    "C082",
    ERROR,
    "gap in the experts",
    "An expert's tensor is missing in a layer whose other experts are there.",
    "Download the missing shards.",
)
SHAPE = _add(
    "C083",
    ERROR,
    "shape contradicts the config",
    "A tensor's shape is not what the config's numbers give.",
    "Check that config.json belongs to these weights.",
)
EXPERT_MISMATCH = _add(
    "C084",
    ERROR,
    "number of experts differs",
    "The weights hold another number of experts than the config says.",
    "Check that config.json belongs to these weights.",
)
LAYER_INCOMPLETE = _add(
    "C085",
    WARNING,
    "tensor missing in one layer",
    "Layers of the same kind have this tensor, this one does not. An engine may load such a checkpoint in silence.",
    "Run `seatrial run` with the dry stage, which accounts for every parameter; download the shard again.",
)
HEAD_MISSING = _add(
    "C086",
    ERROR,
    "no output layer",
    "The config does not tie the output layer to the embedding, but it is not there.",
    "Download the shard that holds lm_head, or set tie_word_embeddings where the model ties them.",
)
HEAD_SPARE = _add(
    "C087", INFO, "output layer beside a tied embedding", "Loaders ignore the output layer where the config ties it."
)
TIE_UNKNOWN = _add(
    "C088", INFO, "tying not stated", "config.json does not say whether the output layer is the embedding."
)
NO_EMBEDDING = _add(
    "C089",
    WARNING,
    "no embedding",
    "No tensor has a name like an embedding's; the names may follow no known scheme.",
    "Compare the names (seatrial inspect --json) with those of the model class.",
)
VOCABULARY_ROWS = _add(
    "C090", INFO, "padded vocabulary", "The embedding has more rows than vocab_size; the engine uses the first ones."
)
DTYPE_DIFFERS = _add(
    "C091",
    WARNING,
    "dtype differs",
    "The config's dtype is not that of most weights: the engine converts on loading.",
    "Give --dtype explicitly, or correct config.json.",
)
WEIGHT_UNSCALED = _add(
    "C092",
    ERROR,
    "fp8 weight without scale",
    "An fp8 weight has no scale; its values cannot be restored.",
    "Download the shard that holds the scale.",
)
SCALE_ALONE = _add(
    "C093",
    WARNING,
    "scale without weight",
    "A scale belongs to a weight that is not there.",
    "Download the missing shard.",
)
SCALE_SHAPE = _add(
    "C094",
    ERROR,
    "scale of the wrong shape",
    "A block scale does not have one value for each block.",
    "Check weight_block_size against the weights.",
)
NOT_QUANTISED = _add(
    "C095",
    ERROR,
    "declared quantisation absent",
    "The config describes a quantisation; no tensor is quantised.",
    "Remove the description, or download the quantised weights.",
)
QUANT_SILENT = _add(
    "C096",
    ERROR,
    "undeclared quantisation",
    "Tensors are quantised, but no file says how.",
    "Download hf_quant_config.json, quant_model_description.json or the config.json with quantization_config.",
)
EXCLUDED_QUANTISED = _add(
    "C097",
    WARNING,
    "excluded module is quantised",
    "A module on the list of exclusions has quantised weights.",
    "Check that the description belongs to these weights.",
)
NO_SCHEME = _add(
    "C098",
    WARNING,
    "names without a scheme",
    "There are more kinds of tensor names than any model has; not all were compared with the config.",
    "Check that the files are a language model's checkpoint.",
)
