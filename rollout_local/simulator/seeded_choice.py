"""Chance without a generator: every choice is a hash of what it depends on.

Two calls with the same parts give the same number on every machine and in every process, whatever was asked in
between; so an answer is a function of its request, and not of the order in which requests came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Chance:
    """What a choice may depend on: the seed, the request's key, and `twist` (0 but for further samples)."""

    seed: int
    key: str
    twist: int = 0


def digest(*parts: object) -> int:
    """A whole number in [0, 2**64) that depends on `parts` (by their `str`) and on nothing else."""
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def fraction(*parts: object) -> float:
    """A number in [0, 1) that depends on `parts`."""
    return (digest(*parts) >> 11) / 2.0**53


def pick(items: Sequence[T], *parts: object) -> T:
    """One of `items`, which must not be empty."""
    return items[digest(*parts) % len(items)]
