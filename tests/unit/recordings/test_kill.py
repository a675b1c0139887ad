"""kill -9 while recording: what a caller saw is on disk, and the rest is all that is paid for again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rollout_local.recordings import open_recording, show
from rollout_local.recordings.file import survey

_CHILD = """
import os, random, signal, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import httpx
from rollout_local.recordings import open_recording, scope
url, path, log, count, last = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
seen = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
new = []
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def ask(number):
    with scope(f"trial/{number}"):
        answer = client.post(url, json={"q": number % 7, "n": number}).json()
    os.write(seen, b'[%d,%d]\\n' % (number, answer["n"]))
    if answer["n"] > first:
        new.append(number)
        if len(new) == last:
            threading.Timer(random.random() / 200, die).start()
with httpx.Client(trust_env=False, timeout=30) as client, open_recording(path), ThreadPoolExecutor(8) as pool:
    first = int(sys.argv[6])
    list(pool.map(ask, range(count)))
"""


def _run(provider, path: Path, log: Path, count: int, last: int) -> int:
    """Do the job; the child kills itself up to 5 ms after its `last` new answer (0: never). Returns its exit code."""
    words = [provider.url + "/v1/chat", path, log, count, last, provider.count]
    uncovered = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-c", _CHILD, *map(str, words)]
    return subprocess.run(command, env=uncovered, timeout=120).returncode  # a killed one would leave half a cover file


def _settled(provider) -> int:
    """How many requests came in, once those of a dead client are through."""
    count = -1
    while count != provider.count:
        count = provider.count
        time.sleep(0.1)
    return count


def _kill_often(provider, tmp_path: Path, kills: int, count: int) -> None:
    path, log = tmp_path / "recording.yaml", tmp_path / "seen"
    for number in range(kills):
        assert _run(provider, path, log, count, 1 + number * 3 % 11) == -signal.SIGKILL
        found = survey(path)
        assert not found.closed
        on_disk = {entry.scope for entry in found.entries}
        seen = [json.loads(row) for row in log.read_text().splitlines()]
        assert {f"trial/{scope}" for scope, _ in seen} <= on_disk
    sent = _settled(provider)
    assert sent <= len(on_disk) + 8 * kills  # what was in flight is all that may be lost
    assert _run(provider, path, log, count, 0) == 0
    assert provider.count - sent == count - len(on_disk)
    answers: dict[int, set[int]] = {}
    for row in log.read_text().splitlines():
        scope, answer = json.loads(row)
        answers.setdefault(scope, set()).add(answer)
    assert {len(told) for told in answers.values()} == {1}  # every caller, in every life, saw the same answer
    assert len(answers) == count == len(show(path).interactions)
    with open_recording(path, "none"):
        pass


def test_what_a_caller_saw_is_on_disk_after_kill_9_at_6_points(provider, tmp_path):
    _kill_often(provider, tmp_path, 6, 700)


@pytest.mark.long
def test_what_a_caller_saw_is_on_disk_after_kill_9_at_50_points(provider, tmp_path):
    _kill_often(provider, tmp_path, 50, 2000)
