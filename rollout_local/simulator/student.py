"""A weak student: it reads its instructions, the message, and answers as well as its script lets it.

The answer is a function of the request, the seed and `twist`. Its free text and its habits depend on the message and
not on the instructions, so that a change of instructions changes only what it says to change.
"""

from __future__ import annotations

from typing import Any

from rollout_local.simulator import dspy_prompts
from rollout_local.simulator.chat import ChatRequest
from rollout_local.simulator.concepts import values
from rollout_local.simulator.rule_follower import as_json, exact, free_text, json_object, override
from rollout_local.simulator.rules import Directive, parse
from rollout_local.simulator.script import ScriptedStudent
from rollout_local.simulator.seeded_choice import Chance, pick
from rollout_local.simulator.words import content_words


def answer(rules: ScriptedStudent, ask: ChatRequest, chance: Chance) -> str:
    """What the student replies. A prompt of DSPy's adapters is answered in the form that it asks for."""
    form = dspy_prompts.form(ask)
    if form is None:
        return _reply(rules, ask, ask.system, ask.message, chance)
    read = tuple(field for field in rules.fields if field.extract and field.key in form.fields)
    if read:
        return form.fill(as_json(_read(rules.model_copy(update={"fields": read}), form, chance)))
    return form.fill(_reply(rules, ask, form.objective, form.message, chance, bare=True))


def _read(rules: ScriptedStudent, form: dspy_prompts.Form, chance: Chance) -> dict[str, Any]:
    directives = [rule for rule in parse(form.objective)[: rules.follow] if rule.applies(form.message)]
    return override(directives, values(rules, form.objective, form.message, chance))


def _reply(
    rules: ScriptedStudent, ask: ChatRequest, instructions: str, message: str, chance: Chance, bare: bool = False
) -> str:
    known = parse(instructions)[: rules.follow]
    directives = [rule for rule in known if rule.applies(message)]
    word_for_word = exact(directives, message, chance)
    if word_for_word is not None:
        return word_for_word
    as_object = rules.json_when.search(instructions) is not None or (ask.json_wanted and not bare)
    if rules.fields:
        found = override(directives, values(rules, instructions, message, chance))
        text = _prose(rules, found, message, chance)
    else:
        text = _free(rules, message, chance)
        keys = () if bare else ask.schema_keys
        found = json_object(directives, message, text, keys, chance) if as_object else {}
    if not as_object:
        return free_text(directives, text, rules.fillers)
    unfenced = bare or ask.json_wanted or rules.bare_when.search(instructions) is not None
    return as_json(found) if unfenced else _fenced(rules, found, message, chance, directives)


def _free(rules: ScriptedStudent, message: str, chance: Chance) -> str:
    template = pick(rules.replies, "reply", chance.seed, message, chance.twist)
    words = content_words(message)[:3]
    return template.replace("{words}", ", ".join(words) or "this")


def _prose(rules: ScriptedStudent, found: dict[str, object], message: str, chance: Chance) -> str:
    lead = pick(rules.leads, "lead", chance.seed, message, chance.twist)
    parts = [rules.sentence.replace("{key}", key).replace("{value}", _said(value)) for key, value in found.items()]
    return f"{lead} {'; '.join(parts)}." if parts else lead


def _said(value: object) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value)) or "none"
    return str(value)


def _fenced(
    rules: ScriptedStudent, found: dict[str, object], message: str, chance: Chance, directives: list[Directive]
) -> str:
    lead = free_text(directives, pick(rules.fence_leads, "fence", chance.seed, message, chance.twist), (), limits=False)
    return f"{lead}\n```json\n{as_json(found)}\n```"
