"""A reflection model: current instruction + examples with feedback → a better instruction.

It only writes what the feedback says, as far as the script's lessons reach; the instruction that it was given stays,
word for word, but for lines of lessons that it extends.
"""

from __future__ import annotations

import json

from rollout_local.simulator import student
from rollout_local.simulator.chat import ChatRequest
from rollout_local.simulator.dspy_prompts import (
    Example,
    Form,
    Proposal,
    feedback_in,
    instruction_in,
    names_in,
    proposal,
    shortening,
)
from rollout_local.simulator.dspy_prompts import form as dspy_form
from rollout_local.simulator.feedback_reader import Fact, add_line, learn, write
from rollout_local.simulator.script import Reflection, ScriptedStudent
from rollout_local.simulator.seeded_choice import Chance, fraction, pick

_ANYONE = ScriptedStudent()
_RUBBISH = ("", "???", "...", "\n\n", "[]", "null")


def answer(rules: Reflection, ask: ChatRequest, chance: Chance) -> str:
    """The reply to a proposal prompt in the script's form, or to a form that wants advice or an instruction.

    Any other request is answered as by a student.
    """
    prompt = proposal(ask.message) or proposal(ask.system)  # without a system message the whole text is there
    if prompt is not None:
        return _sent(rules, "new_instruction", propose(rules, prompt, chance), chance)
    long = shortening(ask.message)
    if long is not None:
        return _sent(rules, "shortened_instruction", _shortened(*long), chance)
    form = dspy_form(ask)
    if form is not None and (form.mappings or instruction_in(form.message) is not None):
        return form.fill(json.dumps(_filled(rules, form, chance), ensure_ascii=False))
    return student.answer(_ANYONE, ask, chance)


def _filled(rules: Reflection, form: Form, chance: Chance) -> dict[str, object]:
    """Advice for each of the names that are given, and an instruction better than the one that is given."""
    examples = tuple(Example("", text) for text in feedback_in(form.message))
    given = instruction_in(form.message) or ""
    prompt = Proposal(given, examples, None)
    lines = [fact.line for fact in _facts(rules, prompt, chance)][: rules.max_new]
    advice = " ".join(lines or ([pick(rules.advice, "advice", chance.seed, chance.key)] if rules.advice else []))
    filled: dict[str, object] = {name: dict.fromkeys(names_in(form.message), advice) for name in form.mappings}
    if given:
        filled |= {name: propose(rules, prompt, chance) for name in form.fields if name.endswith("_instruction")}
    return filled


def propose(rules: Reflection, prompt: Proposal, chance: Chance) -> str:
    """The new instruction: up to `max_new` lessons more, or else a line of advice, or else the same text."""
    limit = min(rules.max_chars, prompt.limit or rules.max_chars)
    text, learned = prompt.instruction, 0
    for fact in _facts(rules, prompt, chance):
        better = write(text, fact, rules.heading)
        if better is not None and len(better) <= limit:
            text, learned = better, learned + 1
        if learned == rules.max_new:
            break
    return text if learned else _advised(rules, text, limit, chance)


def _facts(rules: Reflection, prompt: Proposal, chance: Chance) -> list[Fact]:
    facts = learn(rules.lessons, prompt.examples, prompt.instruction)
    seen = [fact for fact in facts if fraction("miss", fact.line, chance.seed, chance.key, chance.twist) >= rules.miss]
    if chance.twist:
        seen.sort(key=lambda fact: fraction("order", fact.line, chance.seed, chance.key, chance.twist))
    return seen


def _advised(rules: Reflection, text: str, limit: int, chance: Chance) -> str:
    fresh = [line for line in rules.advice if line not in text]
    if not fresh:
        return text
    better = add_line(text, pick(fresh, "advice", chance.seed, chance.key, chance.twist), rules.heading)
    return better if len(better) <= limit else text


def _shortened(text: str, limit: int) -> str:
    lines = text.splitlines()
    while len(lines) > 1 and len("\n".join(lines)) > limit:
        lines.pop()
    return "\n".join(lines)[:limit]


def _sent(rules: Reflection, field: str, text: str, chance: Chance) -> str:
    if rules.reply == "plain":
        return text
    if rules.reply == "rubbish":
        return pick(_RUBBISH, "rubbish", chance.seed, chance.key, chance.twist)
    body = json.dumps({field: text}, ensure_ascii=False)
    return f"Here is the new instruction:\n\n```json\n{body}\n```" if rules.reply == "fenced" else body
