"""Codes of findings: the registry, and those of files, shards and their index. Those of the model: `model_codes.py`.

`note(CODE, place, message)` makes the finding. `docs/findings.md` is generated from this registry; a code is never
reused. Longer than 250 lines because a table that is split hides a code that is used twice.
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


def add(code: str, severity: Severity, title: str, meaning: str, next_step: str = "") -> str:
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
NO_CONFIG = add(
    "C001",
    ERROR,
    "no config.json",
    "The folder holds no config.json, so the model is unknown.",
    "Name the folder that holds config.json, or copy it there.",
)
BAD_JSON = add(
    "C002",
    ERROR,
    "broken JSON",
    "A JSON file of the checkpoint cannot be decoded (syntax, UTF-8, nesting too deep).",
    "Download the file again or mend the JSON at the place named.",
)
DUPLICATE_KEY = add(
    "C003",
    WARNING,
    "duplicate JSON key",
    "A key stands twice in one object; parsers silently keep the last.",
    "Remove one of the two keys.",
)
NOT_FINITE = add(
    "C004", INFO, "NaN or Infinity in JSON", "The file holds a number that strict JSON does not allow; Python reads it."
)
BAD_VALUE = add(
    "C005",
    ERROR,
    "value of the wrong type or range",
    "A field that matters holds something that cannot be meant.",
    "Correct the value in the file named.",
)
UNKNOWN_NESTING = add(
    "C006",
    WARNING,
    "unknown nested config",
    "A nested section looks like a model's config, but its role is unknown.",
    "Report the checkpoint, so that the section's role can be added.",
)
TOO_LARGE = add(
    "C007",
    ERROR,
    "file too large to read safely",
    "The file is beyond the bound for its kind and was not read.",
    "Check that the file is what its name says.",
)
NOT_REGULAR = add(
    "C008",
    ERROR,
    "not a readable regular file",
    "A FIFO, device, folder or unreadable file stands in a file's place.",
    "Put the real file there, or give read permission.",
)
OUTSIDE = add(
    "C009",
    ERROR,
    "path leaves the folder",
    "A symlink leads out of the checkpoint; it was not followed.",
    "Put the file itself into the folder (links into the same Hugging Face cache's blobs are accepted).",
)
LFS_POINTER = add(
    "C010",
    ERROR,
    "git-LFS pointer",
    "The file holds a git-LFS pointer of some 130 bytes, not the content.",
    "Run `git lfs pull` in the checkpoint's repository.",
)
MISSING_FIELD = add(
    "C011",
    WARNING,
    "a field that matters is missing",
    "A fact that the engine needs is in no file of the folder.",
    "Compare config.json with the model's published one.",
)
NOT_AN_OBJECT = add(
    "C012",
    ERROR,
    "JSON of the wrong kind",
    "The file's top level (or section) is not a JSON object.",
    "Replace the file by the right one.",
)
UNEXPLAINED = add(
    "C013",
    INFO,
    "fields without a known meaning",
    "Fields of config.json that seatrial neither uses nor knows.",
)

# --- shards and their index ----------------------------------------------------------------------------------------
NO_WEIGHTS = add(
    "C020",
    WARNING,
    "no weights",
    "There is no shard to read, so what the tensors say is unknown.",
    "Download the .safetensors files into the folder.",
)
OTHER_FORMAT = add(
    "C021",
    WARNING,
    "weights in another format",
    "Weights that are not safetensors were found and not read.",
    "Convert them to safetensors; pickle files are never opened.",
)
SHARD_ABSENT = add(
    "C022",
    ERROR,
    "shard absent",
    "The index (or the numbering of the files) names a shard that is not there.",
    "Download the missing shard.",
)
INDEX_ESCAPES = add(
    "C023",
    ERROR,
    "index path leaves the folder",
    "The index names a file by an absolute path or through '..'.",
    "Correct the index: shards stand beside it.",
)
TENSOR_ABSENT = add(
    "C024",
    ERROR,
    "tensor absent",
    "The index names a tensor that no shard holds.",
    "Download the shard again, or rebuild the index from the shards.",
)
WRONG_SHARD = add(
    "C025",
    ERROR,
    "tensor in another shard",
    "The index places a tensor in another shard than the one that holds it.",
    "Rebuild the index from the shards.",
)
NOT_IN_INDEX = add(
    "C026",
    WARNING,
    "tensor not in the index",
    "A shard holds a tensor that the index does not name: vLLM loads it, transformers does not.",
    "Rebuild the index from the shards.",
)
EXTRA_SHARD = add(
    "C027",
    WARNING,
    "shard not in the index",
    "A .safetensors file that the index does not name; loaders ignore it.",
    "Remove it, or rebuild the index.",
)
DUPLICATE_TENSOR = add(
    "C028",
    ERROR,
    "tensor in two shards",
    "Two shards hold a tensor of the same name; which one wins is chance.",
    "Remove the stale file.",
)
TOTAL_SIZE = add(
    "C029",
    WARNING,
    "total_size differs",
    "metadata.total_size of the index is not the sum of the tensors' bytes.",
    "Rebuild the index from the shards.",
)
HEADER_TRUNCATED = add(
    "C030", ERROR, "header does not fit the file", "The first 8 bytes announce a header longer than the file.", AGAIN
)
BAD_HEADER = add("C031", ERROR, "broken header", "The shard's header is not the JSON that the format demands.", AGAIN)
HEADER_TOO_LARGE = add(
    "C032",
    ERROR,
    "header too large",
    "The header is beyond what can be decoded in bounded memory; it was not read.",
    "Split the checkpoint into more shards.",
)
DATA_TRUNCATED = add(
    "C033", ERROR, "truncated shard", "Tensors reach beyond the end of the file: the download stopped early.", AGAIN
)
OVERLAP = add("C034", ERROR, "overlapping tensors", "Two tensors of a shard claim the same bytes.", AGAIN)
DUPLICATE_HEADER_KEY = add(
    "C035",
    ERROR,
    "duplicate key in a header",
    "A header names a tensor (or one of its fields) twice.",
    "Write the shard again with safetensors.",
)
HOLE = add("C036", ERROR, "hole between tensors", "Bytes between two tensors belong to none; loaders refuse it.", AGAIN)
TRAILING = add("C037", ERROR, "bytes after the last tensor", "The file is longer than its header says.", AGAIN)
SIZE_MISMATCH = add(
    "C038", ERROR, "shape and bytes disagree", "Shape times dtype is not the number of bytes the offsets span.", AGAIN
)
UNKNOWN_DTYPE = add(
    "C039",
    ERROR,
    "unknown dtype",
    "The header names a dtype that the safetensors format does not have.",
    "Write the shard again with a current safetensors.",
)
BAD_OFFSETS = add("C040", ERROR, "offsets run backwards", "A tensor's end lies before its begin.", AGAIN)
BAD_ENTRY = add(
    "C041",
    ERROR,
    "malformed header entry",
    "An entry lacks dtype, shape or data_offsets, or they are no whole numbers from 0 to 2^63-1.",
    AGAIN,
)
NOT_SAFETENSORS = add("C042", ERROR, "not a safetensors file", "The file is empty or too short for a header.", AGAIN)
BAD_INDEX = add(
    "C043",
    ERROR,
    "unusable index",
    "The index has no `weight_map` of tensor names to file names.",
    "Download the index again, or rebuild it from the shards.",
)
UNKNOWN_ENTRY_FIELD = add(
    "C044", WARNING, "unknown field in a header", "A header entry holds a field that the format does not have."
)
TOO_MANY_TENSORS = add(
    "C045",
    ERROR,
    "too many tensors",
    "The checkpoint holds more tensors than can be read in bounded memory.",
    "Merge the experts' tensors, or report the checkpoint.",
)
NESTED_SHARD = add(
    "C046",
    WARNING,
    "shard in a subfolder",
    "The index names a shard in a subfolder; vLLM looks at the top only.",
    "Move the shard beside the index.",
)
TOO_MANY_FILES = add(
    "C047",
    ERROR,
    "too many files",
    "The folder holds more entries or shards than are looked at, so some of it was not read.",
    "Move what is no part of the checkpoint out of the folder, or merge its shards.",
)
