"""Who holds a run: a process, told apart from every other, and how it is, as far as this machine can say.

A process is named by its number, when it began, and the boot and the space of process numbers that the number counts
in: containers may share a kernel and a host name and yet each have a process 7. Only a process of our own boot and
space can be looked at; of any other it is known alone whether its beats go on.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """A process. `boot` names the boot and the process space that `pid` counts in, `process` when it began."""

    pid: int
    host: str
    boot: str
    process: str

    @classmethod
    def this(cls) -> Holder:
        """The calling process."""
        return cls(os.getpid(), socket.gethostname(), _boot(), _status(os.getpid())[1])

    def is_gone(self) -> bool:
        """It certainly does not run any more."""
        return Machine().state(self) is HolderState.GONE


class HolderState(StrEnum):
    """How a holder is."""

    THERE = "there"
    STOPPED = "stopped"
    """It exists and does not run: SIGSTOP, a debugger."""
    GONE = "gone"
    ELSEWHERE = "elsewhere"
    """Its process cannot be seen from here."""


class Machine:
    """The machine that this runs on: its processes and its clock. Times are seconds of the monotonic clock."""

    def this(self) -> Holder:
        """The calling process."""
        return Holder.this()

    def state(self, holder: Holder) -> HolderState:
        """How a holder is, as seen from here."""
        if holder.boot != _boot():
            return HolderState.ELSEWHERE
        letter, began = _status(holder.pid)
        if began != holder.process:
            return HolderState.GONE
        return HolderState.STOPPED if letter in ("T", "t") else HolderState.THERE

    def clock(self) -> float:
        """Seconds on a clock that no one sets."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


@cache
def _boot() -> str:
    """What tells this boot of the machine, and this space of process numbers, from others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        command = ["/usr/sbin/sysctl", "-n", "kern.boottime"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a constant
        return f"{done.stdout.strip()}/{socket.gethostname()}"


def _status(pid: int) -> tuple[str, str]:
    """`(state letter, when it began)` of a process, as the system says it; `("", "")` where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ("", "") if Path("/proc/self").exists() else _status_of_ps(pid)
    after_name = stat.rpartition(")")[2].split()
    return ("", "") if after_name[0] in "ZX" else (after_name[0], after_name[19])


def _status_of_ps(pid: int) -> tuple[str, str]:
    command = ["/bin/ps", "-o", "state=,lstart=", "-p", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a number
    letter, _, began = done.stdout.strip().partition(" ")
    return ("", "") if letter[:1] in ("", "Z") else (letter[:1], began.strip())
