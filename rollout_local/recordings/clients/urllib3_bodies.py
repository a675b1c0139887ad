"""Bodies of urllib3 responses, for the clients that are built on it.

Invariant: `Tapped` stands in for the response that a client reads from and hands every byte to the tap first; all
other attributes are the response's own. `played` is a response that was never on a wire.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from rollout_local.recordings.body import Tap
from rollout_local.recordings.exchange import Answer, Failure


class Tapped:
    """A urllib3 response, past a tap. `decodes` says whether `read` decodes where it is not told."""

    def __init__(self, inner: Any, tap: Tap, *, decodes: bool = False) -> None:
        self._inner = inner
        self._tap = tap
        self._decodes = decodes

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def __iter__(self) -> Iterator[bytes]:
        return self.stream(decode_content=True)

    def stream(self, amt: int | None = 65536, decode_content: bool | None = None) -> Iterator[bytes]:
        """Yield the body in pieces of at most `amt` bytes, as they come."""
        self._tap.encoded = not self._decoding(decode_content)
        try:
            for chunk in self._inner.stream(amt, decode_content=decode_content):
                self._tap.feed(chunk)
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            self._tap.broke(error)
            raise
        self._tap.end()

    def read(self, amt: int | None = None, decode_content: bool | None = None, cache_content: bool = False) -> bytes:
        """Read `amt` bytes, or all."""
        return self._pass("read", amt, decode_content, (amt, decode_content, cache_content))

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """Read what has come, at most `amt` bytes."""
        return self._pass("read1", amt, decode_content, (amt, decode_content))

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._tap.left()
        self._inner.close()

    def release_conn(self) -> None:
        """Give the connection back."""
        self._tap.left()
        self._inner.release_conn()

    def _decoding(self, decode_content: bool | None) -> bool:
        return self._decodes if decode_content is None else decode_content

    def _pass(self, how: str, amt: int | None, decode_content: bool | None, args: tuple[Any, ...]) -> bytes:
        self._tap.encoded = not self._decoding(decode_content)
        try:
            data: bytes = getattr(self._inner, how)(*args)
        except BaseException as error:
            self._tap.broke(error)
            raise
        if data:
            self._tap.feed(data)
        if amt is None or (not data and amt):
            self._tap.end()
        return data


class _Body(BytesIO):
    """A recorded body: closed when it is read out, as urllib3 expects of a socket; it fails where the real one did."""

    def __init__(self, body: bytes, error: Exception | None) -> None:
        super().__init__(body)
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data and self._error is not None:
            raise self._error
        if self._error is None and self.tell() == len(self.getbuffer()):
            self.close()
        return data

    def read1(self, size: int | None = -1, /) -> bytes:
        return self.read(size)


def played(answer: Answer) -> Any:
    """A urllib3 response with a recorded answer, unread."""
    error = None if answer.failure is None else error_of(answer.failure)
    return sys.modules["urllib3"].HTTPResponse(
        body=_Body(answer.body, error),
        headers=list(answer.headers),
        status=answer.status,
        reason=answer.reason,
        version=11,
        preload_content=False,
        decode_content=False,
    )


def error_of(failure: Failure) -> Exception:
    """What urllib3 raises when a body breaks; its clients turn it into their own."""
    errors: Any = sys.modules["urllib3"].exceptions
    if failure.kind == "timeout":
        error: Exception = errors.ReadTimeoutError(None, None, failure.message)
    else:
        error = errors.ProtocolError(failure.message)
    return error


def is_timeout(error: BaseException) -> bool:
    """Whether an exception of urllib3, or of what is built on it, is about time."""
    return isinstance(error, TimeoutError) or "Timeout" in type(error).__name__
