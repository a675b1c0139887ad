"""Whole messages over two pipes: a mark, a length, then JSON.

Sending is safe from many threads; receiving is for one. Where the other side is gone, or what comes is no message (a
target may write anywhere), there are no more messages.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Generic, TypeVar

CLOSED = 71
"""Exit status of a child whose own code closed its pipes."""
LONGEST = 2**30
"""Bytes of a message; a larger one is none of ours."""
_MARK = b"\x00rl1"
"""Begins each message: bytes of a target's in between are no length that is waited for."""
_HEAD = len(_MARK) + 8


Received = TypeVar("Received")


class Channel(Generic[Received]):
    """One end of the two pipes. Its JSON is its own: a target may replace `json.dumps`."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self.is_closed_here = False
        """Our own end was closed under our hands."""
        self.is_at_end = False
        """The other side sends no more; what came before was whole messages."""
        self._lock = threading.Lock()
        self._encode = json.JSONEncoder(ensure_ascii=True).encode
        self._decode = json.JSONDecoder().decode

    def send(self, message: Mapping[str, object]) -> bool:
        """Send one message; False where the other side is gone."""
        data = self._encode(message).encode("ascii")
        rest = memoryview(_MARK + len(data).to_bytes(8, "big") + data)
        try:
            with self._lock:
                while rest:
                    rest = rest[os.write(self._writing, rest) :]
        except OSError:
            return False
        return True

    def receive(self) -> Received | None:
        """The next message, waited for; None where there are no more."""
        try:
            head = self._exactly(_HEAD)
            length = int.from_bytes(head[len(_MARK) :], "big")
            if not head.startswith(_MARK) or length > LONGEST:
                return None
            message: Received = self._decode(self._exactly(length).decode("ascii"))
        except (OSError, EOFError, ValueError, RecursionError) as error:
            self.is_closed_here = isinstance(error, OSError) and error.errno == errno.EBADF
            self.is_at_end = isinstance(error, OSError | EOFError)
            return None
        return message

    def hang_up(self) -> None:
        """Send no more: the other side sees an end."""
        with self._lock, suppress(OSError):
            os.close(self._writing)
            self._writing = -1

    def close(self) -> None:
        """Let go of both ends; nobody may be receiving."""
        self.hang_up()
        with suppress(OSError):
            os.close(self._reading)
            self._reading = -1

    def _exactly(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            piece = os.read(self._reading, length - len(found))
            if not piece:
                raise EOFError
            found += piece
        return bytes(found)
