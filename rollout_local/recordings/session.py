"""An open recording: what is served, what is sent, what is written, and who is told.

Invariant: before a caller sees an answer it is on disk (or claimed from there), and the sink knows it. A request
that may not be sent raises a `BaseException` (`RecordingMiss`, `Paused`, or what the gate raises), because DSPy
and GEPA turn every `Exception` into a score of 0; only a thread that is in no scope, some library's own, meets a failed
connection, of which it does not die.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from rollout_local.errors import Paused, RecordingMiss, StopSearch
from rollout_local.limits import TooLarge
from rollout_local.recordings import lines, scopes
from rollout_local.recordings.bypass import Bypasses
from rollout_local.recordings.closest import parts_of
from rollout_local.recordings.exchange import (
    Answer,
    Exchange,
    Failure,
    FailureKind,
    Headers,
    RecordMode,
    Stats,
    Terms,
    Unplayed,
)
from rollout_local.recordings.exporters import Exporter, exporter_of
from rollout_local.recordings.file import Memory, Tape
from rollout_local.recordings.guard import Doors
from rollout_local.recordings.identity import Asked, Reader, uncompressed
from rollout_local.recordings.lines import Interaction
from rollout_local.recordings.playback import Cassette
from rollout_local.recordings.readable import readable, retry_after

Sink = Callable[[Exchange], None]
Gate = Callable[[str, object, str], None]
"""Called with the scope, the parsed body and the address before a request is sent; may raise a `BaseException`."""
StandIn = Callable[[Asked], Answer]
"""Answers a request in place of a provider; may raise a `BaseException`."""
Classify = Callable[[BaseException], FailureKind | None]


class Recording:
    """The recording that is open. `sink` is told of every exchange; `gate` may refuse a request before it is sent."""

    def __init__(
        self,
        path: Path | None,
        mode: RecordMode,
        *,
        reader: Reader,
        covered: str,
        tape: Tape | Memory | None = None,
        cassette: Cassette | None = None,
        strict: bool = False,
        lease: str | None = None,
        doors: Doors | None = None,
        note: str = "",
        sink: Sink | None = None,
        gate: Gate | None = None,
        partial: bool = False,
        stand_in: StandIn | None = None,
    ) -> None:
        self.path = path
        self.mode = mode
        self._sink = sink
        self._stand_in = stand_in
        self._gate = gate
        self.blocked: list[str] = []
        self.bypasses = Bypasses(covered)
        self.strays: list[str] = []
        """What threads outside any scope asked in a replay, and was not recorded: to them the connection failed."""
        self.partial = partial
        """Only a part is asked for, the rest being known or not wanted: then nothing is said of what is unplayed."""
        self._reader = reader
        self._tape = tape
        self._cassette = cassette
        self._strict = strict
        self._lease = lease
        self._doors = doors
        self._note = note
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()
        self._attempts = dict(cassette.attempts) if cassette else {}
        self._imported: Mapping[str, bytes] = {}
        self._refusals: dict[str, StopSearch] = {}

    # what the rest of the program asks

    def in_flight(self, scope: str) -> int:
        """How many requests are under way in a scope: sent and not answered, or answered and still streaming."""
        with self._lock:
            return self._in_flight[scope]

    def require_answered(self, scope: str) -> None:
        """Raise again what ended the run in a scope: code that caught it, or asked in a thread, may not know of it."""
        refusal = self._refusals.pop(scope, None)
        if refusal is not None:
            raise refusal

    def stats(self) -> Stats:
        """Counts since the recording was opened."""
        with self._lock:
            count = dict(self._counts)
        waiting = self._cassette.waiting() if self._cassette else 0
        return Stats(
            recorded=count.get("recorded", 0),
            replayed=count.get("replayed", 0),
            missed=count.get("missed", 0),
            unplayed=waiting,
            from_other_scope=count.get("from_other_scope", 0),
        )

    def unplayed(self, most: int | None = None) -> list[Unplayed]:
        """The interactions in the file that nobody has asked for; at most so many of them."""
        return self._cassette.unplayed(most) if self._cassette else []

    def can_answer(self, scope: str) -> bool:
        """Whether a request of this scope may be answered: by a provider, or in a replay because it was recorded."""
        if not self._replaying:
            return True
        return self._cassette is None or scope in self._cassette.attempts

    def restart(self, scope: str) -> None:
        """Start a scope anew. In replay it is played from its beginning; else what it had is void."""
        if self._cassette is not None and self._tape is None:
            self._cassette.rewind(scope)
            return
        with self._lock:
            if scope in self._attempts:
                self._attempts[scope] += 1
        if self._cassette is not None:
            self._cassette.forget(scope)

    def adopt(self, memory: Memory) -> None:
        """Write what was asked while modules were imported, where it is not in the file yet; and what passed by."""
        self.bypasses.adopt(memory.bypasses)
        self._imported = memory.lines
        for key, line in memory.lines.items():
            if self._tape is not None and not (self._cassette is not None and self._cassette.holds(key, scopes.IMPORT)):
                self._tape.append(line)

    def terms(self) -> Terms:
        """What another process has to keep to that asks here."""
        hosts = None if self._doors is None else tuple(self._doors.names)
        path = None if self.path is None else str(self.path)
        return Terms(path, RecordMode.NONE if self._replaying else self.mode, hosts, self._stand_in is not None)

    # what the clients call

    def begin(
        self,
        client: str,
        classify: Classify,
        method: str,
        url: str,
        headers: Iterable[tuple[str, str]],
        body: bytes | None,
    ) -> Call:
        """Ask for a request's answer. The call has one (`answer`), or the request is to be sent and reported to it.

        Raises `RecordingMiss`, `Paused`, or what the gate or the sink raises.
        """
        with _measured(url):
            asked = self._reader.read(method, url, headers, body)
        scope = scopes.scope_name()
        with self._lock:
            self._in_flight[scope] += 1
            attempt = self._attempts.setdefault(scope, 1)
        call = Call(self, asked, scope, attempt, client, classify)
        try:
            exporter = exporter_of(asked)
            if exporter is not None:
                self._export(call, exporter)
            elif not self._play(call):
                self._may_send(asked, scope)
        except BaseException as error:
            call.drop()
            if isinstance(error, StopSearch):
                self._refusals.setdefault(scope, error)
            raise
        return call

    @property
    def _replaying(self) -> bool:
        return self._stand_in is not None or (self._cassette is not None and self._tape is None)

    def _export(self, call: Call, exporter: Exporter) -> None:
        host = urlsplit(call.asked.url).hostname or ""
        if self._replaying or not (self._doors is None or self._doors.open_to(host)):
            call.answer = Answer(200, "OK", (("content-type", "application/json"),), exporter.answer)
        call.drop()

    def _play(self, call: Call) -> bool:
        if call.scope == scopes.IMPORT and call.asked.key in self._imported:  # another process imports the module, too
            call.answer = lines.parse(self._imported[call.asked.key] + b"}\n").answer
            call.drop()
            return True
        if self._stand_in is not None:
            call.answer = self._stand_in(call.asked)
            call.drop()
            return True
        if self._cassette is None:
            return False
        claimed = self._cassette.claim(call.asked.key, call.scope, strict=self._strict)
        if claimed is None:
            if self._tape is not None:
                return False
            miss = self._miss(call)
            if not scopes.is_astray():
                raise miss
            self.strays.append(f"{call.asked.method} {call.asked.url}")
            failure = Failure("connection", call.client, "", str(miss))
            call.answer = Answer(None, "connection", (), b"", failure)
            call.drop()
            return True
        item, elsewhere = claimed
        with self._lock:
            self._counts["replayed"] += 1
            self._counts["from_other_scope"] += elsewhere
        call.answer = item.answer
        self._tell(call, item.answer, item.seconds, replayed=True)
        call.drop()
        return True

    def break_off(self) -> None:
        """Say that what is asked ends here, before all that is recorded was asked for."""
        self.partial = True

    def _may_send(self, asked: Asked, scope: str) -> None:
        host = urlsplit(asked.url).hostname or ""
        if self._doors is not None and not self._doors.open_to(host):
            self.blocked.append(host)
            raise Paused(f"offline: a request to {host} was stopped; --allow-host {host} allows it.", reason="error")
        if self._gate is not None:
            self._gate(scope, asked.content, asked.url)

    def _miss(self, call: Call) -> RecordingMiss:
        with self._lock:
            self._counts["missed"] += 1
        asked = call.asked
        told = [f"Not recorded: {asked.method} {asked.url} (scope {call.scope or 'none'}, key {asked.key})."]
        if self._cassette is not None:
            told += self._cassette.explain(asked, call.scope, self._reader)
        if self._note:
            told.append(self._note)
        told.append(
            "Record what is missing with --record-mode new_episodes, or leave out a volatile field (--ignore-field)."
        )
        return RecordingMiss("\n".join(told))

    def _keep(self, call: Call, answer: Answer) -> None:
        """Write an answer, then tell the sink."""
        seconds = time.perf_counter() - call.clock
        if self._tape is not None:
            asked = call.asked
            self._tape.append(
                lines.dump(
                    Interaction(
                        key=asked.key,
                        scope=call.scope,
                        attempt=call.attempt,
                        parts=parts_of(asked.canonical),
                        recorded_at=call.started,
                        seconds=seconds,
                        lease=self._lease,
                        method=asked.method,
                        url=asked.url,
                        headers=asked.headers,
                        body=asked.body,
                        answer=answer,
                    )
                )
            )
        with self._lock:
            self._counts["recorded"] += 1
        self._tell(call, answer, seconds, replayed=False)

    def _clean(self, answer: Answer, encoded: bool) -> Answer:
        redactor = self._reader.redactor
        body = answer.body
        if encoded:
            encoding = next((value for name, value in answer.headers if name.lower() == "content-encoding"), "")
            with _measured("the provider"):
                body = uncompressed(body, encoding)
        failure = answer.failure
        if failure is not None:
            failure = Failure(failure.kind, failure.client, failure.name, redactor.text(failure.message))
        headers = redactor.response_headers(answer.headers)
        return Answer(answer.status, redactor.text(answer.reason), headers, redactor.body(body), failure, answer.cut)

    def _tell(self, call: Call, answer: Answer, seconds: float, *, replayed: bool) -> None:
        if self._sink is None:
            return
        asked = call.asked
        self._sink(
            Exchange(
                scope=call.scope,
                key=asked.key,
                question=asked.question(),
                method=asked.method,
                url=asked.url,
                request_body=readable(asked.body),
                status=answer.status,
                response_body=readable(answer.body),
                error=answer.failure.kind if answer.failure else None,
                retry_after=retry_after(answer.headers, call.started),
                started=call.started,
                duration=seconds,
                replayed=replayed,
                cut=answer.cut,
            )
        )

    def _leave(self, scope: str) -> None:
        with self._lock:
            self._in_flight[scope] -= 1
            if not self._in_flight[scope]:
                del self._in_flight[scope]


class Call:
    """One request under way. Exactly one of `answered`, `failed` and `drop` ends it; later ones do nothing."""

    __slots__ = (
        "_classify",
        "_done",
        "_recording",
        "answer",
        "asked",
        "attempt",
        "client",
        "clock",
        "scope",
        "started",
    )

    def __init__(
        self, recording: Recording, asked: Asked, scope: str, attempt: int, client: str, classify: Classify
    ) -> None:
        self._recording = recording
        self._classify = classify
        self._done = False
        self.asked = asked
        self.scope = scope
        self.attempt = attempt
        self.client = client
        self.answer: Answer | None = None
        self.started = time.time()
        self.clock = time.perf_counter()

    def answered(
        self, status: int, reason: str, headers: Headers, body: bytes, *, encoded: bool, cut: bool = False
    ) -> None:
        """The response is whole (or was `cut` by the caller); `encoded` as in `Tap`."""
        if not self._done:
            self._end(Answer(status, reason, headers, body, cut=cut), encoded)

    def failed(self, error: BaseException, passed: tuple[int, str, Headers, bytes, bool] | None = None) -> None:
        """The request, or its response after `passed`, ended in an exception of the client."""
        if self._done:
            return
        kind = self._classify(error)
        if kind is None:
            self.drop()
            return
        failure = Failure(kind, self.client, type(error).__name__, str(error))
        status, reason, headers, body, encoded = passed or (None, kind, (), b"", False)
        self._end(Answer(status, reason, headers, body, failure), encoded)

    def settled(self, answer: Answer, *, encoded: bool) -> None:
        """What a client of another process was given."""
        if not self._done:
            self._end(answer, encoded)

    def drop(self) -> None:
        """Nothing is to be recorded: it was cancelled, refused, or served."""
        if not self._done:
            self._done = True
            self._recording._leave(self.scope)  # noqa: SLF001  a call is its recording's

    def _end(self, answer: Answer, encoded: bool) -> None:
        recording = self._recording
        self._done = True
        try:
            recording._keep(self, recording._clean(answer, encoded))  # noqa: SLF001
        finally:
            recording._leave(self.scope)  # noqa: SLF001


@contextmanager
def _measured(whose: str) -> Iterator[None]:
    """A body that is larger than what is read stops the run: its target is not to be blamed for it."""
    try:
        yield
    except TooLarge as error:
        raise Paused(f"the body of a request to, or of an answer of, {whose} {error}", reason="error") from None
