"""How a run is stopped, and what of that its children have."""

from __future__ import annotations

import os
import signal
import time

from rollout_local.cli.watching import interruptible
from rollout_local.stop import StopFlag


def test_a_child_that_a_target_forked_is_ended_by_the_signal_that_pauses_its_parent() -> None:
    stop = StopFlag()
    reads, writes = os.pipe()
    with interruptible(stop):
        child = os.fork()
        if child == 0:
            os.write(writes, b"x")  # Python drops a signal that comes in before a child is on its feet
            while True:
                time.sleep(60)
        assert os.read(reads, 1) == b"x"
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGTERM
        stop.check()
    os.close(reads)
    os.close(writes)
