"""Checks of the output as text. Case does not count unless `case_sensitive` says so."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from rollout_local.verifiers.labels import as_number, identity, label, label_number, label_text, phrase
from rollout_local.verifiers.quoting import around, parting, quote
from rollout_local.verifiers.subject import MISSING, PERFECT, Outcome, Params, Subject, find

_NUMBER = re.compile(r"(?<![\w.,])[-+]?(?:[0-9][0-9,]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_BY_CHARACTER = 1000
_WORDS = 2000


def contains(params: Params, subject: Subject) -> Outcome:
    """1 where the value occurs in the output."""
    value = phrase(params, subject.task)
    if _find(value, subject.text, params):
        return PERFECT
    return 0.0, f"expected the output to contain {quote(value)}; it does not"


def not_contains(params: Params, subject: Subject) -> Outcome:
    """1 where the value does not occur in the output."""
    value = phrase(params, subject.task)
    found = _find(value, subject.text, params)
    if not found:
        return PERFECT
    text, start = found
    return 0.0, f"the output must not contain {quote(value)}, but it does: {around(text, start, start + len(value))}"


def matches(params: Params, subject: Subject) -> Outcome:
    """1 where `re.search` finds the pattern."""
    if re.search(params["pattern"], subject.text):
        return PERFECT
    return 0.0, f"nothing in the output matches /{params['pattern']}/"


def equals(params: Params, subject: Subject) -> Outcome:
    """1 where output and value are equal once trimmed; a value that is no text is compared as JSON."""
    value = label(params, subject.task)
    if not isinstance(value, str) and not subject.document.problem:
        if identity(value, params) == identity(subject.document.value, params):
            return PERFECT
        return 0.0, f"expected {quote(value)}, found {quote(subject.document.value)}"
    if not isinstance(value, str):
        return 0.0, f"expected {quote(value)}, found {quote(subject.text)}"
    return _equal_texts(value.strip(), subject.text.strip(), params)


def min_length(params: Params, subject: Subject) -> Outcome:
    """1 where the output has at least `value` characters."""
    length, least = len(subject.text), params["value"]
    return PERFECT if length >= least else (0.0, f"the output has {length} characters, at least {least} are needed")


def max_length(params: Params, subject: Subject) -> Outcome:
    """1 where the output has at most `value` characters."""
    length, most = len(subject.text), params["value"]
    return PERFECT if length <= most else (0.0, f"the output has {length} characters, at most {most} are allowed")


def numeric_close(params: Params, subject: Subject) -> Outcome:
    """1 where a number is within `abs_tol` or `rel_tol` (of the expected one) of the value.

    The number is the one at `path` of the output as JSON or, without a path, the last in the text.
    """
    expected = label_number(params, subject.task)
    tolerance = max(params.get("abs_tol", 1e-6), params.get("rel_tol", 0.0) * abs(expected))
    start = f"{params['path']}: expected" if "path" in params else "expected"
    wanted = f"{start} {expected:.12g} (within {tolerance:g})"
    number, where = _number_in(subject, params.get("path"))
    if number is None:
        return 0.0, f"{wanted}, {where}"
    if abs(number - expected) <= tolerance:
        return PERFECT
    return 0.0, f"{wanted}, found {number:.12g}; it is off by {abs(number - expected):.6g}"


def similarity(params: Params, subject: Subject) -> Outcome:
    """The share of the two texts that is alike (`alike`), from 0 to 1."""
    value = label_text(params, subject.task)
    score = alike(_cased(value.strip(), params), _cased(subject.text.strip(), params))
    if score == 1.0:
        return PERFECT
    return score, f"expected something like {quote(value)}, found {quote(subject.text)}; they are {score:.2f} alike"


def alike(one: str, other: str) -> float:
    """Difflib's ratio of two texts: 2 × what matches / both lengths.

    By characters where both have at most 1,000, else by words, of which beyond the first 2,000 of each none
    counts as matching; equal texts are 1. So it is bounded in time for outputs of any size.
    """
    if one == other:
        return 1.0
    if max(len(one), len(other)) <= _BY_CHARACTER:
        return SequenceMatcher(None, one, other, autojunk=False).ratio()
    words, others = one.split(), other.split()
    if words == others:
        return 1.0
    blocks = SequenceMatcher(None, words[:_WORDS], others[:_WORDS], autojunk=False).get_matching_blocks()
    return 2.0 * sum(block.size for block in blocks) / (len(words) + len(others))


def _equal_texts(value: str, text: str, params: Params) -> Outcome:
    if _cased(value, params) == _cased(text, params):
        return PERFECT
    where = parting(value, text, fold=not params.get("case_sensitive"))
    return 0.0, f"expected {quote(value)}, found {quote(text)}{where}"


def _cased(text: str, params: Params) -> str:
    return text if params.get("case_sensitive") else text.casefold()


def _find(value: str, text: str, params: Params) -> tuple[str, int] | None:
    """The text in which the value was found, and where; folded only where folding moves characters."""
    position = _cased(text, params).find(_cased(value, params))
    if position < 0:
        return None
    cased = _cased(text, params)
    return (text, position) if len(cased) == len(text) else (cased, position)


def _number_in(subject: Subject, path: str | None) -> tuple[float | None, str]:
    """The number, or None and why there is none."""
    if path is None:
        found = [match[0] for match in _NUMBER.finditer(subject.text)]
        return (as_number(found[-1]) if found else None), f"found no number in {quote(subject.text)}"
    if subject.document.problem:
        return None, "but the output is not valid JSON"
    value = find(subject.document.value, path)
    if value is MISSING:
        return None, "found nothing at that path"
    return as_number(value), f"found {quote(value)}, which is no number"
