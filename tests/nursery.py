"""A process that has imported everything and forks children: a start takes 10 ms, not 3 s.

A child runs the command, or (`program`) a pytest session of its own, free of what the tests around it left behind.

Speaks JSON lines on stdin and stdout. A child may carry a way to die (`die`): SIGKILL at its Nth model call, before
the request leaves or after the answer is there, or at a time. A limit (`limit`) is the largest file it may write. It
runs `rollout_local.cli.main.run`, as `main` does once the hash seed is pinned; the nursery itself has it pinned.

The nursery must have one thread when it forks; what a run imports is learned from a first child, not from a run here.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any


def main() -> None:
    from rollout_local.models import keep_libraries_offline

    keep_libraries_offline()
    for name in ("litellm", "dspy", "openai", "rollout_local.cli.main"):
        importlib.import_module(name)
    _settle_memory()
    children: dict[int, float] = {}
    ended: dict[int, tuple[int, float]] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "learn":
            reply: Any = {"modules": _learn(order["modules"])}
        elif order["do"] == "start":
            reply = {"pid": _start(order)}
            children[reply["pid"]] = time.monotonic()
        else:
            code, seconds = _wait(order["pid"], order["timeout"], children, ended)
            reply = {"code": code, "seconds": seconds}
        print(json.dumps(reply), flush=True)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _learn(modules: list[str]) -> int:
    before = len(sys.modules)
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
    _settle_memory()
    return len(sys.modules) - before


def _settle_memory() -> None:
    """Keep what was imported out of the children's garbage collections: walking it copies every page of it."""
    gc.collect()
    gc.freeze()


def _start(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = _be(order)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid


def _be(order: dict[str, Any]) -> int:
    os.setpgid(0, 0)
    for number, name in ((1, order["out"]), (2, order["err"])):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(order["cwd"])
    os.environ.update({name: value for name, value in order["env"].items() if value is not None})
    for name in [name for name, value in order["env"].items() if value is None]:
        os.environ.pop(name, None)
    if order["limit"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit"], order["limit"]))
    if order["die"] is not None:
        _arm(order["die"])
    code = PROGRAMS[order["program"]](order["argv"])
    if order["modules"]:
        Path(order["modules"]).write_text(json.dumps(sorted(sys.modules)))
    return code


def _run_command(arguments: list[str]) -> int:
    from rollout_local.cli.main import run

    return run(arguments)


def _run_pytest(arguments: list[str]) -> int:
    """With its coverage, where the session around it measures one: a forked child ends without saving by itself."""
    import coverage
    import pytest

    from rollout_local import pytest_plugin

    measured = coverage.process_startup(force=True)
    try:
        return int(pytest.main(arguments, plugins=[pytest_plugin]))
    finally:
        if measured is not None:
            measured.stop()
            measured.save()


PROGRAMS = {"rollout": _run_command, "pytest": _run_pytest}


def _arm(die: dict[str, Any]) -> None:
    if "seconds" in die:
        timer = threading.Timer(die["seconds"], os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
        return
    import httpcore

    send, count, lock = httpcore.ConnectionPool.handle_request, [0], threading.Lock()

    def counted(pool: Any, request: Any) -> Any:
        if request.method != b"POST":  # a server's list of models is asked for, too
            return send(pool, request)
        with lock:
            count[0] += 1
            mine = count[0]
        if mine == die["call"] and die["when"] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        response = send(pool, request)
        if mine == die["call"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return response

    httpcore.ConnectionPool.handle_request = counted


def _wait(
    pid: int, timeout: float, children: dict[int, float], ended: dict[int, tuple[int, float]]
) -> tuple[int | None, float]:
    """The exit code (negative: the signal) and how long it lived; None and a kill where it takes too long."""
    begun = time.monotonic()
    while pid not in ended:
        found, status = os.waitpid(-1, os.WNOHANG)
        if found:
            ended[found] = (os.waitstatus_to_exitcode(status), time.monotonic() - children.pop(found))
        elif time.monotonic() - begun > timeout:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None, time.monotonic() - children.pop(pid)
        else:
            time.sleep(0.002)
    return ended[pid]


if __name__ == "__main__":
    main()
