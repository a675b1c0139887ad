"""Which columns of a table are question and expected answer, where nobody says: by their names, or by their values.

A guess is told to the user, who can name others; where nothing speaks for one column, nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from rollout_local.datasets.paths import root_of
from rollout_local.datasets.sources import Row
from rollout_local.domain.identity import canonical_json
from rollout_local.errors import InputError

QUESTIONS = (
    "instruction", "question", "prompt", "query", "input", "message", "text", "content", "body", "request", "sentence",
    "review", "email", "ticket", "description",
)  # fmt: skip
"""Names of a column that holds what the agent is asked, the likeliest first."""
ANSWERS = (
    "expected", "expected_output", "expected_answer", "label", "answer", "target", "gold", "output", "category",
    "class", "topic", "intent", "sentiment", "response", "completion", "reference",
)  # fmt: skip
"""Names of a column that holds what is expected of it, the likeliest first."""
MOST_LABELS = 20


@dataclass(frozen=True)
class Roles:
    """The columns of the question and the answer, and the labels where the answers are few and come again."""

    question: str
    answer: str
    labels: tuple[str, ...]


def roles_of(rows: Sequence[Row], question: str | None, answer: str | None, where: str) -> Roles:
    """Find the columns that are not given. Raises `InputError` where there is nothing that speaks for one of them."""
    names = list(dict.fromkeys(name for row in rows for name in row.cells))
    for given in filter(None, (question, answer)):
        if root_of(given) not in names:
            msg = f'{where} has no column "{given}"; the columns are {", ".join(names)}'
            raise InputError(msg)
    answer = answer or _named(ANSWERS, names, besides=question) or _repeating(rows, names, question)
    question = question or _named(QUESTIONS, names, besides=answer) or _longest(rows, names, answer)
    if question is None or answer is None:
        _refuse(where, names)
    values = [row.cells.get(answer) for row in rows]
    texts = sorted({value for value in values if isinstance(value, str)})
    few = len(texts) == len({canonical_json(value) for value in values}) and _come_again(texts, len(rows))
    return Roles(question, answer, tuple(texts) if few else ())


def _named(wanted: Iterable[str], names: Sequence[str], besides: str | None) -> str | None:
    plain = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in names if name != besides}
    return next((plain[name] for name in wanted if name in plain), None)


def _repeating(rows: Sequence[Row], names: Sequence[str], besides: str | None) -> str | None:
    """The one column whose values are few and come again."""
    found = [
        name
        for name in names
        if name != besides and _come_again({canonical_json(row.cells.get(name)) for row in rows}, len(rows))
    ]
    return found[0] if len(found) == 1 else None


def _come_again(values: Iterable[str], of: int) -> bool:
    return 1 < len(list(values)) <= min(MOST_LABELS, of // 2)


def _longest(rows: Sequence[Row], names: Sequence[str], besides: str | None) -> str | None:
    """The text column with the longest texts."""
    lengths = {
        name: sum(len(text) for row in rows if isinstance(text := row.cells.get(name), str))
        for name in names
        if name != besides
    }
    longest = max(lengths, key=lambda name: lengths[name], default=None)
    return longest if longest is not None and lengths[longest] else None


def _refuse(where: str, names: Sequence[str]) -> NoReturn:
    msg = (
        f"{where}: which column is the question and which the expected answer cannot be told from the columns "
        f"({', '.join(names)}); give --instruction COLUMN and --expected COLUMN"
    )
    raise InputError(msg)
