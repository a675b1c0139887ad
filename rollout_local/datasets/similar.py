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
from rollout_local.domain.identity import canonical_json

ALIKE = 0.8
"""The share of words from which two questions count as nearly the same."""
FEWEST_WORDS = 4
"""Shorter questions are alike by chance, and are compared as a whole."""


def similar_pairs(first: Sequence[Task], second: Sequence[Task]) -> list[tuple[str, str]]:
    """Pairs of a task of `first` and one of `second` whose questions are nearly the same, by name, in their order."""
    words = {id(task): question_words(task) for task in (*first, *second)}
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
    """Names of tasks whose questions are nearly the same, directly or through others; each name is in one group."""
    leader = {task.name: task.name for task in tasks}

    def root(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for one, other in similar_pairs(tasks, tasks):
        leader[max(root(one), root(other))] = min(root(one), root(other))
    groups: dict[str, list[str]] = defaultdict(list)
    for task in tasks:
        groups[root(task.name)].append(task.name)
    return list(groups.values())


def question_words(task: Task) -> frozenset[str]:
    """The words of a task's question, in lower case."""
    return frozenset(re.findall(r"\w+", canonical_json(task.question).lower()))


def _prefix(words: Iterable[str], rarity: Counter[str]) -> Iterator[str]:
    ordered = sorted(words, key=lambda word: (rarity[word], word))
    yield from ordered[: len(ordered) - math.ceil(ALIKE * len(ordered)) + 1]


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    if min(len(one), len(other)) < FEWEST_WORDS:
        return one == other and bool(one)
    return len(one & other) >= ALIKE * len(one | other)
