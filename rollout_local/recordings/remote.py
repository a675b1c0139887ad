"""A recording whose clients are in another process: they ask, and the process that holds the file answers.

Invariant: there is one door. Whatever the other process asks passes `Recording.begin` here, in the scope that it is
asked in, and is answered from the file, refused, or sent by the client that asks; what came is written here before
that client hands on the last of it. The other process knows no file, and keeps the same guard: no socket in a replay.
Messages are values that JSON can say; who carries them is not known here.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from rollout_local.recordings import clients, current, guard, scopes
from rollout_local.recordings.exchange import Answer, Failure, FailureKind, RecordMode, Terms
from rollout_local.recordings.identity import Asked, Reader
from rollout_local.recordings.session import Call, Classify, Recording
from rollout_local.redaction import Redactor


class PackedFailure(TypedDict):
    """A failure as JSON."""

    kind: FailureKind
    client: str
    name: str
    message: str


class PackedAnswer(TypedDict):
    """An answer as JSON; its body as base64."""

    status: int | None
    reason: str
    headers: Sequence[tuple[str, str]]
    body: str | None
    failure: PackedFailure | None
    cut: bool


class PackedTerms(TypedDict):
    """Terms as JSON."""

    path: str | None
    mode: str
    hosts: Sequence[str] | None
    rehearsed: bool


class Begin(TypedDict):
    """Asks for a request's answer, under the number that both processes know the call by."""

    do: Literal["begin"]
    call: int
    scope: str
    astray: bool
    client: str
    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: str | None


class End(TypedDict):
    """Tells how a call ended; without an answer where nothing is to be recorded."""

    do: Literal["end"]
    call: int
    answer: PackedAnswer | None
    encoded: bool


class RemoteReply(TypedDict):
    """What a message is answered with: to `Begin` the answer, or None where the request is to be sent."""

    answer: NotRequired[PackedAnswer | None]


Request = Begin | End
Ask = Callable[[Request], RemoteReply]
"""Hands a message to the process that holds the recording, and gives its answer; raises what was raised there."""


class Door:
    """In the process that holds the recording: answers one other process. Used by one thread at a time."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._calls: dict[int, Call] = {}

    def answer(self, request: Request) -> RemoteReply:
        """What a request of `RemoteRecording` is answered with. Raises what the recording raises."""
        if request["do"] == "begin":
            return self._begin(request)
        call = self._calls.pop(request["call"], None)
        if call is not None and request["answer"] is not None:
            call.settled(_unpacked(request["answer"]), encoded=request["encoded"])
        elif call is not None:
            call.drop()
        return {}

    def close(self) -> None:
        """The other process is gone: nothing more is heard of what it had under way."""
        for call in self._calls.values():
            call.drop()
        self._calls.clear()

    def _begin(self, request: Begin) -> RemoteReply:
        headers = [(name, value) for name, value in request["headers"]]
        with scopes.on_behalf(request["scope"], astray=request["astray"]):
            call = self._recording.begin(
                request["client"], _says_itself, request["method"], request["url"], headers, _bytes(request["body"])
            )
        if call.answer is not None:
            return {"answer": _packed(call.answer)}
        self._calls[request["call"]] = call
        return {"answer": None}


class RemoteRecording(Recording):
    """In the process that asks: stands where the open recording stands."""

    def __init__(self, terms: Terms, ask: Ask) -> None:
        path = None if terms.path is None else Path(terms.path)
        super().__init__(path, terms.mode, reader=Reader(Redactor({})), covered=clients.COVERED)
        self._ask = ask
        self._numbers = itertools.count(1)

    def begin(
        self,
        client: str,
        classify: Classify,
        method: str,
        url: str,
        headers: Iterable[tuple[str, str]],
        body: bytes | None,
    ) -> Call:
        """As `Recording.begin`, there."""
        number, scope = next(self._numbers), scopes.scope_name()
        told = self._ask({
            "do": "begin", "call": number, "scope": scope, "astray": scopes.is_astray(), "client": client,
            "method": method, "url": url, "headers": list(headers), "body": _text(body),
        })  # fmt: skip
        call = RemoteCall(self, Asked(method, url, (), None, "", [], None, b"", ""), scope, number, client, classify)
        if told["answer"] is not None:
            call.play(_unpacked(told["answer"]))
        return call

    def finish(self, number: int, answer: Answer | None, encoded: bool) -> None:
        """Hand over how a call ended; None where nothing is to be recorded."""
        packed = None if answer is None else _packed(answer)
        self._ask({"do": "end", "call": number, "answer": packed, "encoded": encoded})


class RemoteCall(Call):
    """One request under way; its `attempt` is the number that both processes know it by."""

    __slots__ = ()
    _recording: RemoteRecording

    def play(self, answer: Answer) -> None:
        """It is answered already."""
        self.answer, self._done = answer, True

    def drop(self) -> None:
        """Nothing is to be recorded."""
        if not self._done:
            self._done = True
            self._recording.finish(self.attempt, None, encoded=False)

    def _end(self, answer: Answer, encoded: bool) -> None:
        self._done = True
        self._recording.finish(self.attempt, answer, encoded)


@contextmanager
def opened(terms: Terms, ask: Ask) -> Iterator[RemoteRecording]:
    """Cover every client of this process until the block ends, on those terms."""
    recording = RemoteRecording(terms, ask)
    with ExitStack() as stack:
        clients.check()
        current.enter(recording)
        stack.callback(current.leave, recording)
        stack.enter_context(guard.noting(recording.bypasses))
        if terms.mode is RecordMode.NONE:
            made_up = terms.rehearsed
            recording.blocked = stack.enter_context(guard.no_sockets(switches=not made_up, programs=not made_up))
        elif terms.hosts is not None:
            recording.blocked = stack.enter_context(guard.only_hosts(guard.Doors(terms.hosts)))
        stack.enter_context(clients.installed())
        yield recording


def pack_terms(terms: Terms) -> PackedTerms:
    """The terms as they are told to another process."""
    return {"path": terms.path, "mode": terms.mode, "hosts": terms.hosts, "rehearsed": terms.rehearsed}


def unpack_terms(packed: PackedTerms) -> Terms:
    """The terms again."""
    hosts = packed["hosts"]
    return Terms(
        packed["path"], RecordMode(packed["mode"]), None if hosts is None else tuple(hosts), packed["rehearsed"]
    )


def _says_itself(_: BaseException) -> None:
    """What a failure is was read by the client that met it."""


def _packed(answer: Answer) -> PackedAnswer:
    failure = answer.failure
    return {
        "status": answer.status,
        "reason": answer.reason,
        "headers": answer.headers,
        "body": _text(answer.body),
        "failure": None
        if failure is None
        else {"kind": failure.kind, "client": failure.client, "name": failure.name, "message": failure.message},
        "cut": answer.cut,
    }


def _unpacked(packed: PackedAnswer) -> Answer:
    failure = packed["failure"]
    headers = tuple((name, value) for name, value in packed["headers"])
    return Answer(
        packed["status"], packed["reason"], headers, _bytes(packed["body"]) or b"",
        None if failure is None else Failure(**failure), packed["cut"],
    )  # fmt: skip


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
