"""Questions that are nearly the same: the share of words that two of them have in common (Jaccard similarity).

All pairs are found without comparing all: two sets of which one shares enough with the other share one of their rarest
words (prefix filtering; Chaudhuri, Ganti and Kaushik 2006, "A Primitive Operator for Similarity Joins").
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from rollout_local.domain.dataset import Task
from rollout_local.domain.identity import content_hash

ALIKE = 0.8
"""The share of words from which two questions count as nearly the same."""
FEWEST_WORDS = 4
"""Shorter questions are alike by chance, and are compared as a whole."""
_WORD = re.compile(r"\w+")


def similar_pairs(first: Sequence[Task], second: Sequence[Task]) -> list[tuple[str, str]]:
    """Pairs of a task of `first` and one of `second` whose questions are nearly the same, by name, in their order."""
    words = _words_of([*first, *second])
    rarity = Counter(word for task in (*first, *second) for word in words[id(task)])
    holders: dict[str, list[int]] = defaultdict(list)
    for index, task in enumerate(second):
        for word in _prefix(words[id(task)], rarity):
            holders[word].append(index)
    found = []
    for task in first:
        own = words[id(task)]
        near = sorted({index for word in _prefix(own, rarity) for index in holders[word]})
        found += [(task.name, second[index].name) for index in near if _alike(own, words[id(second[index])])]
    return found


def similar_groups(tasks: Sequence[Task]) -> list[list[str]]:
    """Names of tasks whose questions are the same or nearly so, directly or through others; each is in one group."""
    leader = {task.name: task.name for task in tasks}

    def root(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    equal: dict[str, str] = {}
    same = [(task.name, equal.setdefault(content_hash(task.question), task.name)) for task in tasks]
    for one, other in [*same, *similar_pairs(tasks, tasks)]:
        first, last = sorted((root(one), root(other)))
        leader[last] = first
    groups: dict[str, list[str]] = defaultdict(list)
    for task in tasks:
        groups[root(task.name)].append(task.name)
    return list(groups.values())


def _words_of(tasks: Sequence[Task]) -> dict[int, frozenset[str]]:
    """The words that each task asks with, by its identity. An instruction that all share tells no two apart."""
    instructions = {task.instruction for task in tasks if task.input}
    shared = instructions.pop() if len(instructions) == 1 else None
    return {
        id(task): frozenset(_WORD.findall(" ".join(_texts(task, without=shared)).lower())) for task in tasks
    }  # fmt: skip


def _texts(task: Task, without: str | None) -> Iterator[str]:
    if task.instruction != without or not task.input:
        yield task.instruction
    yield from _leaves(task.input)


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield str(value)


def _prefix(words: Iterable[str], rarity: Counter[str]) -> Iterator[str]:
    ordered = sorted(words, key=lambda word: (rarity[word], word))
    yield from ordered[: len(ordered) - math.ceil(ALIKE * len(ordered)) + 1]


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    if min(len(one), len(other)) < FEWEST_WORDS:
        return one == other and bool(one)
    return len(one & other) >= ALIKE * len(one | other)
