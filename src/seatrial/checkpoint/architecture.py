"""What the model is called and how big its frame is.

In: the config's sections. Out: `Architecture`. A missing field that every engine needs is a finding.
"""

from __future__ import annotations

from seatrial.checkpoint.codes import BAD_VALUE, MISSING_FIELD, note
from seatrial.checkpoint.config import MOST_LAYERS, Sections, View
from seatrial.checkpoint.dtypes import TORCH_NAMES
from seatrial.checkpoint.files import Folder
from seatrial.checkpoint.model_codes import REMOTE_CODE, REMOTE_FILE
from seatrial.core.record import Record

# transformers' classes whose default for a missing tie_word_embeddings is True (read from transformers 5.19); for the
# others, and for remote code, a silent config says nothing.
TIED_BY_DEFAULT = ("gemma", "cohere", "gpt2", "opt", "bloom", "falcon", "starcoder2", "gpt_bigcode", "t5gemma", "mpt")
UNTIED_BY_DEFAULT = ("llama", "mistral", "mixtral", "qwen", "deepseek", "glm", "gpt_oss", "nemotron", "minimax", "phi3")

# Classes whose feed-forward part is four times the hidden size where no field says otherwise.
FOUR_TIMES = ("gpt2", "gpt_bigcode", "gptj", "bloom", "falcon")


class RemoteCode(Record):
    """Code that comes with the checkpoint. `auto_map` names what it defines; `missing` the files that are not there."""

    auto_map: dict[str, str]
    files: tuple[str, ...]
    missing: tuple[str, ...]


class Architecture(Record):
    """The model's frame; None means that no file says so.

    `tied_embeddings`: whether the output layer is the embedding (None: neither config nor class default says).
    `dtype` is safetensors' spelling of the config's dtype; `text_section` is where the language model's fields stand.
    """

    architectures: tuple[str, ...]
    model_type: str | None
    text_model_type: str | None
    text_section: str
    hidden_size: int | None
    layers: int | None
    intermediate_size: int | None
    vocab_size: int | None
    activation: str | None
    tied_embeddings: bool | None
    dtype: str | None
    transformers_version: str | None
    remote_code: RemoteCode | None


def read_architecture(parts: Sections, remote: RemoteCode | None) -> Architecture:
    """Translate; notes in the ledger what every engine needs and is not there."""
    top, text = parts.top, parts.text
    found = top.ledger.findings
    names = top.texts("architecture.architectures", "architectures") or text.texts(
        "architecture.architectures", "architectures"
    )
    written = top.text("architecture.dtype", "dtype", "torch_dtype") or text.text(
        "architecture.dtype", "dtype", "torch_dtype"
    )
    dtype = TORCH_NAMES.get((written or "").removeprefix("torch."))
    if written not in (None, "auto") and dtype is None:
        found.append(note(BAD_VALUE, "config.json: dtype", f"is {written}, which is no dtype of torch"))
    model_type = top.text("architecture.model_type", "model_type")
    text_type = text.text("architecture.text_model_type", "model_type")
    card = Architecture(
        architectures=names or (),
        model_type=model_type,
        text_model_type=text_type,
        text_section=text.path.rstrip("."),
        hidden_size=text.whole("architecture.hidden_size", "hidden_size", "n_embd", "d_model", "dim", least=1),
        layers=_layers(text),
        intermediate_size=_intermediate(parts),
        vocab_size=text.whole("architecture.vocab_size", "vocab_size", "padded_vocab_size", least=1)
        or top.whole("architecture.vocab_size", "vocab_size", least=1),
        activation=text.text(
            "architecture.activation", "hidden_act", "hidden_activation", "mlp_hidden_act", "activation_function"
        ),
        tied_embeddings=_tied(parts, text_type or model_type),
        dtype=dtype,
        transformers_version=top.text("architecture.transformers_version", "transformers_version"),
        remote_code=remote,
    )
    needed = {"architectures": card.architectures, "hidden_size": card.hidden_size, "num_hidden_layers": card.layers}
    for key in [key for key, value in needed.items() if not value]:
        found.append(note(MISSING_FIELD, f"config.json: {text.path}{key}", "is missing"))
    if remote is not None:
        names_ = ", ".join(remote.files) or "another repository"
        found.append(note(REMOTE_CODE, "config.json: auto_map", f"needs the checkpoint's own code: {names_}"))
        found += [note(REMOTE_FILE, name, "is named in auto_map, but is not in the folder") for name in remote.missing]
    return card


def _layers(text: View) -> int | None:
    """The number of layers; where only the list of their kinds says so (Nemotron-H of transformers 5), its length."""
    fact = "architecture.layers"
    names = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
    found = text.whole(fact, *names, most=MOST_LAYERS)
    if found is None and (kinds := text.texts(fact, "layers_block_type", "layer_types")):
        text.ledger.derived(fact, "the length of the list of the layers' kinds")
        return len(kinds)
    return found


def _intermediate(parts: Sections) -> int | None:
    fact = "architecture.intermediate_size"
    names = ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim", "mlp_dim", "decoder_ffn_dim")
    value = parts.text.whole_or_list(fact, *names)
    if value is None and parts.text.data.get("model_type") in FOUR_TIMES:
        hidden = parts.text.whole("architecture.hidden_size", "hidden_size", "n_embd")
        parts.text.ledger.derived(fact, "4 * hidden_size, the default of this model_type's class")
        return 4 * hidden if hidden else None
    return max(value, default=None) if isinstance(value, tuple) else value


def _tied(parts: Sections, model_type: str | None) -> bool | None:
    fact = "architecture.tied_embeddings"
    names = ("tie_word_embeddings", "tie_embeddings", "tie_embedding")
    # With other modalities the whole's word counts (transformers 5; vLLM 0.32's with_hf_config), else the text's own.
    order = (parts.top, parts.text) if parts.vision or parts.audio else (parts.text, parts.top)
    for view in order:
        if (written := view.flag(fact, *names)) is not None:
            return written
    kind = model_type or ""
    for default, families in ((True, TIED_BY_DEFAULT), (False, UNTIED_BY_DEFAULT)):
        if kind.startswith(families):
            parts.top.ledger.derived(fact, f"the default of transformers' class for model_type {kind}")
            return default
    return None


def read_remote_code(parts: Sections, folder: Folder) -> RemoteCode | None:
    """`auto_map` of the top and of the text section, and the Python files it needs from the folder."""
    mapped: dict[str, str] = {}
    for view in (parts.text, parts.top):
        if (section := view.section("auto_map")) is not None:
            mapped.update({str(k): str(v) for k, v in list(section.data.items())[:50] if isinstance(v, str)})
    if not mapped:
        return None
    # "repo--module.Class" lives in another repository; "module.Class" is module.py beside the config.
    local = sorted({f"{v.rsplit('.', 1)[0]}.py" for v in mapped.values() if "--" not in v and "." in v})
    return RemoteCode(
        auto_map=mapped,
        files=tuple(local),
        missing=tuple(name for name in local if "/" not in name and "\0" not in name and not folder.has(name)),
    )
