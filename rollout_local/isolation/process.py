"""One child, seen from the run: started anew, asked to run a task, ended.

Invariant: a child is a fresh interpreter in a session of its own, with two pipes and the run's output streams and no
other descriptor; it is never a fork of the runner. One thread listens to it and answers what its clients ask, so that
who waits for a result waits for nothing else. A child that died, or wrote what is no message of
ours, is not used again; what it had under way is dropped, and no trial is given what came of another.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor as Threads
from contextlib import suppress
from pathlib import Path

from rollout_local.errors import Paused, TargetError
from rollout_local.isolation.messages import Answered, Failed, FromChild, Placed, Result, Run, TargetLoaded
from rollout_local.isolation.pipes import CLOSED, Channel
from rollout_local.isolation.shapes import fits
from rollout_local.isolation.values import pack_stop
from rollout_local.recordings import Recording, unrecorded
from rollout_local.recordings.remote import Door, Request
from rollout_local.stop import StopFlag

ROOT = str(Path(__file__).parent.parent.parent)
"""Where this package is imported from; a child looks for it there last."""
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from rollout_local.isolation.child import main; main(*sys.argv[2:])"
)
GRACE = 5.0
"""Seconds that a trial may go on after the run was stopped, with no model call under way."""
_TURN = 0.1
_LAST = 2.0
"""Seconds that a child has to end by itself."""
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class NoChild(Paused):
    """A child could not be started, or does not find its target."""

    def __init__(self, words: str) -> None:
        super().__init__(f"the target's own process (--isolate) {words}; mend that and go on", reason="error")


class Child:
    """A child process, ready for its target's first task. Raises `NoChild`, or why the run was stopped meanwhile.

    `threads` starts it: Linux ends a child whose parent asked for that when the *thread* that started it ends.
    """

    def __init__(self, order: Placed, recording: Recording, stop: StopFlag, threads: Threads) -> None:
        self.busy = False
        self._recording = recording
        self._stop = stop
        self._door = Door(recording)
        self._told: queue.SimpleQueue[TargetLoaded | Failed | Result | None] = queue.SimpleQueue()
        self._raised: list[BaseException] = []
        self._number = 0
        self._spoiled = False
        self._killed = False
        try:
            self._process, self._channel = threads.submit(_start).result()
        except OSError as error:
            raise NoChild(f"cannot be started ({error.strerror or error})") from error
        self._listener = threading.Thread(target=self._listen, daemon=True, name="rollout-child")
        self._listener.start()
        try:
            self._load(order)
        except BaseException:
            self.end()
            raise

    @property
    def usable(self) -> bool:
        """It waits for a task."""
        return not self.busy and self._listener.is_alive() and self._process.poll() is None

    def run(self, scope: str, task: str, components: Mapping[str, str]) -> Result:
        """The result of one task. Raises why the run is to end, or `TargetError` where the child could not tell it.

        After a stop of the run a task without a model call under way has `GRACE` seconds.
        """
        self.busy, self._raised[:] = True, []
        self._number += 1
        order: Run = {"do": "run", "number": self._number, "scope": scope, "task": task, "components": components}
        self._channel.send(order)
        told = self._wait(lambda: self._recording.in_flight(scope) > 0)
        if told is None:
            raise self._how_it_ended()
        if told["do"] != "result" or told["number"] != self._number:
            raise self.spoiled()
        self.busy = "broken" in told  # such a child is not used again
        for sentence in told["noted"]:
            self._recording.bypasses.told(sentence, scope)
        self._recording.blocked.extend(told["blocked"])
        return told

    def spoiled(self) -> TargetError:
        """What is raised where it told what it was not asked; it is not used again."""
        self.busy = True
        return TargetError("it wrote into the pipes between its own process and the run")

    @property
    def raised(self) -> BaseException | None:
        """What the recording raised as this task asked: the run is to end for it."""
        return self._raised[0] if self._raised else None

    def end(self) -> None:
        """Let it end by itself where it waits for a task, else at once; and what it started with it."""
        self._channel.hang_up()
        if not self.busy:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_LAST)
        self._killed = True
        self._kill()
        self._listener.join(_LAST)
        if not self._listener.is_alive():
            self._channel.close()

    def _kill(self) -> None:
        with suppress(OSError):  # its group may be gone
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(OSError):  # it may have left its group
            self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST)

    def _load(self, order: Placed) -> None:
        self.busy = True
        self._channel.send({"do": "load", "path": sys.path, "argv": sys.argv, **order})
        told = self._wait(lambda: False)
        if told is None:
            raise NoChild(f"ended while it was starting ({self._how_it_ended()})")
        if told["do"] != "loaded":
            words = told["words"] if told["do"] == "failed" else str(self.spoiled())
            raise self.raised or NoChild(f"cannot load the target: {words}")
        self.busy = False

    def _wait(self, asks: Callable[[], bool]) -> TargetLoaded | Failed | Result | None:
        """What it tells next; None where it ended. Raises the reason of a stop where it goes on for too long after."""
        idle_since = None
        while True:
            with suppress(queue.Empty):
                return self._told.get(timeout=_TURN)
            if self._stop.reason is None or asks():
                idle_since = None
            elif idle_since is None:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > GRACE:
                raise self._stop.reason

    def _listen(self) -> None:
        try:
            while not self._killed and (message := self._channel.receive()) is not None:
                if not fits(message, FromChild):
                    break
                if message["do"] == "ask":
                    self._channel.send({"do": "reply", "number": message["number"], **self._answer(message["what"])})
                elif message["do"] == "print":
                    _print(message["stream"], message["text"])
                else:
                    self._told.put(message)
            self._spoiled = not self._channel.is_at_end
        finally:
            self._door.close()
            self._told.put(None)

    def _answer(self, request: Request) -> Answered:
        try:
            return {"answer": self._door.answer(request)}
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where it was asked
            self._raised.append(error)
            return {"raise": pack_stop(error)}

    def _how_it_ended(self) -> BaseException:
        if self._spoiled:
            return self.spoiled()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST)
        code = self._process.poll()
        if code in (None, CLOSED):
            return TargetError("it closed the pipes between its own process and the run")
        if code >= 0:
            return TargetError(f"it ended its own process (exit status {code})")
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        if -code in _FROM_OUTSIDE:
            return Paused(
                f"the target's own process was killed from outside ({name}; where memory is short, the system does "
                "that); go on with the same command",
                reason="error",
            )
        return TargetError(f"its own process crashed ({name})")


def _start() -> tuple[subprocess.Popen[bytes], Channel[FromChild]]:
    """A fresh interpreter with the other ends of two pipes; its session is its own, so that Ctrl-C is the runner's."""
    theirs, to_child = os.pipe()
    try:
        from_child, their_own = os.pipe()
    except OSError:
        os.close(theirs)
        os.close(to_child)
        raise
    optimized = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    command = [sys.executable, "-P", *optimized, "-c", _PROGRAM, ROOT, str(theirs), str(their_own), str(os.getpid())]
    try:
        with unrecorded():  # it is ours, and no child of the target's
            process = subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=subprocess.DEVNULL, pass_fds=(theirs, their_own), start_new_session=True
            )
    except OSError:
        os.close(from_child)
        os.close(to_child)
        raise
    finally:
        os.close(theirs)
        os.close(their_own)
    return process, Channel[FromChild](from_child, to_child)


def _print(stream: str, text: str) -> None:
    """What the target printed, to where it would have gone from here."""
    with suppress(OSError, ValueError, AttributeError):
        out = getattr(sys, stream)
        out.write(text)
        out.flush()
