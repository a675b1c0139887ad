"""A held run: a thread says that it is alive and hands what others ask of it (cancel, pause) to its stop flag."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from rollout_local.clock import now
from rollout_local.errors import Cancelled, Paused, RolloutError, StopSearch
from rollout_local.stop import StopFlag
from rollout_local.store.lease import BEAT_EVERY_S, Lease
from rollout_local.store.lifecycle import handle_command
from rollout_local.store.row_types import CommandRow

REQUESTS: dict[str, StopSearch] = {
    "cancel": Cancelled("cancelled on request"),
    "pause": Paused("paused on request; go on with `rollout optimize run`"),
}
"""What a request makes of a running run; any other is left for whoever understands it."""


@contextmanager
def holding(lease: Lease, stop: StopFlag) -> Iterator[Lease]:
    """Beat until the block ends; then give the run back, if it is still ours."""
    try:
        with beating(lease, stop):
            yield lease
    finally:
        with suppress(RolloutError, StopSearch):
            lease.release()


@contextmanager
def beating(lease: Lease, stop: StopFlag) -> Iterator[None]:
    """Beat until the block ends. A beat that fails stops the run: nobody would know that it lives."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(BEAT_EVERY_S):
            try:
                heed(lease, stop, lease.beat(now()))
            except StopSearch as reason:  # the lease is lost, or the file cannot be written
                stop.stop(reason)
                return
            except RolloutError as error:
                stop.stop(Paused(f"the heartbeat failed: {error}", reason="error"))

    thread = threading.Thread(target=work, name="rollout-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def heed(lease: Lease, stop: StopFlag, requests: Sequence[CommandRow]) -> None:
    """Do what is asked: at every beat, and before every call that is paid for."""
    for request in requests:
        reason = REQUESTS.get(request["action"])
        if reason is not None:
            stop.stop(reason)
            handle_command(lease.store, request["id"], now(), "heard by the runner")
