"""What passes by a recording: connections of clients that it does not cover, and child processes.

Invariant: nothing here stops anything (`guard` does); it is noted once for each thing and place, with the scopes that
did it, so that a run can tell of it. A covered client connects while it passes (`live.unrecorded`), so it is not noted;
neither are the small programs that libraries ask about the machine. What opens a connection outside Python's sockets
(a database's native client, gRPC) is not seen.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from rollout_local.recordings import scopes

STARTED = "rollout_local.process"
"""The audit event of a process that `multiprocessing` starts: it raises none of its own."""
CHILDREN = frozenset({
    STARTED, "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "subprocess.Popen",
})  # fmt: skip
ASKS_THE_MACHINE = frozenset({
    "arch", "cc", "dpkg", "file", "gcc", "ioreg", "ld", "ldconfig", "locale", "lsb_release", "lscpu", "nvidia-smi",
    "objdump", "ps", "rocm-smi", "stty", "sw_vers", "sysctl", "tput", "uname", "ver", "wmic",
})  # fmt: skip
"""Programs that `platform`, `ctypes`, `distro` and their like start to learn where they run."""
_REMEDY = "so it is neither recorded, counted nor limited, and a replay cannot answer it"


class Bypasses:
    """What was noted while a recording is open, each with the scopes that it was noted in. Takes no lock: see `see`.

    `covered` is a sentence on the clients that it covers.
    """

    def __init__(self, covered: str) -> None:
        self._covered = covered
        self._noted: dict[str, set[str]] = {}
        self._told = 0
        self._process = os.getpid()

    def see(self, event: str, args: tuple[object, ...]) -> None:
        """The rule of the audit hook. It may be called in a forked child, where a lock would stand still for ever."""
        if os.getpid() != self._process or not scopes.in_a_scope():
            return
        what = child_of(event, args) if event in CHILDREN else self._connection(event, args)
        if what is not None:
            self._noted.setdefault(what, set()).add(scopes.scope_name())

    def adopt(self, noted: Mapping[str, int]) -> None:
        """Take over what was noted before: while modules were imported."""
        for what in noted:
            self._noted.setdefault(what, set()).add(scopes.IMPORT)

    def told(self, what: str, scope: str) -> None:
        """Take note of what another process noted in a scope."""
        self._noted.setdefault(what, set()).add(scope)

    def noted(self) -> dict[str, int]:
        """A sentence for each thing, and in how many scopes it was noted."""
        return {what: len(scopes) for what, scopes in self._noted.items()}

    def news(self) -> list[str]:
        """The sentences that were not handed out yet."""
        found = list(self._noted)[self._told :]
        self._told += len(found)
        return found

    def uncovered(self, where: str) -> str:
        """A sentence on a connection to this place."""
        return f"the target reached {where} with a client that recordings do not cover, {_REMEDY} ({self._covered})"

    def _connection(self, event: str, args: tuple[Any, ...]) -> str | None:
        """A sentence on a connection that is about to be opened; None for what carries no request."""
        if event != "socket.connect" or args[0].type & 0xF != socket.SOCK_STREAM:
            return None
        place = args[1]
        where = ":".join(str(piece) for piece in place[:2]) if isinstance(place, tuple) else os.fsdecode(place)
        return self.uncovered(where)


def child_of(event: str, args: tuple[object, ...]) -> str | None:
    """A sentence on the process that is about to be started; None for one that is of no account."""
    if event == STARTED:
        who = "a process of multiprocessing"
    elif event in ("os.fork", "os.forkpty"):
        who = "a forked process"
    else:
        program = _program(event, args)
        if program in ASKS_THE_MACHINE:
            return None
        who = f"the program {program!r}"
    return f"the target started {who}: what a child process asks passes by the recording, {_REMEDY}"


def _program(event: str, args: tuple[Any, ...]) -> str:
    """The name of what is started, without its folder; a shell's is that of its first word."""
    given = args[1] if event in ("subprocess.Popen", "os.spawn") else args[0]
    if isinstance(given, (list, tuple)):
        words = [os.fsdecode(word) for word in given]
        given = words[2] if words[1:2] == ["-c"] and PurePath(words[0]).name in ("sh", "bash") else words[0]
    first = next(iter(os.fsdecode(given).split()), "")
    return PurePath(first).name
