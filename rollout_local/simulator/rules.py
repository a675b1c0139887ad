r"""What a set of instructions tells a weak student to do, as a list of directives.

A directive is recognised by its wording, one clause at a time (a line, or a sentence in it), and nothing else is:

    mention/include/say/add/contain/use/write/state … "A", "B"     the reply has these phrases, once each
    start/begin with "A" · end/close with "A"                       … at its beginning, its end
    do not/never/avoid/without … "A" · instead of "A"               the reply never has them
    answer/reply/… exactly/only "A" (or "B" …)                      the reply is "A" (of several: one, by the message)
    JSON … keys/fields "a", `b`, or bare: a, b and c                the reply is an object with these keys
    `k` … one of: a, b, c · `k` … values from: a, b                 allowed values of a key: one of them; a list of them
    `k` is/must be "v" (or a bare number, true, false, null)        the value of a key
    `k` contains "v", "w"                                           a key whose value is a list with these
    match the pattern/regex `re`                                    the reply has a text that matches
    at most / at least N characters/words/sentences                 limits (max, under, no more than, minimum …)

Any of them applies conditionally after `When the message mentions "A" or "B": ` (also if/whenever, input, customer,
request, question …, contains/says/includes/asks about): only for messages with a word that begins so. Quotes are
"…" (JSON string), “…”, `…` or '…'.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from rollout_local.simulator.words import QUOTED, mentions, unquote

Kind = Literal[
    "include", "prefix", "suffix", "forbid", "exact", "keys", "allowed", "allowed_list", "value", "value_list",
    "pattern", "max", "min",
]  # fmt: skip


@dataclass(frozen=True)
class Directive:
    """One thing to do. `key` names a JSON key; `number` and `unit` are a limit's; `when` are condition words."""

    kind: Kind
    values: tuple[str, ...] = ()
    key: str = ""
    number: int = 0
    unit: str = ""
    when: tuple[str, ...] = ()

    def applies(self, message: str) -> bool:
        """Whether it holds for this message."""
        return not self.when or any(mentions(message, word) for word in self.when)


_I = re.IGNORECASE
_MARK = "\x00{}\x01"
_Q = "\x00(\\d+)\x01"
_BULLET = re.compile(r"^\s*(?:[-*+•>]\s+|\d+[.)]\s+|#+\s+)*")
_CONDITION = re.compile(
    r"^(?:when|if|whenever|for)\s+(?:the\s+|a\s+|an\s+)?(?:user'?s?\s+|customer'?s?\s+)?"
    r"(?:messages?|inputs?|users?|customers?|requests?|questions?|texts?|tasks?|tickets?|emails?|query|queries|they|it)\b"
    r"[^:,\x00]*?\b(?:mention|contain|say|include|ask|is about|are about)(?:s|ing)?\b[^:,\x00]*"
    r"((?:\x00\d+\x01(?:,?\s*(?:or|and)\s+|,\s*(?=\x00))?)+)\s*[:,]?\s*(?:then\s+)?",
    _I,
)
_CLAUSE = re.compile(r"(?<=[.;!?])\s+")
_LIMIT = re.compile(
    r"\b(?:(?P<max>at most|no more than|not more than|a maximum of|maximum(?: of)?|max|under|fewer than|less than|up to"
    r"|within)"
    r"|(?P<min>at least|a minimum of|minimum(?: of)?|no fewer than|no less than|more than))\s+(?P<number>\d+)\s+"
    r"(?P<unit>character|char|word|sentence)s?\b",
    _I,
)
_PATTERN = re.compile(rf"\bmatch(?:es|ing)?\b[^\x00]*\b(?:pattern|regex|regular expression)s?\b[^\x00]*{_Q}", _I)
_KEYS = re.compile(r"\b(?:keys?|fields?)\b(?:\s+(?:named|called|are))?:?\s*(?P<list>.*)$", _I)
_ASIDE = re.compile(r"\([^)]*\)?")
_OBJECT = re.compile(r"\b(?:json|object)\b", _I)
_ALLOWED = re.compile(
    rf"^(?:the\s+)?(?:(?:key|field|value)\s+)?(?:of\s+)?(?:{_Q}|(?P<bare>[\w.-]+))(?=[\s:=])[^\x00.]{{0,50}}?"
    r"\b(?:one of|(?P<many>values from|any of|some of|subset of))(?: these| the following)?(?: values)?:?"
    r"\s*(?P<list>.+)$",
    _I,
)
_ANSWER = frozenset(re.findall(r"\w+", "answer reply respond response output return print choose pick select"))
_SAY = frozenset(re.findall(r"\w+", "mention include use say add write contain state cite quote tell"))
_VALUE = re.compile(
    rf"^(?:set\s+|the\s+)?(?:(?:key|field|value)\s+)?(?:of\s+)?{_Q}\s+(?:field\s+|key\s+)?"
    r"(?:(?:must|should|has to)\s+)?(?:(?P<many>contain|include|list)s?|is|be|are|equals?|to|=|:)\s*(?:exactly\s+)?"
    r"(?P<list>\x00.*|-?\d+(?:\.\d+)?\b|true\b|false\b|null\b)",
    _I,
)
_EXACT = re.compile(
    r"\b(?:answer|reply|respond|output|return|print|write)s?\b[^\x00]*"
    rf"\b(?:exactly|only|just|one of|either)\b[^\x00]*{_Q}",
    _I,
)
_NOT_EXACT = re.compile(r"\b(?:phrase|(?<!one )word|keyword|sentence|key|field|json)s?\b", _I)
_WALK = re.compile(
    r"(?P<also>\b(?:do not|don't|never) (?:forget|fail|omit|skip)\b)"
    r"|(?P<forbid>\b(?:do not|don't|never|avoid(?:ing)?|(?:must|should|may|can) ?not|mustn't|shouldn't|can't|instead of"
    r"|rather than|without|refrain from|leave out|no mention of|not(?=\s*\x00))(?:\b|(?=\x00)))"
    r"|(?P<prefix>\b(?:start|begin|open)(?:s|ing)?\b[^\x00]{0,30}\bwith\b)"
    r"|(?P<suffix>\b(?:end|close|finish|sign off)(?:s|ing)?\b[^\x00]{0,30}\bwith\b)"
    r"|(?P<include>\b(?:(?:mention|say|add|contain|append|cite|quote|tell)(?:s|ing)?|(?:write|use|include|state)s?"
    r"|(?:writ|us|includ|stat)ing)\b)"
    rf"|{_Q}",
    _I,
)
_LIST_BREAK = re.compile(r"\s*(?:,\s*(?:and|or)\b|,|\band\b|\bor\b)\s*", _I)


