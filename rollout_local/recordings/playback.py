"""Which recorded answer goes to which request.

Invariant: an interaction is claimed once, under one lock, by the next request with its key in its scope; so the same
requests get the same answers with one thread and with 32, duplicates included, as long as each scope asks in one
order. What was recorded outside any scope is everybody's. A client may ask once in a process what every trial needs
(a token, a list of models, a tool behind a cache), so which scope asks, from which thread and how often, hangs on the
threads: a scope that has nothing left may take, in replay, from the key's other scopes (not when strict), and is then
lent an answer that the very same request had, which stays with whom it is of; and an interaction is unplayed only
where its request was never asked. Not while recording goes on, since another scope may yet ask for its own. An answer
that a client would ask again after is passed over where the same scope and key has a final one. A scope that was
started anew has only its newest try.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from rollout_local.errors import RecordingError
from rollout_local.recordings import lines, scopes
from rollout_local.recordings.closest import Index, closest, difference, parts_of
from rollout_local.recordings.exchange import Unplayed, is_transient
from rollout_local.recordings.exporters import exporter_of
from rollout_local.recordings.file import Entry
from rollout_local.recordings.identity import Asked, Reader
from rollout_local.recordings.lines import Interaction
from rollout_local.recordings.volatile import COUNTED, differing, volatile
from rollout_local.redaction import Redactor

MOST_PLACES = 3
"""Places that a miss offers to ignore, at most."""
_Slot = tuple[str, str]


class Shelf(Protocol):
    """Where recorded interactions are read from, one at a time."""

    def read(self, entry: Entry) -> Interaction:
        """The interaction of an entry."""

    def close(self) -> None:
        """Let go of the file."""


class FileShelf:
    """Reads single lines of a recording of ours; holds no bodies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, entry: Entry) -> Interaction:
        """One `pread` and one parse."""
        try:
            return lines.parse(os.pread(self._file, entry.length, entry.offset))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RecordingError(
                f"{self.path}:{entry.number}: this line changed while the recording was open."
            ) from None

    def close(self) -> None:
        """Close the file, unless the target did."""
        with contextlib.suppress(OSError):
            os.close(self._file)


class ListShelf:
    """Interactions of a foreign cassette, held in memory."""

    def __init__(self, items: Sequence[Interaction]) -> None:
        self._items = items

    def read(self, entry: Entry) -> Interaction:
        """The item with the entry's number."""
        return self._items[entry.number - 1]

    def close(self) -> None:
        """Nothing is open."""


