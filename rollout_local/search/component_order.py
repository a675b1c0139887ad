"""A merge visits the components in one order, whatever PYTHONHASHSEED this Python was started with.

GEPA walks three kinds of set. Sets of candidate numbers and of val positions have the same order in every process,
because an int is its own hash. The third, the names of the components in `gepa.proposer.merge` (0.1.4), are strings:
where both parents of a merge changed several components and score alike, a die is thrown for each, in the order of
their hashes. Here that one set is walked in the order it has under PYTHONHASHSEED=0, in which the command, and plain
`dspy.GEPA` started so, walk it; a set of anything else, and one outside of a search of ours, is left as it is.

The order needs no second process: under that seed CPython's hash of a string is SipHash-1-3 with a key of zeros
(Python/pyhash.c), and a set of stand-ins with those hashes is laid out as the set of the strings would be. On a build
with another hash function (`sys.hash_info.algorithm`) the order is still the same in every process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from gepa.proposer import merge

_searching: ContextVar[bool] = ContextVar("rollout_orders_components", default=False)


@contextmanager
def components_in_order() -> Iterator[None]:
    """Inside the block, and in its thread, GEPA's merges visit components in the order of PYTHONHASHSEED=0."""
    merge.set = _Components  # a module's own name goes before the builtin; it stays, and does nothing outside
    token = _searching.set(True)
    try:
        yield
    finally:
        _searching.reset(token)


class _Components(set[object]):
    """A set that is walked in the order of hash seed 0 where it was made of strings in a search of ours."""

    def __init__(self, given: Iterable[object] = ()) -> None:
        items = list(given)
        super().__init__(items)
        names = [item for item in items if isinstance(item, str)]
        self._names = names if _searching.get() and len(names) == len(items) else []

    def __iter__(self) -> Iterator[object]:
        return iter(in_order(self._names)) if self._names else super().__iter__()


class _StandIn:
    """A name with the hash that it has under hash seed 0."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._hash = hash_under_seed_0(name)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StandIn) and other.name == self.name


def in_order(names: Iterable[str]) -> list[str]:
    """The order in which `set(names)` is walked by a Python that was started with PYTHONHASHSEED=0."""
    return [one.name for one in {_StandIn(name) for name in names}]


def hash_under_seed_0(text: str) -> int:
    """CPython's hash of a string under PYTHONHASHSEED=0: SipHash-1-3 of its characters in memory, key zero."""
    if not text:
        return 0
    signed = _siphash13(_in_memory(text))
    signed -= (signed >> 63) << 64
    return -2 if signed == -1 else signed


def _in_memory(text: str) -> bytes:
    """One, two or four bytes for each character, as the widest needs (PEP 393)."""
    widest = max(map(ord, text))
    width = 1 if widest < 0x100 else 2 if widest < 0x10000 else 4
    return b"".join(ord(character).to_bytes(width, sys.byteorder) for character in text)


_MASK = 2**64 - 1


def _siphash13(data: bytes) -> int:
    """SipHash with one round a word and three at the end (Aumasson and Bernstein, 2012), under a key of zeros."""
    state = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    whole = len(data) // 8 * 8
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, whole, 8)]
    for word in [*words, (len(data) & 0xFF) << 56 | int.from_bytes(data[whole:], "little")]:
        a, b, c, d = _round((*state[:3], state[3] ^ word))
        state = (a ^ word, b, c, d)
    state = (state[0], state[1], state[2] ^ 0xFF, state[3])
    for _ in range(3):
        state = _round(state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _round(state: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    a, b, c, d = state
    a = (a + b) & _MASK
    b = _turned(b, 13) ^ a
    a = _turned(a, 32)
    c = (c + d) & _MASK
    d = _turned(d, 16) ^ c
    a = (a + d) & _MASK
    d = _turned(d, 21) ^ a
    c = (c + b) & _MASK
    b = _turned(b, 17) ^ c
    return a, b, _turned(c, 32), d


def _turned(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _MASK
