"""What pydantic says of a value, for a sentence of ours."""

from __future__ import annotations

from pydantic import ValidationError


def first_problem(error: ValidationError) -> tuple[str, str]:
    """`(place, problem)` of the first one: the place as `a.b.0`, empty for the value as a whole; the problem in words
    that begin small.
    """
    first = error.errors()[0]
    words = str(first["msg"]).removeprefix("Value error, ")
    return ".".join(str(part) for part in first["loc"]), f"{words[:1].lower()}{words[1:]}"
