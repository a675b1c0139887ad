"""What a scripted student reads off a message: a text that stands there, found by a pattern, in the words of a wording.

Nothing here knows a message: the patterns say where such a text stands, and the instructions decide which are tried.
"""

from __future__ import annotations

from rollout_local.simulator.script import Concept
from rollout_local.simulator.seeded_choice import Chance, pick
from rollout_local.simulator.words import content_words


def read(concept: Concept, instructions: str, message: str, chance: Chance) -> str | None:
    """What the student says for a field with `extract`, or None where it found nothing and has no default."""
    value = _found(concept, instructions, message)
    if value is None:
        if concept.default is None:
            return None
        return str(concept.default).replace("{words}", ", ".join(content_words(message)[:3]) or "this")
    for wording in concept.wordings:
        told = wording.needs is None or wording.needs.search(instructions)
        if told and (wording.when is None or wording.when.search(message)):
            way = pick(wording.ways, "wording", concept.key, chance.seed, message, chance.twist)
            return way.replace("{value}", value)
    return value


def _found(concept: Concept, instructions: str, message: str) -> str | None:
    for way in concept.extract:
        if way.needs is not None and not way.needs.search(instructions):
            continue
        if way.unless is not None and way.unless.search(instructions):
            continue
        match = way.pattern.search(message)
        if match and match["value"]:
            return match["value"]
    return None
