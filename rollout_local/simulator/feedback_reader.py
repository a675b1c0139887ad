"""From feedback to facts: which lines of instruction a proposal prompt teaches, and where they already stand.

A fact is one line of instruction. The same line learned from several examples is one fact; captures of a `merge`
group, and condition words, are collected in it. `write` never repeats a fact that the instruction has: it extends the
line, or says that there is nothing to add.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rollout_local.simulator.dspy_prompts import Example
from rollout_local.simulator.script import Lesson
from rollout_local.simulator.words import content_words, quote, quoteds

_SLOT = "\x00"
_NAME = re.compile(r"(?<![^\W\d_])[A-Z][^\W\d_]+")
_WHEN = r'(?:When the message mentions (?P<when>"(?:[^"\\]|\\.)*"(?: or "(?:[^"\\]|\\.)*")*): )?'


@dataclass(frozen=True)
class Fact:
    """One line of instruction: `frame` with its merged `items` in the slot, under the condition `words`."""

    frame: str
    items: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    generalize: int | None = None

    @property
    def line(self) -> str:
        """The line as it is written, without a bullet."""
        body = self.frame.replace(_SLOT, quote(self.items))
        if not self.words or (self.generalize is not None and len(self.words) >= self.generalize):
            return body
        return f"When the message mentions {' or '.join(map(quote, ([word] for word in self.words)))}: {_lowered(body)}"


def learn(lessons: Sequence[Lesson], examples: Sequence[Example], instruction: str) -> list[Fact]:
    """The facts that the examples' feedback teaches, in the order of the lessons, then of the examples."""
    open_to = [lesson for lesson in lessons if _may_learn(lesson, instruction)]
    shown = [(lesson, at, fact) for at, example in enumerate(examples) for lesson, fact in _read(open_to, example)]
    facts: dict[str, Fact] = {}
    for lesson in open_to:
        mine = [(at, fact) for taught, at, fact in shown if taught is lesson]
        for at, fact in mine:
            words = _condition(lesson, fact, at, mine, examples)
            known = facts.get(fact.frame)
            facts[fact.frame] = _joined(known, fact, words)
    return list(facts.values())


def write(instruction: str, fact: Fact, heading: str) -> str | None:
    """`instruction` with `fact` in it; None where it has it already."""
    lines = instruction.splitlines()
    line = _finder(fact.frame)
    for at, text in enumerate(lines):
        match = line.fullmatch(text)
        if match:
            better = _extended(match, fact)
            if better is None:
                return None
            lines[at] = f"{match['bullet']}{better.line}"
            return "\n".join(lines)
    return add_line(instruction, fact.line, heading)


def add_line(instruction: str, line: str, heading: str) -> str:
    """`instruction` with `line` as the last item of the list under `heading`."""
    text = instruction.rstrip()
    if heading not in text.splitlines():
        text = f"{text}\n\n{heading}\n" if text else f"{heading}\n"
    return f"{text}\n- {line}"


def _may_learn(lesson: Lesson, instruction: str) -> bool:
    if lesson.needs is not None and not lesson.needs.search(instruction):
        return False
    return lesson.unless is None or not lesson.unless.search(instruction)


def _read(lessons: Sequence[Lesson], example: Example) -> Iterator[tuple[Lesson, Fact]]:
    for line in example.feedback.splitlines():
        found = [pair for lesson in lessons if not lesson.fallback for pair in _matches(lesson, line, example)]
        yield from found or [pair for lesson in lessons if lesson.fallback for pair in _matches(lesson, line, example)]


def _matches(lesson: Lesson, line: str, example: Example) -> Iterator[tuple[Lesson, Fact]]:
    if lesson.input is not None and not lesson.input.search(example.inputs):
        return
    for match in lesson.pattern.finditer(line):
        groups = {name: text or "" for name, text in match.groupdict().items()}
        items: tuple[str, ...] = ()
        if lesson.merge:
            captured = groups[lesson.merge]
            items = tuple(quoteds(captured)) or (captured,)
            groups[lesson.merge] = _SLOT
        yield lesson, Fact(lesson.template.format_map(groups), items, generalize=lesson.generalize)


def _condition(
    lesson: Lesson, fact: Fact, at: int, mine: Sequence[tuple[int, Fact]], examples: Sequence[Example]
) -> tuple[str, ...]:
    if lesson.condition == "never":
        return ()
    showing = {index for index, _ in mine}
    agreeing = {index for index, other in mine if other.frame == fact.frame}
    if lesson.condition == "auto" and len(showing) > 1 and agreeing == showing:
        return ()
    others = [example.inputs for index, example in enumerate(examples) if index not in agreeing]
    word = _rarest(examples[at], fact.frame, others)
    return () if word is None else (word,)


def _rarest(example: Example, frame: str, others: Sequence[str]) -> str | None:
    """The word of the inputs that tells this example best from the others: rare, and near to what is taught."""
    heard = [set(content_words(text)) for text in others]
    near = {word[:5] for word in content_words(f"{frame}\n{example.feedback}")}
    names = {name.lower() for name in _NAME.findall(example.inputs)}
    ranked = [
        (sum(word in words for words in heard), word[:5] not in near, word in names, -len(word), at, word)
        for at, word in enumerate(content_words(example.inputs))
    ]
    return min(ranked)[-1] if ranked else None


def _joined(known: Fact | None, fact: Fact, words: tuple[str, ...]) -> Fact:
    if known is None:
        return replace(fact, words=words)
    items = tuple(dict.fromkeys([*known.items, *fact.items]))
    both = tuple(dict.fromkeys([*known.words, *words])) if known.words and words else ()
    return replace(known, items=items, words=both)


def _finder(frame: str) -> re.Pattern[str]:
    first, rest = re.escape(frame[:1]), re.escape(frame[1:]).replace(re.escape(_SLOT), "(?P<items>.*)")
    head = f"(?i:{first})" if first != re.escape(_SLOT) else "(?P<items>.*)"
    return re.compile(rf"(?P<bullet>\s*(?:[-*]\s+)?){_WHEN}{head}{rest}")


def _extended(match: re.Match[str], fact: Fact) -> Fact | None:
    written = match.groupdict()
    items, when = quoteds(written.get("items") or ""), quoteds(written["when"] or "")
    better = replace(fact, items=tuple(dict.fromkeys([*items, *fact.items])))
    if when and fact.words:
        better = replace(better, words=tuple(dict.fromkeys([*when, *fact.words])))
    elif not when:
        better = replace(better, words=())
    same = len(better.items) == len(items) and len(better.words) == len(when)
    return None if same else better


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
