"""A line of a recording as types: what `lines` writes and reads, and the part of it that plain vcrpy reads."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class PlainRequest(TypedDict):
    """A request as plain vcrpy reads it."""

    method: str
    uri: str
    body: str | bytes | None
    headers: dict[str, list[str]]


class PlainStatus(TypedDict):
    """The status of an answer. `code` stands in for a failure, which plain vcrpy does not know."""

    code: int
    message: str


class PlainBody(TypedDict):
    """The body of an answer."""

    string: str | bytes | None


class PlainResponse(TypedDict):
    """An answer as plain vcrpy reads it."""

    status: PlainStatus
    headers: dict[str, list[str]]
    body: PlainBody


class PlainInteraction(TypedDict):
    """An interaction as plain vcrpy reads it."""

    request: PlainRequest
    response: PlainResponse


class LineFailure(TypedDict):
    """A failure, with the status that came before it."""

    client: str
    name: str
    message: str
    status: int | None


LineIndex = TypedDict(
    "LineIndex", {"key": str, "scope": str, "try": int, "outcome": int | str, "parts": str}
)  # `try` is no name
"""The fields that the index needs."""


class RecordedLine(LineIndex, PlainInteraction):
    """A whole line."""

    recorded_at: str
    seconds: float
    lease: str | None
    failure: NotRequired[LineFailure]
