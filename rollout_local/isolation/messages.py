"""The messages between a run and a child: what each of them has, and who sends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from rollout_local.isolation.values import PackedError, PackedResult, PackedSpan, PackedStop
from rollout_local.recordings.remote import PackedTerms, RemoteReply, Request


class Placed(TypedDict):
    """A target and where it is loaded: the config as JSON, a capability with its files."""

    config: str
    folder: str
    run_id: str
    attempt: int
    terms: PackedTerms
    capability: dict[str, Any] | None


class Load(Placed):
    """The first order."""

    do: Literal["load"]
    path: list[str]
    argv: list[str]


class Run(TypedDict):
    """The order to execute a task, which is JSON; its `Result` has the same number."""

    do: Literal["run"]
    number: int
    scope: str
    task: str
    components: Mapping[str, str]


Answered = TypedDict("Answered", {"answer": NotRequired[RemoteReply], "raise": NotRequired[PackedStop]})
"""What became of a request: its answer, or what is to be raised for it."""


class Replied(Answered):
    """The answer to `AskRecording`, by its number."""

    do: Literal["reply"]
    number: int


class AskRecording(TypedDict):
    """Asks the recording."""

    do: Literal["ask"]
    number: int
    what: Request


class Print(TypedDict):
    """Something was printed."""

    do: Literal["print"]
    stream: str
    text: str


class TargetLoaded(TypedDict):
    """The target is ready."""

    do: Literal["loaded"]


class Failed(TypedDict):
    """The target could not be loaded."""

    do: Literal["failed"]
    words: str


class Told(TypedDict):
    """What came of a task: one of these. `broken` says why a result could not be told."""

    result: NotRequired[PackedResult]
    error: NotRequired[list[PackedError]]
    stop: NotRequired[PackedStop]
    broken: NotRequired[str]


class Result(Told):
    """What came of a task, its spans, and what the recording's guard noted and blocked in the child."""

    do: Literal["result"]
    number: int
    spans: list[PackedSpan]
    noted: list[str]
    blocked: list[str]


FromRun = Load | Run | Replied
FromChild = AskRecording | Print | TargetLoaded | Failed | Result
