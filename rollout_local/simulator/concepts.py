"""What a scripted student can tell from a message, and the words it has for it.

Knowledge and vocabulary are separate: a student that knows the right label still writes its own word for it, until
its instructions have the exact one.
"""

from __future__ import annotations

from typing import Any

from rollout_local.simulator.reading import read
from rollout_local.simulator.script import Concept, Cue, Label, ScriptedStudent, Slip
from rollout_local.simulator.seeded_choice import Chance, fraction, pick
from rollout_local.simulator.words import spells


def values(rules: ScriptedStudent, instructions: str, message: str, chance: Chance) -> dict[str, Any]:
    """The student's answer, field by field: the keys and labels as it writes them, in the script's order."""
    answer: dict[str, Any] = {}
    for concept in rules.fields:
        if concept.needs is not None and not concept.needs.search(instructions):
            continue
        if concept.extract:
            text = read(concept, instructions, message, chance)
            answer |= {} if text is None else {concept.key: text}
            continue
        labels = _slipped(concept, _labels(concept, instructions, message), rules.slips, instructions, chance)
        if labels is None:
            continue
        names = [_written(label, instructions, message, chance) for label in labels]
        answer[_key(concept, instructions)] = names if concept.set else names[0]
    return answer


def _labels(concept: Concept, instructions: str, message: str) -> list[Label] | None:
    found = [(label, rank) for label in concept.labels if (rank := _rank(label, instructions, message)) is not None]
    if found and concept.set:
        return [label for label, _ in found]
    if found:
        return [max(found, key=lambda pair: pair[1])[0]]
    if concept.default is None:
        return [] if concept.set else None
    return [label for label in concept.labels if label.name in concept.defaults]


def _rank(label: Label, instructions: str, message: str) -> int | None:
    """The priority of the strongest cue that the student notices, or None where there is none."""
    ranks = [
        label.priority if cue.priority is None else cue.priority
        for cue in label.cues
        if _noticed(cue, instructions, message)
    ]
    return max(ranks, default=None)


def _noticed(cue: Cue, instructions: str, message: str) -> bool:
    if cue.needs is not None and not cue.needs.search(instructions):
        return False
    return cue.pattern.search(message) is not None and not (cue.unless and cue.unless.search(message))


def _slipped(
    concept: Concept, labels: list[Label] | None, slips: tuple[Slip, ...], instructions: str, chance: Chance
) -> list[Label] | None:
    for number, slip in enumerate(slips):
        told = slip.unless is not None and slip.unless.search(instructions) is not None
        rate = slip.told_rate if told else slip.rate
        if fraction("slip", number, concept.key, chance.seed, chance.key, chance.twist) >= rate:
            continue
        if slip.kind == "drop":
            return None
        labels = [_neighbour(concept, label) for label in labels or ()] or labels
    return labels


def _neighbour(concept: Concept, label: Label) -> Label:
    return concept.labels[(concept.labels.index(label) + 1) % len(concept.labels)]


def _written(label: Label, instructions: str, message: str, chance: Chance) -> str:
    told = label.told.search(instructions) is not None if label.told else spells(instructions, label.name)
    return label.name if told else pick(label.habits, "habit", chance.seed, message, chance.twist)


def _key(concept: Concept, instructions: str) -> str:
    if concept.key_habit is None or spells(instructions, concept.key):
        return concept.key
    return concept.key_habit