class Cassette:
    """The recorded interactions, and who has claimed which. Safe under threads."""

    def __init__(self, entries: Sequence[Entry], shelf: Shelf, *, continuing: bool = False) -> None:
        """`continuing`: recording goes on, so a failure that no final answer followed is asked for again."""
        self._entries = entries
        self._shelf = shelf
        self._continuing = continuing
        self._lock = threading.Lock()
        self._index: Index | None = None
        self.attempts: dict[str, int] = {}
        for entry in entries:
            if entry.attempt > self.attempts.get(entry.scope, 0):
                self.attempts[entry.scope] = entry.attempt
        self._claimed: set[int] = set()
        self._queues: dict[_Slot, deque[Entry]] = {}
        self._elsewhere: dict[str, deque[_Slot]] = {}
        self._first: dict[str, Entry] = {}
        self._last: dict[_Slot, Entry] = {}
        self._asked: set[str] = set()
        self._exports: dict[int, bool] = {}
        self._fill(entries)

    def _fill(self, entries: Iterable[Entry]) -> None:
        newest = [entry for entry in entries if entry.attempt == self.attempts[entry.scope]]
        final = {(entry.key, entry.scope) for entry in newest if not is_transient(entry.outcome)}
        for entry in newest:
            slot = (entry.key, entry.scope)
            if is_transient(entry.outcome) and (slot in final or self._continuing):
                continue
            queue = self._queues.get(slot)
            if queue is None:
                queue = self._queues[slot] = deque()
                self._elsewhere.setdefault(entry.key, deque()).append(slot)
            queue.append(entry)
            self._last[slot] = entry
            first = self._first.setdefault(entry.key, entry)
            if is_transient(first.outcome) and not is_transient(entry.outcome):
                self._first[entry.key] = entry

    def claim(self, key: str, scope: str, *, strict: bool) -> tuple[Interaction, bool] | None:
        """The next answer for this key, and whether it is another scope's; None where there is none."""
        with self._lock:
            queue = self._queues.get((key, scope)) or self._queues.get((key, ""))
            if not queue and not strict and not self._continuing:
                queue = self._other(key)
            entry = queue.popleft() if queue else self._lent(key, scope)
            if entry is None:
                return None
            self._claimed.add(entry.number)
            self._asked.add(key)
        return self._shelf.read(entry), entry.scope not in (scope, "")

    def _other(self, key: str) -> deque[Entry] | None:
        slots = self._elsewhere.get(key)
        while slots:
            queue = self._queues.get(slots[0])
            if queue:
                return queue
            slots.popleft()
        return None

    def _lent(self, key: str, scope: str) -> Entry | None:
        """The newest answer of this scope, or of none; else the first of any."""
        if self._continuing:
            return None
        return self._last.get((key, scope)) or self._last.get((key, "")) or self._first.get(key)

    def forget(self, scope: str) -> None:
        """Make what is left of a scope void: it starts anew."""
        with self._lock:
            for slot in [slot for slot in self._queues if slot[1] == scope]:
                del self._queues[slot]

    def rewind(self, scope: str) -> None:
        """Let a scope be played again from its beginning."""
        with self._lock:
            mine = [entry for entry in self._entries if entry.scope == scope]
            for slot in {(entry.key, entry.scope) for entry in mine}:
                self._queues.pop(slot, None)
            self._fill(mine)

    def holds(self, key: str, scope: str) -> bool:
        """Whether a request was recorded in a scope."""
        return any((entry.key, entry.scope) == (key, scope) for entry in self._entries)

    def unplayed(self, most: int | None = None) -> list[Unplayed]:
        """What a replay has never asked for, in the order of the file; void and passed-over lines do not count."""
        with self._lock:
            waiting = self._waiting()
        rows = [(entry, self._shelf.read(entry)) for entry in sorted(waiting, key=lambda entry: entry.number)[:most]]
        return [Unplayed(entry.number, entry.key, entry.scope, item.method, item.url) for entry, item in rows]

    def waiting(self) -> int:
        """How many interactions `unplayed` would list."""
        with self._lock:
            return len(self._waiting())

    def _waiting(self) -> list[Entry]:
        """What was asked while modules were imported is played when they are, not here."""
        queues = [
            queue for (key, scope), queue in self._queues.items() if scope != scopes.IMPORT and key not in self._asked
        ]
        waiting = [entry for queue in queues for entry in queue if entry.number not in self._claimed]
        return [entry for entry in waiting if not self._is_export(entry)]

    def _is_export(self, entry: Entry) -> bool:
        """Recordings hold exporters' requests that were made before these were left out."""
        if entry.number not in self._exports:
            asked = _asked(Reader(Redactor({})), self._shelf.read(entry))
            self._exports[entry.number] = exporter_of(asked) is not None
        return self._exports[entry.number]

    def explain(self, asked: Asked, scope: str, reader: Reader) -> list[str]:
        """Lines about the recorded request nearest to one that was not recorded."""
        with self._lock:
            if self._index is None:
                self._index = Index(self._entries)
        found = closest(
            asked,
            self._index.candidates(parts_of(asked.canonical), scope, len(asked.canonical)),
            lambda entry: _asked(reader, self._shelf.read(entry)),
        )
        if found is None:
            return ["The recording holds no interactions."]
        entry, other, alike = found
        where = f"line {entry.number}, scope {entry.scope or 'none'}"
        told = difference(other, asked)
        if not told:
            times = sum(one.key == entry.key for one in self._entries)
            return [f"The same request was recorded ({where}), {times} in all, in a trial that was then begun anew."]
        changing = [str(one) for one in volatile(other, asked) if one.what != COUNTED]
        places = [f"--ignore-field {shlex.quote(place)}" for place in differing(other.content, asked.content)]
        mends = bool(places) and not changing and len(places) <= MOST_PLACES
        return [
            f"Nearest recorded request ({where}, {alike:.0%} alike):",
            *("  " + line for line in told),
            *([f"What differs is {' and '.join(changing)}: it changes each time."] if changing else []),
            *([f"If that means nothing, leave it out of the comparison: {' '.join(places)}"] if mends else []),
        ]

    def close(self) -> None:
        """Let go of the file."""
        self._shelf.close()


def _asked(reader: Reader, item: Interaction) -> Asked:
    kind = next((value for name, value in item.headers if name == "content-type"), "")
    return reader.name(item.method, item.url, item.headers, item.body, kind)


def rekeyed(entries: Iterable[Entry], shelf: Shelf, reader: Reader) -> list[Entry]:
    """The entries under the keys that `reader` gives them: another version, or other fields to ignore."""
    for entry in entries:
        asked = _asked(reader, shelf.read(entry))
        entry.key, entry.parts = asked.key, parts_of(asked.canonical).encode()
    return list(entries)
