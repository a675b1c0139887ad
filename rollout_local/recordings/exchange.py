"""What passes between a client and a provider, as values.

Invariant: nothing here holds a secret. Whatever is put into an `Asked`, an `Answer` of the recording or an
`Exchange` has been through a `redaction.Redactor` first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

FailureKind = Literal["timeout", "connection"]
Headers = tuple[tuple[str, str], ...]


class RecordMode(StrEnum):
    """vcrpy's words (vcr/record_mode.py): what may be sent, and what is served from the file."""

    NEW_EPISODES = "new_episodes"
    NONE = "none"
    ONCE = "once"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that ended without an answer, or in the middle of one.

    `name` is the exception's class in the library `client`; another library replays it as its own class of
    the same `kind`.
    """

    kind: FailureKind
    client: str
    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as its client is given it: body decoded from any content-encoding.

    `status` is None where the failure came before the head of a response. With both a status and a failure
    the body is what had passed before it broke. `cut` says that the caller closed it before its end.
    """

    status: int | None
    reason: str
    headers: Headers
    body: bytes
    failure: Failure | None = None
    cut: bool = False

    @property
    def outcome(self) -> int | str:
        """The status code, or `timeout`, `connection`, `cut`."""
        if self.failure is not None:
            return self.failure.kind
        return "cut" if self.cut or self.status is None else self.status


def is_transient(outcome: int | str) -> bool:
    """Whether a client would ask again after this: no answer that a replay should dwell on."""
    return not isinstance(outcome, int) or outcome in (408, 409, 425, 429) or outcome >= 500


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, told to the sink before the caller sees the answer.

    `scope` is "" outside any scope. `key` identifies the request; `question` identifies it without its model
    and path, so a fallback to another model can be told from another question. Bodies are parsed JSON, or
    text, or None; an SSE stream is its raw text. `status` is None after a failure, which `error` names
    (`timeout`, `connection`). `started` is `time.time()`; `duration` and `retry_after` are in seconds.
    `replayed` is true where the recording answered and no provider was called. `cut`: the caller closed the
    response before its end.
    """

    scope: str
    key: str
    question: str
    method: str
    url: str
    request_body: object
    status: int | None
    response_body: object
    error: str | None
    retry_after: float | None
    started: float
    duration: float
    replayed: bool
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Unplayed:
    """An interaction that a replay did not ask for; `line` counts from 1 (an interaction's number, if foreign)."""

    line: int
    key: str
    scope: str
    method: str
    url: str


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the recording was opened; `from_other_scope` is a part of `replayed`."""

    recorded: int
    replayed: int
    missed: int
    unplayed: int
    from_other_scope: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What a process keeps to whose requests another one records.

    `mode` is `none` where nothing may be sent, `hosts` what an offline run may reach (None: it is not offline), and
    `rehearsed` says that answers are made up.
    """

    path: str | None
    mode: RecordMode
    hosts: tuple[str, ...] | None
    rehearsed: bool