@lru_cache(maxsize=512)
def parse(instructions: str) -> tuple[Directive, ...]:
    """All directives in `instructions`, in order. Never fails: what is not understood is not followed."""
    return tuple(directive for line in instructions.splitlines() for directive in _line(line))


def _line(line: str) -> Iterator[Directive]:
    strings: list[str] = []

    def mask(match: re.Match[str]) -> str:
        strings.append(unquote(match))
        return _MARK.format(len(strings) - 1)

    masked = QUOTED.sub(mask, _BULLET.sub("", line.replace("\x00", "").replace("\x01", "")))
    condition = _CONDITION.match(masked)
    when = tuple(_strings(condition[1], strings)) if condition else ()
    for clause in _CLAUSE.split(masked[condition.end() :] if condition else masked):
        for directive in _clause(clause.strip(), strings):
            yield replace(directive, when=when) if when else directive


def _strings(text: str, strings: list[str]) -> list[str]:
    return [strings[int(number)] for number in re.findall(_Q, text)]


def _listed(text: str, strings: list[str]) -> tuple[str, ...]:
    """A list of values: quoted ones where there are any, else bare words up to the end of the clause."""
    if "\x00" in text:
        return tuple(dict.fromkeys(_strings(text, strings)))
    bare = (item.strip(" .;!?:[](){}") for item in _LIST_BREAK.split(text))
    return tuple(dict.fromkeys(item for item in bare if item and len(item.split()) <= 3))


def _clause(clause: str, strings: list[str]) -> Iterator[Directive]:
    for limit in _LIMIT.finditer(clause):
        kind: Kind = "max" if limit["max"] else "min"
        yield Directive(kind, number=int(limit["number"]), unit=limit["unit"].lower()[:4])
    for read in (_pattern, _keys, _value, _allowed, _exact):
        directive = read(clause, strings)
        if directive is not None:
            yield directive
            return
    yield from _phrases(clause, strings)


def _pattern(clause: str, strings: list[str]) -> Directive | None:
    match = _PATTERN.search(clause)
    return Directive("pattern", (strings[int(match[1])],)) if match else None


def _keys(clause: str, strings: list[str]) -> Directive | None:
    match = _KEYS.search(clause)
    if not match or not _OBJECT.search(clause):
        return None
    keys = _listed(_ASIDE.sub("", match["list"]), strings)
    return Directive("keys", keys) if keys and all(" " not in key for key in keys) else None


def _allowed(clause: str, strings: list[str]) -> Directive | None:
    match = _ALLOWED.search(clause)
    if not match or (match["bare"] or "").lower() in _SAY:
        return None
    values = _listed(match["list"], strings)
    if match["bare"] and match["bare"].lower() in _ANSWER:
        return Directive("exact", values)
    key = strings[int(match[1])] if match[1] else match["bare"]
    return Directive("allowed_list" if match["many"] else "allowed", values, key)


def _value(clause: str, strings: list[str]) -> Directive | None:
    match = _VALUE.search(clause)
    if not match:
        return None
    many = match["many"] is not None or len(re.findall(_Q, match["list"])) > 1
    bare = not match["list"].startswith("\x00")
    values = (match["list"],) if bare else _listed(match["list"], strings)
    return Directive("value_list" if many else "value", values, strings[int(match[1])], unit="bare" if bare else "")


def _exact(clause: str, strings: list[str]) -> Directive | None:
    match = _EXACT.search(clause)
    if not match or _NOT_EXACT.search(clause) or re.search(r"\b(?:not|never|don't)\b", clause[: match.start(1)], _I):
        return None
    return Directive("exact", tuple(_strings(clause[match.start(1) - 1 :], strings)))


def _phrases(clause: str, strings: list[str]) -> Iterator[Directive]:
    mode: Kind | None = None
    open_ban = False
    for match in _WALK.finditer(clause):
        group = match.lastgroup
        if match[match.re.groups] is not None:
            open_ban = False
            if mode is not None:
                yield Directive(mode, (strings[int(match[match.re.groups])],))
        elif group == "forbid":
            mode, open_ban = "forbid", True
        elif not open_ban:
            mode = _mode(group)


def _mode(group: str | None) -> Kind:
    if group == "prefix":
        return "prefix"
    return "suffix" if group == "suffix" else "include"
