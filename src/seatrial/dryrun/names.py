"""Names: which checkpoint names would fill a parameter, learned from its peers, and what a tensor's shard is called."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from seatrial.dryrun.tensor import NUMBER, kind_of

MOST_LIKELY = 64


def numbers(name: str) -> tuple[str, ...]:
    return tuple(NUMBER.findall(name))


def words_before(kind: str) -> list[str]:
    """For each `*` of a kind, the component before it (`layers` for `layers.*`)."""
    return [re.split(r"[.\[]", before.rstrip("._"))[-1] for before in kind.split("*")[:-1]]


def put_numbers(kind: str, values: Iterable[str]) -> str:
    parts = kind.split("*")
    return "".join(a + b for a, b in zip(parts, [*values, ""], strict=True))


def shard_of(tensor: str, parameter: str) -> str:
    """Components of the tensor's name that the parameter's name lacks; empty when it has them all."""
    held = set(parameter.split("."))
    parts = tensor.split(".")
    extra = [i for i, part in enumerate(parts) if part not in held]
    return ".".join(parts[extra[0] : extra[-1] + 1]) if extra else ""


class PrefixNames:
    """Learned from filled parameters: what stands in a tensor's name where the parameter's has its first components.

    It speaks for a parameter without peers (`midlayer.norm` for `model.layers.0.norm`), by its nearest neighbours.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], Counter[tuple[str, ...]]] = defaultdict(Counter)

    def learn(self, parameter: str, tensor: str) -> None:
        ours, theirs = parameter.split("."), tensor.split(".")
        while ours and theirs and ours[-1] == theirs[-1]:
            ours.pop()
            theirs.pop()
            self._seen[tuple(ours)][tuple(theirs)] += 1

    def likely(self, parameter: str) -> str:
        """The name under the longest known prefix, as most neighbours have it; the parameter's own if none tells."""
        parts = parameter.split(".")
        for length in range(len(parts) - 1, -1, -1):
            found = self._seen.get(tuple(parts[:length]))
            if found:
                return ".".join((*found.most_common(1)[0][0], *parts[length:]))
        return parameter


class PeerNames:
    """Learned from filled parameters: for each parameter kind, the kinds of tensors that fill one, and how the numbers
    of the parameter's name appear in the tensors' names."""

    def __init__(self) -> None:
        self._members: dict[str, dict[str, list[tuple[tuple[str, ...], str]]]] = defaultdict(lambda: defaultdict(list))

    def learn(self, parameter: str, tensors: Iterable[str]) -> None:
        table = self._members[kind_of(parameter)]
        own = numbers(parameter)
        for tensor in tensors:
            table[kind_of(tensor)].append((own, tensor))

    def knows(self, parameter: str) -> bool:
        return kind_of(parameter) in self._members

    def likely(self, parameter: str, present: Iterable[str] = ()) -> tuple[str, ...]:
        """Checkpoint names that would fill `parameter`, less those in `present`; empty if no peer tells."""
        have = set(present)
        found: dict[str, None] = {}
        own = numbers(parameter)
        for kind, pairs in self._members.get(kind_of(parameter), {}).items():
            columns = self._columns(kind, kind_of(parameter), pairs)
            donor = pairs[0][0]
            for peer, tensor in pairs:
                if peer != donor:
                    continue
                values = list(numbers(tensor))
                for position, column in columns.items():
                    values[position] = own[column]
                name = put_numbers(kind, values)
                if name not in have:
                    found.setdefault(name)
                if len(found) >= MOST_LIKELY:
                    return tuple(found)
        return tuple(found)

    @staticmethod
    def _columns(kind: str, parameter_kind: str, pairs: list[tuple[tuple[str, ...], str]]) -> dict[int, int]:
        """Number position in the tensor's name -> number position in the parameter's name."""
        before, own_before = words_before(kind), words_before(parameter_kind)
        columns: dict[int, int] = {}
        sample = [(own, numbers(tensor)) for own, tensor in pairs[:2000]]
        for position in range(len(before)):
            for column in range(len(own_before)):
                if column in columns.values():
                    continue
                same = all(own[column] == values[position] for own, values in sample)
                if same and (len({own for own, _ in sample}) > 1 or before[position] == own_before[column]):
                    columns[position] = column
                    break
        return columns
