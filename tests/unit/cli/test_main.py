"""The entry point: a command ends with its own exit code, whatever a target left behind."""

from __future__ import annotations

import subprocess
import sys

LEFT = """
import sys, threading
from rollout_local.cli import main as command
command.GRACE = 0.1
command.run = lambda arguments: threading.Thread(target=threading.Event().wait, name="mine").start() or 3
sys.argv = ["rollout", "doctor"]
command.main()
"""


def test_a_thread_that_never_ends_does_not_keep_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr == "rollout: all is written; threads that the target left running end here (mine)\n"
