"""Reflection: DSPy's own prompt, a reader that small local models can satisfy, and a memory.

A reply that is no JSON object is read in the other shapes that models answer in (`replies`) before it is given up. A
failure returns `{}`: an exception would make GEPA ask twice. A text equal to its parent counts as failed, and three
failures in a row stop the search, since going on would only spend the budget.

`InstructionProposer` is subclassed, not wrapped: GEPA shows a wrapper stringified examples, which is another
prompt (dspy/teleprompt/gepa/gepa_utils.py, `_builtin_instruction_proposer`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy
from dspy.adapters.json_adapter import JSONAdapter
from dspy.teleprompt.gepa import InstructionProposer
from dspy.utils.exceptions import AdapterParseError

from rollout_local.domain.identity import content_hash
from rollout_local.errors import NoProposals
from rollout_local.search.replies import FIELD, is_complete, is_cut_short, lines_in, literal_in, read_reply
from rollout_local.search.unusable import cut_by, problem, remembering

FAILURES_IN_A_ROW = 3
SAME_TEXT = "the reflection model gave the same text back"
CUT_SHORT = "was cut off in the middle of a sentence; a larger max_tokens with --reflection-param may help"

Reflect = Callable[[str, int, Callable[[], Any]], Any]
OnFailure = Callable[[str, str], None]


def proposer_of(own: Any, reflect: Reflect, on_failure: OnFailure, additional_instructions: str | None) -> object:
    """DSPy's proposer with our reader, or the user's `own`, remembered and watched alike."""
    if own is None:
        return Proposer(reflect, on_failure, additional_instructions)
    if isinstance(own, InstructionProposer):  # GEPA shows it the values themselves, and any other one strings
        return _RememberedBuiltin(own, reflect, on_failure)
    return Remembered(own, reflect, on_failure)


class Remembered:
    """A proposer of the user's: `(candidate, reflective_dataset, components_to_update) -> {component: text}`."""

    def __init__(self, own: Any, reflect: Reflect, on_failure: OnFailure) -> None:
        self._own = own
        self._reflect = reflect
        self._failures = Failures(on_failure)
        self._asked: Counter[str] = Counter()

    def __call__(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """The usable texts of what the user's proposer gave."""
        shown = [example for name in components_to_update for example in reflective_dataset.get(name, ())]
        key = reflection_hash(candidate, shown, ",".join(components_to_update))
        occurrence = self._asked[key]
        self._asked[key] += 1

        def produce() -> dict[str, Any]:
            return {"texts": dict(self._own(candidate, reflective_dataset, components_to_update))}

        given = self._reflect(key, occurrence, produce)["texts"]
        texts = {}
        for name in components_to_update:
            text = given.get(name)
            reason = "the proposer gave no text" if not isinstance(text, str) else _unusable(text, candidate[name])
            if reason is None and not text.strip():
                reason = "the proposer gave an empty text"
            if reason is None:
                texts[name] = text
                self._failures.reset()
            else:
                self._failures.add(name, reason, asked_before=occurrence > 0)
        return texts


class _RememberedBuiltin(Remembered, InstructionProposer):  # type: ignore[misc]
    """The same around a configured `InstructionProposer`."""


class Failures:
    """Failed proposals in a row; too many end the search, since going on would only spend the budget.

    That a model sees nothing to change on one minibatch says nothing of the next: the parent's own text is a failure
    only where the same question was put before.
    """

    def __init__(self, on_failure: OnFailure) -> None:
        self._on_failure = on_failure
        self._count = 0

    def reset(self) -> None:
        """A usable text came."""
        self._count = 0

    def add(self, component: str, reason: str, *, asked_before: bool) -> None:
        """Tell of a failure; raises `NoProposals` after the last one allowed."""
        self._count = 0 if reason == SAME_TEXT and not asked_before else self._count + 1
        self._on_failure(component, reason)
        if self._count >= FAILURES_IN_A_ROW:
            msg = f"the reflection model gave no usable text {self._count} times in a row (the last: {reason})"
            raise NoProposals(msg)


class Proposer(InstructionProposer):  # type: ignore[misc]
    """DSPy's proposer with our reader, memory and sense of failure.

    `reflect(input hash, occurrence, produce)` remembers finished reflections; `on_failure(component, reason)`
    is told of each one that gave no usable text.
    """

    def __init__(self, reflect: Reflect, on_failure: OnFailure, additional_instructions: str | None) -> None:
        super().__init__(additional_instructions=additional_instructions, adapter=ReadingAdapter())
        self._reflect = reflect
        self._failures = Failures(on_failure)
        self._asked: Counter[str] = Counter()

    def __call__(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """A new text for each component that got a usable one; `{}` where none did."""
        texts: dict[str, str] = {}
        for component in components_to_update:
            if component in candidate and component in reflective_dataset:
                text = self._propose_one(candidate, reflective_dataset, component)
                if text is not None:
                    texts[component] = text
        return texts

    def _propose_one(
        self, candidate: dict[str, str], dataset: Mapping[str, Sequence[Mapping[str, Any]]], component: str
    ) -> str | None:
        key = reflection_hash(candidate, dataset[component], component)
        occurrence = self._asked[key]
        self._asked[key] += 1

        def produce() -> dict[str, str]:
            return self._ask(candidate, dataset, component)

        reply = self._reflect(key, occurrence, produce)
        reason = reply.get("failure") or _unusable(str(reply["text"]), candidate[component])
        if reason is None:
            self._failures.reset()
            return str(reply["text"])
        self._failures.add(component, reason, asked_before=occurrence > 0)
        return None

    def _ask(
        self, candidate: dict[str, str], dataset: Mapping[str, Sequence[Mapping[str, Any]]], component: str
    ) -> dict[str, str]:
        try:
            with remembering():
                text: str = super().__call__(candidate, dataset, [component])[component]
            reason = problem(text, dataset[component])
            return {"text": text} if reason is None else {"failure": _reply(reason, text)}
        except AdapterParseError as error:
            said = str(error.lm_response or "")
            reason = error.reason if isinstance(error, CutReply) else cut_by(dspy.settings.lm) or "has no usable text"
            return {"failure": _reply(reason, said)}
        except ValueError as error:  # an empty text, or characters that UTF-8 cannot write
            return {"failure": f"the reflection gave no usable text ({_one_line(error)})"}


class CutReply(AdapterParseError):  # type: ignore[misc]
    """A reply that stops in the middle, and why."""

    def __init__(self, signature: Any, completion: str, reason: str) -> None:
        super().__init__("JSONAdapter", signature, completion, reason)
        self.reason = reason


class ReadingAdapter(JSONAdapter):  # type: ignore[misc]
    """A `JSONAdapter` with the same prompt, which also reads replies that are not JSON."""

    def parse(self, signature: Any, completion: str) -> dict[str, object]:
        """The fields of the reply. Raises `AdapterParseError` where nothing in it can be an instruction."""
        if list(signature.output_fields) != [FIELD]:
            fields: dict[str, Any] = super().parse(signature, completion)
            return fields
        cut = cut_by(dspy.settings.lm)
        if cut is not None and not is_complete(completion):
            raise CutReply(signature, completion, cut)
        if is_cut_short(completion):
            raise CutReply(signature, completion, CUT_SHORT)
        try:
            text: str | None = super().parse(signature, completion)[FIELD]
            value = literal_in(text or "")  # the adapter shows an object or a list as Python writes it
            text = text if value is None else lines_in(value)
        except AdapterParseError:
            text = read_reply(completion)
        if text is None:
            raise AdapterParseError("JSONAdapter", signature, completion)
        return {FIELD: text}


def _unusable(text: str, parent: str) -> str | None:
    if text.strip() == parent.strip():
        return SAME_TEXT
    if text in ("None", "null"):  # how the adapter reads a JSON null
        return "the reflection model gave null for a text"
    return None


def _reply(reason: str, said: str) -> str:
    """What became of a reply, and how it begins."""
    return f"the reply of the reflection model {reason}" + (f"; it begins {said[:80]!r}" if said else "")


def _one_line(error: Exception) -> str:
    return ascii(" ".join(str(error).split())[:160])[1:-1]


def reflection_hash(candidate: Mapping[str, str], examples: Sequence[Mapping[str, Any]], component: str) -> str:
    """`sha256:…` of what one reflection is asked: the texts, the examples as shown, the component."""
    shown = [json.loads(json.dumps(dict(example), default=str, sort_keys=True)) for example in examples]
    return content_hash({"candidate": dict(candidate), "component": component, "examples": shown})
