"""How what a target gave is kept: an output as a text, metadata as JSON, an error as its words.

Values that JSON cannot say are refused or left out, and said so: a `repr` has addresses in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from rollout_local.domain.identity import canonical_json

LONGEST = 20_000
"""Characters of an error that are kept: a reflection model reads them."""


def kept_output(output: object) -> tuple[str, str] | None:
    """How an output is kept, `(kind, text)`; None where JSON cannot say it."""
    if isinstance(output, str):
        return "text", output
    try:
        return "json", canonical_json(output)
    except (TypeError, ValueError, RecursionError):
        return None


def unsayable(kind: str) -> object:
    """What stands for an output that JSON cannot say: something of a type of that name, which does nothing."""
    return type(kind, (), {})()


def kept_metadata(metadata: Mapping[str, object]) -> dict[str, object]:
    """Metadata as JSON; what JSON cannot say becomes its `repr`, and where even that fails it is left out, and said."""
    try:
        plain: dict[str, object] = json.loads(json.dumps(dict(metadata), default=_repr_of, allow_nan=False))
        canonical_json(plain)
    except (TypeError, ValueError, RecursionError):
        return {"left_out": "what the target put in metadata is nothing that JSON can say"}
    return plain


def words_of(error: BaseException) -> str:
    """What an exception says, be its own code at fault; of what is very long, the beginning."""
    try:
        words = str.__str__(str(error))
        more = len(words) - LONGEST
        return words if more <= 0 else f"{words[:LONGEST]}… ({more} more characters)"
    except BaseException as problem:  # noqa: BLE001 - a class's own code
        return f"(its words raised {type(problem).__name__})"


def _repr_of(value: object) -> str:
    try:
        return repr(value)
    except BaseException as error:  # noqa: BLE001 - a class's own code
        return f"(a {type(value).__name__} whose repr raised {type(error).__name__})"
