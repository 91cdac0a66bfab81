"""Secrets out of text that leaves the machine, and the names of home folders.

In: bytes of whole lines. Out: the bytes with each secret's value replaced by <redacted>, and how many were. It errs on
the side of taking out too much. Secrets are told by the name before them (assignments, JSON, flags, headers, queries),
by the shape that their issuer gives them, or because the caller knows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

MARK = b"<redacted>"
USER = b"<user>"
# Shapes of tokens: Hugging Face, OpenAI and its likes, GitHub, GitLab, NVIDIA, Slack, Google, AWS, Aliyun, ModelScope,
# JSON web tokens.
BARE = (
    rb"\bhf_[A-Za-z0-9]{16,100}|\bsk-[A-Za-z0-9_-]{12,200}|\bgh[pousr]_[A-Za-z0-9]{16,100}|\bgithub_pat_\w{16,120}|"
    rb"\bglpat-[\w-]{16,80}|\bnvapi-[\w-]{16,120}|\bxox[abeoprs]-[\w-]{8,200}|\bAIza[\w-]{30,60}|\bA(?:KIA|SIA)[0-9A-Z]{12,32}|"
    rb"\bLTAI[A-Za-z0-9]{10,40}|\bms-[0-9a-z]{8}(?:-[0-9a-z]{4}){3}-[0-9a-z]{12}|"
    rb"\beyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{4,2000}(?:\.[A-Za-z0-9_-]{0,2000})?"
)
# A private key: from its first line to its last, or as far as lines look like a key's where the last one is missing. Of
# a line, whatever process or time stands before the key's part stays.
BEGIN = b"-----BEGIN "
END = b"-----END "
KEY = re.compile(BEGIN + rb"[A-Z ]{0,40}PRIVATE KEY-----")
KEY_LONG = 16_000
KEY_LINE = re.compile(rb"[^\r\n]*[\r\n]*")
LIKE_KEY = re.compile(rb"[\\A-Za-z0-9+/=]{40}|^[\\A-Za-z0-9+/=]+\s*$|^\s*$|Proc-Type: |DEK-Info: ")
KEY_PART = re.compile(
    rb"(?:-----(?:BEGIN|END) [A-Z ]{0,40}PRIVATE KEY-----|[\\A-Za-z0-9+/=]{40,}|"
    # The short last line.
    rb"(?<![^\r\n])[\\A-Za-z0-9+/=]+(?=[ \t]{0,20}(?:[\r\n]|\Z))|"
    rb"(?<=[\s|\"'-])[\\A-Za-z0-9+/=]+(?=[\"'},\s]{0,20}(?:[\r\n][^\r\n]{0,200})?-----END ))+"
)
NAME = (
    rb"(?:token|(?:secret|password|passwd|[a-z0-9]_pwd|passphrase|api[_-]?key|access[_-]?key(?:[_-]?id)?|secret[_-]?key|"
    rb"private[_-]?key|signature|credential|cookie|(?<![a-z])auth)s?)"
)
FLAG = rb"--(?:[a-z0-9]{1,20}[-_]){0,3}(?:token|secret|password|passwd|passphrase|api[-_]key|access[-_]key)"
QUOTE = rb"\\{0,3}[\"']"
# A word ends at a space, a quote or a bracket; at a comma or semicolon where a space or another NAME= follows.
WORD = (
    rb"(?=[^\s\"')}\]\\&]{4})[^\s\"',;)}\]\\&]{1,4000}"
    rb"(?:[,;](?![\w.-]{1,40} ?[=:])[^\s\"',;)}\]\\&]{1,4000}){0,100}"
)
# A value that is a list or a call holds its secrets between quotes: ['a', 'b'], SecretStr('a').
VALUE = (
    rb"(?:\w{0,20}[\[(]\s{0,3}"
    + QUOTE
    + rb"[^\n\])]{1,4000}[\])]?|"
    + rb"\"(?=[^\"\n])[^\"\n\\]{0,4000}(?:\\[^\n][^\"\n\\]{0,4000}){0,400}|"
    + rb"'(?=[^'\n])[^'\n\\]{0,4000}(?:\\[^\n][^'\n\\]{0,4000}){0,400}|"
    + rb"\\{1,3}\"[^\"\n\\]{1,4000}|"
    + WORD
    + rb")"
)
# A name and its value stand on one line: what follows at the next one is that line's prefix.
AUTHORIZATION = rb"authorization(?:" + QUOTE + rb")?[ \t]{0,3}[=:][ \t]{0,3}(?:" + QUOTE + rb")?"
SECRET = re.compile(
    rb"(?P<bare>" + BARE + rb")|"
    rb"(?P<head>" + AUTHORIZATION + rb"(?:bearer|basic|token)[ \t]{0,3}|"
    rb"\bbearer[ \t]{1,3}|"
    rb"(?:set-)?cookie: {0,3}(?=.{0,4000}?;)|"
    rb"\b(?:ENV|setenv) \w{0,40}(?:token|secret|password|key) |"
    # What is in braces is looked through by itself: secret={api_key=...}.
    + NAME + rb"(?:" + QUOTE + rb")?[ \t]{0,3}(?:[=:]|%3D)[ \t]{0,3}"
    rb"(?!\{|[\"']\{\s{0,3}(?:\\{0,3}[\"']|\}|\w{1,40} ?[=:])))"
    rb"(?P<value>(?<=cookie: )[^\n\"']{1,4000}|" + VALUE + rb")|"
    # A scheme of any name is taken with the credentials: it may be those.
    rb"(?P<auth>" + AUTHORIZATION + rb")"
    rb"(?P<both>(?!(?:none|null|true|false)\b)[a-z][a-z-]{1,20} {1,3}" + WORD + rb"|" + VALUE + rb")|"
    rb"(?P<flag>" + FLAG + rb"[ =]{1,3})(?P<words>" + VALUE + rb"(?: (?![-|&>;])[^\s\"',;)}\]]{1,4000}){0,8})|"
    rb"(?P<url>://)(?P<pass>[^/\s@\"'<>]{1,300})@|"
    rb"(?P<home>[/\\](?:home|Users)[/\\]{1,2})(?P<user>[^/\\\s\"'<>:;,)\]]{1,64})",
    re.IGNORECASE,
)  # fmt: skip
# Words that follow "password:" and the like in ordinary logs; after "token:" also numbers.
PLAIN = re.compile(rb"[\"']?(?:none|null|true|false|auto|<redacted>)$", re.IGNORECASE)
NUMBERS = re.compile(rb"[\"']?(?:[\d,;]{1,4000}|\[[^\"'=:]*)$")
# The tokens of a tokenizer are no secrets.
OF_TEXT = re.compile(
    rb"(?:bos|eos|pad|unk|cls|sep|mask|image|video|audio|think\w{0,8}|stop|special|next|draft|prompt|start|end|first|last)_?$",
    re.IGNORECASE,
)
OPENING = re.compile(QUOTE)


class Redacted(NamedTuple):
    data: bytes
    hits: int
    rest: bytes = b""


def redact(data: bytes, known: Iterable[str] = (), *, homes: bool = False, hold: int = 0) -> Redacted:
    """`data` without secrets; `known` are secrets that the caller has from elsewhere, wherever they stand.

    `homes` also takes out the names of home folders, for what is published; a path on this machine must stay usable.
    `hold`: about so many bytes at the end are given back as `rest`, for the caller to put before what follows them.
    """
    count = 0
    for secret in known:
        place = secret.encode("utf-8", "surrogateescape")
        count += data.count(place)
        data = data.replace(place, MARK)
    if BEGIN in data:
        keys = _without_keys(data)
        data, count = keys.data, count + keys.hits
    parts: list[bytes] = []
    at = start = 0
    limit = max(0, len(data) - hold)
    while (match := SECRET.search(data, start)) and not (hold and match.start() >= limit):
        if kept := _kept(match, data, homes):
            start = kept
            continue
        count += 1
        parts += (data[at : match.start()], _clean(match))
        at = start = match.end()
    limit = max(at, limit)
    return Redacted(b"".join((*parts, data[at:limit])), count, data[limit:])


def open_key(data: bytes) -> int:
    """Where a private key begins whose end is yet to come; the length of `data` where there is none."""
    begin = data.rfind(BEGIN, max(0, len(data) - KEY_LONG))
    return begin if begin >= 0 and data.find(END, begin) < 0 else len(data)


def _without_keys(data: bytes) -> Redacted:
    parts: list[bytes] = []
    at = count = 0
    while match := KEY.search(data, at):
        end = _end_of_key(data, match.end())
        parts += (data[at : match.start()], KEY_PART.sub(MARK, data[match.start() : end]))
        count, at = count + 1, end
    return Redacted(b"".join((*parts, data[at:])), count)


def _end_of_key(data: bytes, at: int) -> int:
    """The place behind a key of which `at` is the place behind its opening words."""
    until = at + KEY_LONG
    end = data.find(END, at, until)
    if end >= 0:
        closing = data.find(b"-----", end + len(END), end + 100)
        return closing + 5 if closing >= 0 else end + len(END)
    for line in KEY_LINE.finditer(data, at, min(until, len(data))):
        if line.start() > at and not LIKE_KEY.search(line[0]):
            return line.start()
    return min(until, len(data))


def _kept(match: re.Match[bytes], data: bytes, homes: bool) -> int:
    """Where to search on when this is no secret: behind the name, for the value may hold one; 0 when it is one."""
    if match["user"] is not None:
        return 0 if homes else match.end()
    name = "head" if match["head"] is not None else "auth"
    value = match["value"] if match["head"] is not None else match["both"]
    if value is None:
        return 0
    kept = bool(PLAIN.match(value))
    if match[name][:5].lower() == b"token":
        kept = kept or bool(NUMBERS.match(value) or OF_TEXT.search(data, max(0, match.start() - 20), match.start()))
    return match.end(name) if kept else 0


def _clean(match: re.Match[bytes]) -> bytes:
    """What stands in place of a secret: the name before it, its opening quote, and as many lines as there were."""
    if match["user"] is not None:
        return match["home"] + USER
    if match["url"] is not None:
        return match["url"] + MARK + b"@"
    for head, value in (("head", "value"), ("auth", "both"), ("flag", "words")):
        if match[value] is not None:
            opening = m[0] if (m := OPENING.match(match[value])) else b""
            return match[head] + opening + MARK + b"\n" * match[value].count(b"\n")
    return MARK
