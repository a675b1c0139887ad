"""Records a response while it streams past.

Invariant: bytes go to the caller as they come, but the last ones not before the line is on disk. The last are
known by the content-length, by the event that ends a provider's stream, or by the end itself. What the
caller did not wait for is recorded as `cut`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout_local.recordings.exchange import Headers

if TYPE_CHECKING:
    from rollout_local.recordings.session import Call

_LAST_EVENTS = (b"data: [DONE]", b"event: message_stop", b"event: response.completed", b"event: response.incomplete",
                b"event: response.failed", b"event: error")  # fmt: skip
_BLANKS = (b"\n\n", b"\r\n\r\n")


class Tap:
    """Collects one response's body for the recording.

    `encoded`: the bytes fed are as they came over the wire, under the response's content-encoding.
    """

    __slots__ = (
        "_call",
        "_chunks",
        "_event",
        "_events",
        "_expected",
        "_headers",
        "_reason",
        "_size",
        "_status",
        "encoded",
    )

    def __init__(
        self, call: Call, status: int, reason: str, headers: Headers, *, encoded: bool = True, empty: bool = False
    ) -> None:
        self._call = call
        self._status = status
        self._reason = reason
        self._headers = headers
        self._chunks: list[bytes] = []
        self._size = 0
        self.encoded = encoded
        named = {name.lower(): value for name, value in headers}
        plain = "content-encoding" not in named
        length = named.get("content-length", "")
        self._expected = int(length) if length.isdigit() and (encoded or plain) else -1
        self._event = b""
        self._events = "event-stream" in named.get("content-type", "") and plain
        if empty or self._expected == 0 or status in (204, 304):
            self.end()

    def feed(self, chunk: bytes) -> None:
        """Take a piece that is about to be handed on."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size == self._expected or (self._events and self._is_last(chunk)):
            self.end()

    def _is_last(self, chunk: bytes) -> bool:
        """Whether a provider's last event is complete with this chunk."""
        self._event += chunk
        if not self._event.endswith(_BLANKS):
            return False
        text, self._event = self._event.rstrip(), b""
        start = max(text.rfind(b"\n\n"), text.rfind(b"\r\n\r\n"))
        return text[start + 1 :].lstrip().startswith(_LAST_EVENTS)

    def end(self) -> None:
        """The response is complete."""
        self._call.answered(self._status, self._reason, self._headers, self._body(), encoded=self.encoded)

    def left(self) -> None:
        """The caller closed the response; nothing happens where it was complete."""
        self._call.answered(self._status, self._reason, self._headers, self._body(), encoded=self.encoded, cut=True)

    def broke(self, error: BaseException) -> None:
        """The response failed on its way."""
        self._call.failed(error, (self._status, self._reason, self._headers, self._body(), self.encoded))

    def _body(self) -> bytes:
        return b"".join(self._chunks)
