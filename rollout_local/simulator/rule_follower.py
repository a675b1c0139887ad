"""Doing what directives say: free text that has what it must and lacks what it must not, or a JSON object.

A phrase that is both asked for and forbidden is not said. Of several exact answers or values the last that applies
counts, a conditional one before an unconditional one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from rollout_local.simulator.examples import example_of
from rollout_local.simulator.rules import Directive, Kind
from rollout_local.simulator.seeded_choice import Chance, pick
from rollout_local.simulator.words import content_words, mentions

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_ANSWER_KEYS = ("answer", "reply", "response", "message", "text", "output", "summary")


def exact(rules: Sequence[Directive], message: str, chance: Chance) -> str | None:
    """The whole reply, where a directive gives it word for word."""
    chosen = _strongest(rules, "exact")
    return None if chosen is None else _best(chosen.values, message, "exact", chance)


def free_text(rules: Sequence[Directive], text: str, fillers: Sequence[str], limits: bool = True) -> str:
    """`text` with the phrases that are asked for, without the forbidden ones, within the limits of length."""
    banned = _phrases(rules, "forbid")
    start, middle, end = (_wanted(rules, kind, banned) for kind in ("prefix", "include", "suffix"))
    base = [sentence for sentence in _SENTENCE.split(text) if sentence and not _has(sentence, banned)]
    said = [phrase for phrase in middle if phrase not in " ".join(base)]
    said += [found for pattern in _phrases(rules, "pattern") if (found := _matching(pattern, " ".join(base)))]
    if limits:
        base = _lengthened(rules, base, said, [line for line in fillers if not _has(line, banned)])
        base = _shortened(rules, base, [*start, *said, *end])
    body = " ".join([*start, *base, *map(_closed, said), *end])
    return _cut(rules, body) if limits else body


def json_object(
    rules: Sequence[Directive], message: str, text: str, keys: Sequence[str], chance: Chance
) -> dict[str, Any]:
    """An object with the keys that are asked for (or `answer`), its values allowed, told, or words of the message."""
    named = [key for rule in rules if rule.kind == "keys" for key in rule.values]
    ruled = [rule.key for rule in rules if rule.kind in ("allowed", "allowed_list", "value", "value_list")]
    result: dict[str, Any] = {}
    for key in dict.fromkeys([*keys, *named, *ruled]) or ("answer",):
        _put(result, key, _value(rules, key, message, chance))
    spoken = next((key for key in _ANSWER_KEYS if isinstance(result.get(key), str)), None)
    spoken = spoken or next((key for key in result if key not in ruled and isinstance(result[key], str)), None)
    if spoken is not None:
        result[spoken] = free_text(rules, text if spoken in _ANSWER_KEYS else result[spoken], ())
    return result


def override(rules: Sequence[Directive], answer: dict[str, object]) -> dict[str, object]:
    """`answer` with the values that directives give outright, for the keys that it has."""
    told = {key: _told(rules, key) for key in answer}
    return {key: answer[key] if rule is None else _outright(rule) for key, rule in told.items()}


def as_json(answer: dict[str, Any]) -> str:
    """The text of a JSON object, as models write it: two spaces of indentation."""
    return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()


def _strongest(rules: Iterable[Directive], *kinds: Kind, key: str = "") -> Directive | None:
    fitting = [rule for rule in rules if rule.kind in kinds and rule.key == key and rule.values]
    return max(reversed(fitting), key=lambda rule: bool(rule.when), default=None)


def _told(rules: Sequence[Directive], key: str) -> Directive | None:
    return _strongest(rules, "value", "value_list", key=key)


def _value(rules: Sequence[Directive], key: str, message: str, chance: Chance) -> object:
    told = _told(rules, key)
    if told is not None:
        return _outright(told)
    allowed = _strongest(rules, "allowed", "allowed_list", key=key)
    if allowed is None:
        words = content_words(message)
        at = len(key) % max(len(words), 1)
        return " ".join(words[at : at + 3]) or "unknown"
    if allowed.kind == "allowed":
        return _best(allowed.values, message, key, chance)
    heard = [value for value in allowed.values if _overlap(value, message)]
    return heard or [_best(allowed.values, message, key, chance)]


def _outright(rule: Directive) -> object:
    if rule.kind == "value_list":
        return list(rule.values)
    return orjson.loads(rule.values[0].lower()) if rule.unit == "bare" else rule.values[0]


def _best(options: Sequence[str], message: str, about: str, chance: Chance) -> str:
    """The option that shares most words with the message; a tie is decided by hash of the message."""
    most = max(_overlap(option, message) for option in options)
    equal = [option for option in options if _overlap(option, message) == most]
    return pick(equal, "best", about, chance.seed, message, chance.twist)


def _overlap(option: str, message: str) -> int:
    return sum(mentions(message, word[:5]) for word in re.findall(r"[^\W_]{3,}", option))


def _put(result: dict[str, object], path: str, value: object) -> None:
    *outer, last = path.removeprefix("$.").split(".")
    for key in outer:
        inner = result.setdefault(key, {})
        result = inner if isinstance(inner, dict) else {}
    result[last] = value


def _phrases(rules: Iterable[Directive], kind: Kind) -> list[str]:
    return list(dict.fromkeys(phrase for rule in rules if rule.kind == kind for phrase in rule.values))


def _wanted(rules: Sequence[Directive], kind: Kind, banned: Sequence[str]) -> list[str]:
    return [phrase for phrase in _phrases(rules, kind) if not _has(phrase, banned)]


def _has(text: str, phrases: Iterable[str]) -> bool:
    lower = text.lower()
    return any(phrase.lower() in lower for phrase in phrases)


def _matching(pattern: str, text: str) -> str | None:
    try:
        return None if re.search(pattern, text) else example_of(pattern)
    except re.error:
        return None


def _closed(phrase: str) -> str:
    return phrase if phrase[-1:] in ".!?" else f"{phrase}."


def _size(text: str, unit: str) -> int:
    sizes = {"char": len(text), "word": len(text.split()), "sent": len(_SENTENCE.split(text))}
    return sizes[unit]


def _lengthened(rules: Sequence[Directive], base: list[str], said: list[str], fillers: Sequence[str]) -> list[str]:
    base = list(base)
    for rule in (rule for rule in rules if rule.kind == "min" and fillers):
        wanted = min(rule.number, 20_000)
        while _size(" ".join([*base, *said]), rule.unit) < wanted:
            base.append(fillers[len(base) % len(fillers)])
    return base


def _shortened(rules: Sequence[Directive], base: list[str], rest: list[str]) -> list[str]:
    base = list(base)
    for rule in (rule for rule in rules if rule.kind == "max"):
        while base and _size(" ".join([*base, *map(_closed, rest)]), rule.unit) > rule.number:
            base.pop()
    return base


def _cut(rules: Sequence[Directive], text: str) -> str:
    for rule in (rule for rule in rules if rule.kind == "max"):
        if rule.unit == "char":
            text = text[: rule.number].rstrip()
        elif rule.unit == "word":
            text = " ".join(text.split()[: rule.number])
    return text
