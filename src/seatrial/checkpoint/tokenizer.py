"""Tokenizer and what serving takes from the folder: files, vocabulary, chat template, generation defaults, EOS.

In: the folder, config.json's ids. Out: `Tokenizer`. A tokenizer.json is decoded by type (its 150,000 merges are
skipped), because the standard library needs half a second for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from seatrial.checkpoint import documents
from seatrial.checkpoint.codes import BAD_JSON, TOO_LARGE, note, shown
from seatrial.checkpoint.config import Ledger, View
from seatrial.checkpoint.files import Folder
from seatrial.checkpoint.model_codes import EOS_DISAGREE, EOS_RANGE, NO_CHAT_TEMPLATE, NO_EOS, NO_TOKENIZER, VOCABULARY
from seatrial.core.finding import Finding
from seatrial.core.record import Record

FILES = (
    "tokenizer.json", "tokenizer.model", "tiktoken.model", "tekken.json", "vocab.json", "vocab.txt", "merges.txt",
    "spiece.model", "sentencepiece.bpe.model", "qwen.tiktoken", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "chat_template.json", "generation_config.json",
)  # fmt: skip
VOCABULARIES = frozenset(FILES[:10]) - {"merges.txt"}
LARGEST = 64 << 20
# vLLM 0.32's ModelConfig.get_diff_sampling_param.
SAMPLING = (
    "repetition_penalty", "presence_penalty", "frequency_penalty", "temperature", "top_k", "top_p", "min_p",
    "max_new_tokens",
)  # fmt: skip


class Tokenizer(Record):
    """`vocabulary` counts the tokenizer's ids (highest + 1), None where it cannot be read here (`note` says why).

    `eos` are the ids of generation_config.json, else of config.json. `defaults` are vLLM's default sampling parameters.
    """

    files: tuple[str, ...]
    kind: str | None
    tokenizer_class: str | None
    vocabulary: int | None
    added_tokens: int | None
    model_max_length: int | None
    chat_template: str | None
    eos: tuple[int, ...]
    bos: int | None
    pad: int | None
    defaults: dict[str, float]
    note: str = ""


class _Added(msgspec.Struct):
    id: int
    content: str = ""


class _Model(msgspec.Struct):
    type: str | None = None
    vocab: msgspec.Raw = msgspec.Raw(b"null")


class _File(msgspec.Struct):
    model: _Model
    added_tokens: list[_Added] = []


class Vocabulary(Record):
    """What tokenizer.json says; `size` None with `why` where it cannot be used."""

    size: int | None
    kind: str | None = None
    added: int | None = None
    ids: dict[str, int] = msgspec.field(default_factory=dict)
    why: str = ""
    findings: tuple[Finding, ...] = ()


def read_tokenizer(folder: Folder, views: Sequence[View], vocabulary: int | None, *, whole: bool) -> Tokenizer:
    """Read and check against the model's `vocabulary` size; `whole`: weights are there, so the rest should be too.

    `views`: config.json from its top to the language model's section; the outermost that says something counts.
    """
    found = views[0].ledger.findings
    files = tuple(n for n in FILES if folder.has(n)) + tuple(
        n for n in folder.names if n.endswith(".tiktoken") and n not in FILES
    )
    settings = _view(folder, "tokenizer_config.json", views[0].ledger)
    generation = _view(folder, "generation_config.json", views[0].ledger)
    words = _vocabulary(folder)
    found += words.findings
    if whole and not any(f in VOCABULARIES or f.endswith(".tiktoken") for f in files):
        found.append(note(NO_TOKENIZER, "tokenizer.json", "no file of a tokenizer's vocabulary is in the folder"))
    template = _template(folder, settings)
    if whole and template is None and files:
        found.append(note(NO_CHAT_TEMPLATE, "tokenizer_config.json: chat_template", "there is no chat template"))
    eos: tuple[int, ...] = ()
    for view in (generation, *views):
        eos = eos or view.wholes("tokenizer.eos", "eos_token_id") or ()
    bos, pad = (
        next((v.data[key] for v in views if v.data.get(key) is not None), None)
        for key in ("bos_token_id", "pad_token_id")
    )
    _check(found, eos, vocabulary, words, settings, whole=whole)
    longest = settings.data.get("model_max_length")
    return Tokenizer(
        files=files,
        kind=words.kind,
        tokenizer_class=settings.text("tokenizer.class", "tokenizer_class"),
        vocabulary=words.size,
        added_tokens=words.added,
        # transformers writes 1e30 for "no limit"
        model_max_length=longest if isinstance(longest, int) and 0 < longest < 10**12 else None,
        chat_template=template,
        eos=eos,
        bos=bos if isinstance(bos, int) and abs(bos) < 2**48 else None,
        pad=pad if isinstance(pad, int) and abs(pad) < 2**48 else None,
        defaults={k: v for k in SAMPLING if (v := _number(generation.data.get(k))) is not None},
        note=words.why,
    )


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 2**48 else None


def _view(folder: Folder, file: str, ledger: Ledger) -> View:
    document = documents.read(folder, file)
    ledger.findings += document.findings
    own = Ledger(file)
    own.findings, own.sources = ledger.findings, ledger.sources
    return View(document.data or {}, own)


def _vocabulary(folder: Folder) -> Vocabulary:
    file = "tokenizer.json"
    if not folder.has(file):
        return Vocabulary(size=None, why="there is no tokenizer.json; other vocabularies are not read here")
    content = folder.read(file, limit=LARGEST)
    if isinstance(content, Finding):
        return Vocabulary(size=None, why="it cannot be read", findings=(content,))
    # Typed decoding costs about 150 bytes for each of at most this many strings.
    if content.data.count(b'"') > 4_000_000:
        text = "holds too many strings to read in bounded memory"
        return Vocabulary(size=None, why=text, findings=(note(TOO_LARGE, file, text),))
    try:
        decoded = msgspec.json.decode(content.data, type=_File)
        ids = _ids(decoded.model.vocab)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        return Vocabulary(size=None, why="it cannot be decoded", findings=(note(BAD_JSON, file, str(exc)),))
    added = {token.content: token.id for token in decoded.added_tokens}
    highest = max([ids, *(i + 1 for i in added.values())], default=0)
    return Vocabulary(size=highest, kind=shown(decoded.model.type), added=len(added), ids=added)


def _ids(raw: msgspec.Raw) -> int:
    """Highest id + 1: a map of tokens to ids, or a list whose places are the ids (Unigram)."""
    text = bytes(raw).lstrip()
    if text.startswith(b"{"):
        return max(msgspec.json.decode(text, type=dict[str, int]).values(), default=-1) + 1
    if text.startswith(b"["):
        return len(msgspec.json.decode(text, type=list[tuple[str, float]]))
    return 0


def _template(folder: Folder, settings: View) -> str | None:
    """Where the chat template comes from, in transformers' order."""
    for file in ("chat_template.jinja", "chat_template.json"):
        if folder.has(file):
            return file
    written = settings.data.get("chat_template")
    if isinstance(written, str) and written:
        return "tokenizer_config.json"
    if isinstance(written, list) and written:
        return f"tokenizer_config.json ({len(written)} templates)"
    return None


def _check(
    found: list[Finding],
    eos: tuple[int, ...],
    vocabulary: int | None,
    words: Vocabulary,
    settings: View,
    *,
    whole: bool,
) -> None:
    for token in eos:
        if token < 0 or (vocabulary and token >= vocabulary):
            text = f"{token} is no id of a vocabulary of {vocabulary}"
            found.append(note(EOS_RANGE, "eos_token_id", text))
    if whole and not eos:
        found.append(note(NO_EOS, "eos_token_id", "neither generation_config.json nor config.json names one"))
    if vocabulary and words.size and words.size > vocabulary:
        text = f"has ids up to {words.size - 1}; the model's vocabulary is {vocabulary}"
        found.append(note(VOCABULARY, "tokenizer.json", text))
    own = settings.data.get("eos_token")
    name = own.get("content") if isinstance(own, dict) else own
    number = words.ids.get(name) if isinstance(name, str) else None
    if number is not None and eos and number not in eos:
        text = f"the tokenizer's EOS {shown(name)!r} is {number}; generation stops at {list(eos)[:8]}"
        found.append(note(EOS_DISAGREE, "tokenizer_config.json: eos_token", text))
