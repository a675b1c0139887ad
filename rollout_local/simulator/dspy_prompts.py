"""The prompts that DSPy's adapters write, read back, and the replies that they expect.

Source of the formats: dspy/adapters/chat_adapter.py and json_adapter.py (3.4.1); the prompt of a GEPA proposal is
`ProposeInstruction` in dspy/teleprompt/gepa/instruction_proposal.py.
"""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass

from rollout_local.simulator.chat import ChatRequest
from rollout_local.simulator.rule_follower import as_json
from rollout_local.simulator.words import content_words

_OBJECTIVE = re.compile(r"your objective is:\s*\n", re.IGNORECASE)
_OUTPUTS = re.compile(r"Your output fields are:\n(.*?)\nAll interactions will be structured", re.DOTALL)
_FIELD = re.compile(r"^\d+\. `(\w+)` \(", re.MULTILINE)
_MAPPING = re.compile(r"^\d+\. `(\w+)` \(dict\[str, str\]\)", re.MULTILINE)
_SECTION = re.compile(r"^\[\[ ## (\w+) ## \]\]\n", re.MULTILINE)
_RESPOND = re.compile(
    r"\n*^Respond with (?:a JSON object|the corresponding output fields).*\Z", re.MULTILINE | re.DOTALL
)
_CURRENT = "[[ ## current_instruction ## ]]"
_EXAMPLES = "[[ ## examples_with_feedback ## ]]"
_LIMIT = re.compile(r"at most (\d+) characters")
_THOUGHT = ("reasoning", "rationale", "thought")


@dataclass(frozen=True)
class Form:
    """A request of a DSPy module: what it asks (`objective`, `message`) and the output fields it wants filled."""

    objective: str
    message: str
    fields: tuple[str, ...]
    as_json: bool
    mappings: tuple[str, ...] = ()
    """Fields that want a text per name."""

    def fill(self, reply: str) -> str:
        """`reply` in the form that the adapter parses: each field from a JSON reply's key, or the whole of it."""
        values = _object(reply)
        filled = {name: self._one(name, values, reply) for name in self.fields}
        if self.as_json:
            return as_json(filled)
        parts = [f"[[ ## {name} ## ]]\n{value}" for name, value in filled.items()]
        return "\n\n".join([*parts, "[[ ## completed ## ]]"])

    def _one(self, name: str, values: dict[str, object], reply: str) -> str:
        if name in values:
            value = values[name]
            return value if isinstance(value, str) else json.dumps(value)
        if name in _THOUGHT:
            return f"It is about {', '.join(content_words(self.message)[:3]) or 'this'}."
        return reply


@dataclass(frozen=True)
class Example:
    """One evaluated example of a proposal prompt: the text of its inputs, and its feedback."""

    inputs: str
    feedback: str


@dataclass(frozen=True)
class Proposal:
    """A GEPA proposal prompt. `limit` is the number of characters allowed, where the prompt has one."""

    instruction: str
    examples: tuple[Example, ...]
    limit: int | None


def form(ask: ChatRequest) -> Form | None:
    """The DSPy form of a request, or None where it is an ordinary chat."""
    outputs, objective = _OUTPUTS.search(ask.system), _OBJECTIVE.search(ask.system)
    if not outputs or not objective:
        return None
    return Form(
        objective=textwrap.dedent(ask.system[objective.end() :]).strip(),
        message=_RESPOND.sub("", ask.message).strip(),
        fields=tuple(_FIELD.findall(outputs[1])),
        as_json="Respond with a JSON object" in ask.message,
        mappings=tuple(_MAPPING.findall(outputs[1])),
    )


def proposal(message: str) -> Proposal | None:
    """Read a GEPA proposal prompt; None for any other message.

    Both texts may themselves have section headers, so the examples begin at the first header that a list of examples
    follows.
    """
    at = message.find(_CURRENT)
    first = message.find(_EXAMPLES, at)
    if at < 0 or first < 0:
        return None
    header = first
    while header >= 0:
        found = _examples(message[header + len(_EXAMPLES) :])
        if found is not None:
            break
        header = message.find(_EXAMPLES, header + 1)
    end = header if header >= 0 else first
    loose = Example("", _RESPOND.sub("", message[end + len(_EXAMPLES) :]))
    limit = _LIMIT.search(message[:at])
    return Proposal(
        instruction=message[at + len(_CURRENT) : end].strip(),
        examples=(loose,) if header < 0 or found is None else found,
        limit=int(limit[1]) if limit else None,
    )


def sections(message: str) -> dict[str, str]:
    """The input fields of a request of a DSPy module, by name."""
    parts = _SECTION.split(message)
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def names_in(message: str) -> list[str]:
    """The first input field that is a list of texts in JSON: what a text is wanted for each of."""
    for text in sections(message).values():
        found = _json(text)
        if isinstance(found, list) and found and all(isinstance(item, str) for item in found):
            return found
    return []


def feedback_in(message: str) -> list[str]:
    """What input fields that are JSON objects have under `feedback`."""
    found = (_json(text) for text in sections(message).values())
    return [str(value["feedback"]) for value in found if isinstance(value, dict) and "feedback" in value]


def instruction_in(message: str) -> str | None:
    """The input field that is an instruction to be bettered, or None."""
    return next((text for name, text in sections(message).items() if name.endswith("_instruction")), None)


def shortening(message: str) -> tuple[str, int] | None:
    """The text and the limit (characters) of DSPy's `CompressInstruction`; None for any other message."""
    match = re.search(r"\A\[\[ ## instruction ## \]\]\n(.*)\n\[\[ ## length_limit ## \]\]\n", message, re.DOTALL)
    limit = _LIMIT.search(message, match.end()) if match else None
    return (match[1].strip(), int(limit[1])) if match and limit else None


def _examples(text: str) -> tuple[Example, ...] | None:
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(item, dict) and "Feedback" in item for item in found):
        return None
    return tuple(Example("\n".join(_strings(item.get("Inputs"))), str(item["Feedback"])) for item in found)


def _strings(value: object) -> list[str]:
    """Every text inside a JSON value, keys left out."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _strings(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _strings(inner)]
    return [] if value is None else [str(value)]


def _object(reply: str) -> dict[str, object]:
    value = _json(reply)
    return value if isinstance(value, dict) else {}


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
