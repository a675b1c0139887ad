r"""Reading text the way the simulated models do: content words, and quoted strings.

Quoted strings are JSON strings where they can be ("say \"hi\""), so that a phrase survives the way from feedback
into an instruction and from there into an answer unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache

QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)+)"|“([^”\n]+)”|`([^`\n]+)`|(?<!\w)\'([^\'\n]+)\'(?!\w)')
_WORD = re.compile(r"[^\W\d_]{4,}")
_STOP = frozenset(
    re.findall(
        r"\w+",
        """about above after again also although always another anything around asks because been before being below
    between both came cannot come could does doing done down each either else even every from further gets give given
    goes going hello here hers have having hello into itself just keep kept kind know known later least less like made
    make makes many maybe might more most much must need needs never next none nothing only onto other ours over
    please quite rather really said same says seem seen shall should since some someone something soon still such
    take tell than thank thanks that their them then there these they thing things this those through till together
    told took toward under until upon used using very want wants were what when where whether which while will with
    within without would your yours dear regards input instruction message true false null text task""",
    )
)


@lru_cache(maxsize=4096)
def content_words(text: str) -> tuple[str, ...]:
    """The words of `text` that carry meaning, in order, lower case, each once."""
    found = (word.lower() for word in _WORD.findall(text))
    return tuple(dict.fromkeys(word for word in found if word not in _STOP))


def unquote(match: re.Match[str]) -> str:
    """What a match of `QUOTED` stands for."""
    double = match.group(1)
    if double is None:
        return next(group for group in match.groups() if group is not None)
    try:
        return str(json.loads(f'"{double}"', strict=False))
    except ValueError:
        return str(double)


def quoteds(text: str) -> list[str]:
    """The quoted strings of `text`, in order, without their quotes."""
    return [unquote(match) for match in QUOTED.finditer(text)]


def quote(items: Iterable[str]) -> str:
    """`items` as a comma-separated list of JSON strings; `quoteds` reads it back."""
    return ", ".join(json.dumps(item, ensure_ascii=False) for item in items)


@lru_cache(maxsize=4096)
def _starts_with(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}", re.IGNORECASE)


def mentions(text: str, word: str) -> bool:
    """Whether `text` has a word (or several in a row) that begins with `word`, in any case."""
    return _starts_with(word).search(text) is not None


@lru_cache(maxsize=4096)
def _exactly(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])")


def spells(text: str, word: str) -> bool:
    """Whether `text` has exactly `word`, in this case, as a word of its own ("high" is not in "high-level")."""
    return _exactly(word).search(text) is not None
