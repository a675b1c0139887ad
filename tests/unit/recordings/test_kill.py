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
from rollout_local.recordings.tape import survey

_CHILD = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import httpx
from rollout_local.recordings import open_recording, scope
url, path, log, count = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
seen = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def ask(number):
    with scope(f"trial/{number}"):
        answer = client.post(url, json={"q": number % 7, "n": number}).json()
    os.write(seen, b'[%d,%d]\\n' % (number, answer["n"]))
with httpx.Client(trust_env=False) as client, open_recording(path), ThreadPoolExecutor(8) as pool:
    list(pool.map(ask, range(count)))
"""


def _run_until(provider, path: Path, log: Path, count: int, answers: int | None) -> int:
    """Start the job; kill it after so many more answers were seen (None: let it end). Returns its exit code."""
    before = log.stat().st_size if log.exists() else 0
    command = [sys.executable, "-c", _CHILD, provider.url + "/v1/chat", path, log, str(count)]
    uncovered = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    child = subprocess.Popen(command, env=uncovered)  # what is killed would leave half a coverage file
    deadline = time.monotonic() + 30
    while answers is not None and child.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.read_bytes()[before:].count(b"\n") >= answers:
            os.kill(child.pid, signal.SIGKILL)
            break
        time.sleep(0.0005)
    return child.wait(30)


def _kill_often(provider, tmp_path: Path, kills: int, count: int) -> None:
    path, log = tmp_path / "recording.yaml", tmp_path / "seen"
    kept = 0
    for number in range(kills):
        sent = provider.count
        code = _run_until(provider, path, log, count, kept + 1 + number * 3 % 11)
        assert code == -signal.SIGKILL
        found = survey(path)
        assert not found.closed
        on_disk = {entry.scope for entry in found.entries}
        seen = [json.loads(row) for row in log.read_text().splitlines()]
        assert {f"trial/{scope}" for scope, _ in seen} <= on_disk
        assert provider.count - sent <= len(on_disk) - kept + 8  # what was in flight is all that may be lost
        kept = len(on_disk)
    sent = provider.count
    assert _run_until(provider, path, log, count, None) == 0
    assert provider.count - sent == count - kept
    answers: dict[int, set[int]] = {}
    for row in log.read_text().splitlines():
        scope, answer = json.loads(row)
        answers.setdefault(scope, set()).add(answer)
    assert {len(told) for told in answers.values()} == {1}  # every caller, in every life, saw the same answer
    assert len(answers) == count == len(show(path).interactions)
    with open_recording(path, "none"):
        pass


def test_what_a_caller_saw_is_on_disk_after_kill_9_at_20_points(provider, tmp_path):
    _kill_often(provider, tmp_path, 20, 260)


@pytest.mark.long
def test_what_a_caller_saw_is_on_disk_after_kill_9_at_50_points(provider, tmp_path):
    _kill_often(provider, tmp_path, 50, 700)
