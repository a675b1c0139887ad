"""How much of a prompt was copied from the training tasks: runs of words that stand in both.

A prompt that carries answers over scores well on the tasks that it was made from and says nothing about
others. Words are compared without case and punctuation. An instruction that several tasks share is the
dataset's wording, not a task's own, and does not count; every input and expected output does.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rollout_local.domain.dataset import Task
from rollout_local.reports.report import Overlap

COPIED = 8
"""Words in a row that hardly stand in two texts by chance."""
EXAMPLES = 3

_WORD = re.compile(r"\w+")


def overlap(prompt: str, tasks: Sequence[Task]) -> Overlap:
    """`{longest_ngram, copied_fraction, examples: [{task, words, text}]}` of a prompt and its train tasks.

    `longest_ngram` is in words; `copied_fraction` in [0, 1] is the share of the prompt's words that lie in a
    copied run of at least eight.
    """
    words = _WORD.findall(prompt)
    folded = [word.casefold() for word in words]
    runs = sorted(_runs(folded, _documents(tasks)), key=lambda run: (run[0] - run[1], run[0], run[2]))
    copied = {position for start, end, _ in runs for position in range(start, end)}
    return {
        "longest_ngram": runs[0][1] - runs[0][0] if runs else _longest_short(folded, tasks),
        "copied_fraction": len(copied) / len(words) if words else 0.0,
        "examples": [
            {"task": task, "words": end - start, "text": " ".join(words[start:end])}
            for start, end, task in _apart(runs)[:EXAMPLES]
        ],
    }


def _documents(tasks: Sequence[Task]) -> Iterator[tuple[str, list[str]]]:
    """`(task name, words)` of every text that is a task's own."""
    instructions = Counter(task.instruction for task in tasks)
    for task in tasks:
        own = [task.instruction] if instructions[task.instruction] == 1 else []
        for text in [*own, *_strings(task.input), *_strings(task.expected_output)]:
            yield task.name, [word.casefold() for word in _WORD.findall(text)]


def _strings(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _strings(item)]
    return []


def _runs(words: Sequence[str], documents: Iterable[tuple[str, list[str]]]) -> set[tuple[int, int, str]]:
    """`(start, end, task)` in the prompt of every run of at least `COPIED` words that a document has as well."""
    starts: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for start in range(len(words) - COPIED + 1):
        starts[tuple(words[start : start + COPIED])].append(start)
    found = set()
    for task, document in documents if starts else ():
        for place in range(len(document) - COPIED + 1):
            for start in starts.get(tuple(document[place : place + COPIED]), ()):
                if not (start and place and words[start - 1] == document[place - 1]):
                    found.add((start, start + _shared(words[start:], document[place:]), task))
    return found


def _shared(left: Sequence[str], right: Sequence[str]) -> int:
    """How many words two texts share from their beginning."""
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return length


def _longest_short(words: Sequence[str], tasks: Sequence[Task]) -> int:
    """The longest shared run where it is below `COPIED` words."""
    documents = [document for _, document in _documents(tasks)]
    for length in range(COPIED - 1, 0, -1):
        wanted = {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}
        for document in documents:
            places = range(len(document) - length + 1)
            if any(tuple(document[place : place + length]) in wanted for place in places):
                return length
    return 0


def _apart(runs: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """The runs that do not lie within a longer one before them."""
    kept: list[tuple[int, int, str]] = []
    for start, end, task in runs:
        if not any(start < other_end and other_start < end for other_start, other_end, _ in kept):
            kept.append((start, end, task))
    return kept
