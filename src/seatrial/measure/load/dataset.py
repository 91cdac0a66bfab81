"""From a workload to the exact bodies that will be sent, in order. Everything is decided before the first is sent.

In: a `Workload`, the model's name, and for exact text a function that makes it. Out: `Plan`. Refuses (FileFormatError)
a dataset line that does not say what it must, naming file and line.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.plain_file import open_plain, read_plain
from seatrial.core.record import Record
from seatrial.measure.load.workload import Workload

# Token numbers that every vocabulary has; the lowest are left out since special tokens live there.
LOWEST, HIGHEST = 100, 500
LARGEST_LINE = 16 << 20
LARGEST_SHAREGPT = 2 << 30
PATHS = {"completions": "/v1/completions", "chat": "/v1/chat/completions"}

# (lengths in tokens, seed) -> that many texts, each of exactly that length for the model's tokenizer.
TextMaker = Callable[[list[int], int], list[str]]


class Planned(Record):
    """One request: `body` as sent; `prompt_tokens` None where only the server will know."""

    body: bytes
    prompt_tokens: int | None
    output_tokens: int


class Plan(Record):
    """All requests of a run. `order_hash` covers every body in its order: two runs did the same work if it is equal.

    `arrivals_s`: when each is due, in seconds from the start; empty in a closed loop.
    """

    path: str
    warmup: tuple[Planned, ...]
    requests: tuple[Planned, ...]
    arrivals_s: tuple[float, ...]
    order_hash: str
    dataset_hash: str


def make_plan(workload: Workload, model: str, make_text: TextMaker | None = None) -> Plan:
    """Decide everything; the same workload gives the same bytes every time."""
    load = workload.load
    count = load.warmup + load.requests
    prompts = list(_prompts(workload, count, make_text))
    source = workload.dataset.file
    if not prompts:
        raise FileFormatError(f"{source}: holds no request", mend="Give it at least one line with a prompt.")
    if len(prompts) < count:
        # Asking again what was asked before would be answered from the prefix cache: never silently.
        raise UsageError(
            f"the workload asks for {count} requests with its warm-up, {source} holds {len(prompts)}",
            mend="Lower load.requests or load.warmup, or give more lines.",
        )
    warmup, measured = prompts[: load.warmup], prompts[load.warmup : count]
    if load.order == "shuffled":
        random.Random(load.seed).shuffle(measured)  # noqa: S311 - an order, not a secret
    bodies = [_body(workload, model, *prompt) for prompt in (*warmup, *measured)]
    digest = hashlib.sha256()
    for body in bodies:
        # The model's name is a label of the server, not work.
        digest.update(body.body.replace(json.dumps(model, ensure_ascii=False).encode(), b'""', 1))
    arrivals = _arrivals(workload)
    digest.update(json.dumps(arrivals).encode())
    return Plan(
        path=PATHS[load.api],
        warmup=tuple(bodies[: load.warmup]),
        requests=tuple(bodies[load.warmup :]),
        arrivals_s=arrivals,
        order_hash=digest.hexdigest(),
        dataset_hash=_file_hash(Path(source)) if source else "",
    )


def _prompts(workload: Workload, count: int, make_text: TextMaker | None) -> Iterator[tuple[Any, int | None, int]]:
    """Prompt (text, messages or token numbers), its length if known, the length of the answer."""
    dataset = workload.dataset
    if dataset.kind == "jsonl":
        yield from _jsonl(Path(dataset.file), count)
    elif dataset.kind == "sharegpt":
        yield from _sharegpt(Path(dataset.file), dataset.output_tokens, count)
    elif dataset.form == "tokens":
        dice = random.Random(workload.load.seed)  # noqa: S311
        prefix = [dice.randrange(LOWEST, HIGHEST) for _ in range(dataset.prefix_tokens)]
        for _ in range(count):
            rest = [dice.randrange(LOWEST, HIGHEST) for _ in range(dataset.input_tokens - dataset.prefix_tokens)]
            yield prefix + rest, dataset.input_tokens, dataset.output_tokens
    else:
        if make_text is None:
            raise UsageError(
                "text of an exact length needs the model's tokenizer",
                mend="Name the checkpoint with --checkpoint, or use dataset.form = 'tokens'.",
            )
        if dataset.prefix_tokens:
            raise UsageError("a shared prefix is exact only as token numbers", mend="Use dataset.form = 'tokens'.")
        for text in make_text([dataset.input_tokens] * count, workload.load.seed):
            yield text, dataset.input_tokens, dataset.output_tokens


def _jsonl(file: Path, count: int) -> Iterator[tuple[Any, int | None, int]]:
    try:
        with open_plain(file) as stream:
            number = 0
            while count > 0 and (line := stream.readline(LARGEST_LINE + 1)):
                number += 1
                if len(line) > LARGEST_LINE:
                    raise FileFormatError(f"{file} line {number}: longer than {LARGEST_LINE >> 20} MiB")
                if not line.strip():
                    continue
                yield _line(line, f"{file} line {number}")
                count -= 1
    except OSError as exc:
        raise FileFormatError(f"{file}: cannot be read: {exc.strerror}", mend="Set dataset.file.") from exc


def _line(line: bytes, where: str) -> tuple[Any, int | None, int]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise FileFormatError(f"{where}: not JSON: {exc}") from exc
    prompt = row.get("prompt", row.get("messages")) if isinstance(row, dict) else None
    length = row.get("output_len") if isinstance(row, dict) else None
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise FileFormatError(f"{where}: output_len is {length!r}", mend="Give the number of tokens to answer with.")
    if isinstance(prompt, str) and prompt:
        return prompt, None, length
    if isinstance(prompt, list) and prompt and all(isinstance(t, int) and not isinstance(t, bool) for t in prompt):
        return prompt, len(prompt), length
    if isinstance(prompt, list) and prompt and all(isinstance(m, dict) and "role" in m for m in prompt):
        return prompt, None, length
    raise FileFormatError(f"{where}: no prompt", mend="Give text, a list of messages or token numbers as 'prompt'.")


def _sharegpt(file: Path, output_tokens: int, count: int) -> Iterator[tuple[Any, int | None, int]]:
    try:
        if file.stat().st_size > LARGEST_SHAREGPT:
            raise FileFormatError(f"{file}: larger than {LARGEST_SHAREGPT >> 30} GiB", mend="Cut it.")
        rows = json.loads(read_plain(file, limit=LARGEST_SHAREGPT))
    except OSError as exc:
        raise FileFormatError(f"{file}: cannot be read: {exc.strerror}", mend="Set dataset.file.") from exc
    except (ValueError, RecursionError) as exc:
        raise FileFormatError(f"{file}: not JSON: {exc}") from exc
    if not isinstance(rows, list):
        raise FileFormatError(f"{file}: not a list of conversations")
    for row in rows:
        turns = row.get("conversations", row.get("conversation")) if isinstance(row, dict) else None
        first = turns[0] if isinstance(turns, list) and turns else None
        text = first.get("value", first.get("content")) if isinstance(first, dict) else None
        who = first.get("from", first.get("role")) if isinstance(first, dict) else None
        if who in ("human", "user") and isinstance(text, str) and text:
            yield text, None, output_tokens
            count -= 1
            if count == 0:
                return


def _body(workload: Workload, model: str, prompt: Any, tokens: int | None, answer: int) -> Planned:
    load, sampling = workload.load, workload.sampling
    body: dict[str, Any] = {"model": model}
    is_messages = isinstance(prompt, list) and isinstance(prompt[0], dict)
    if load.api == "chat":
        if isinstance(prompt, list) and not is_messages:
            raise UsageError("token numbers cannot be sent to the chat API", mend="Use load.api = 'completions'.")
        body["messages"] = prompt if is_messages else [{"role": "user", "content": prompt}]
    else:
        if is_messages:
            raise UsageError("messages need the chat API", mend="Set load.api = 'chat'.")
        body["prompt"] = prompt
    body["max_tokens"] = answer
    if sampling.min_tokens is not None:
        body["min_tokens"] = min(sampling.min_tokens, answer)
    if sampling.ignore_eos:
        body["ignore_eos"] = True
    for name in (
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "seed",
    ):
        if getattr(sampling, name) is not None:
            body[name] = getattr(sampling, name)
    if sampling.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    # A chat template adds tokens of its own, so that only the server knows the length.
    exact = tokens if load.api == "completions" else None
    return Planned(body=json.dumps(body, ensure_ascii=False).encode(), prompt_tokens=exact, output_tokens=answer)


def _arrivals(workload: Workload) -> tuple[float, ...]:
    load = workload.load
    if not load.rate:
        return ()
    if load.arrivals == "constant":
        return tuple(i / load.rate for i in range(load.requests))
    dice = random.Random(load.seed + 1)  # noqa: S311
    at, due = 0.0, []
    for _ in range(load.requests):
        due.append(at)
        at += dice.expovariate(load.rate)
    return tuple(due)


def _file_hash(file: Path) -> str:
    digest = hashlib.sha256()
    with open_plain(file) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
