"""What passes by a recording is noted; a child records nothing, and is stopped where it could reach a network."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import urllib.request

import httpx
import pytest
import urllib3

from rollout_local.errors import Paused, RecordingMiss
from rollout_local.recordings import open_recording, scope, show


def _connect(url: str) -> None:
    socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))).close()


def _nothing() -> None:
    """What a child does."""


def _fork() -> int:
    """What the child ends with: 7 where it could not connect."""
    pid = os.fork()
    if pid == 0:
        try:
            socket.create_connection(("127.0.0.1", 9), timeout=1)
        except OSError:
            os._exit(7)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_client_that_is_not_covered_is_noted_once_with_the_scopes_that_used_it(path, provider):
    with open_recording(path) as recording:
        for name in ("a", "b", "b"):
            with scope(name), urllib3.PoolManager() as pool:
                pool.request("POST", provider.url, json={"q": 1})
        assert list(recording.bypasses.noted().values()) == [2]
        (told,) = recording.bypasses.news()
        assert recording.bypasses.news() == []
        assert recording.stats().recorded == 0
    assert told.startswith(
        f"the target reached {provider.url.removeprefix('http://')} with a client that recordings do"
    )


def test_a_thread_of_the_target_is_noted_and_what_happens_between_trials_is_not(path, provider):
    with open_recording(path) as recording:
        _connect(provider.url)
        assert recording.bypasses.noted() == {}
        with scope("trial"):
            thread = threading.Thread(target=_connect, args=(provider.url,))
            thread.start()
            thread.join()
        assert len(recording.bypasses.noted()) == 1


def test_covered_clients_datagrams_and_questions_about_the_machine_are_not_noted(ask, path, provider):
    with open_recording(path) as recording, scope("trial"):
        ask({"a": 1})
        urllib.request.urlopen(provider.url, b"{}").close()
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.connect(("127.0.0.1", 9))
        subprocess.run(["uname", "-p"], check=True, capture_output=True)
        assert recording.bypasses.noted() == {}
        assert recording.stats().recorded == 2


@pytest.mark.parametrize(
    ("start", "named"),
    [
        (lambda: subprocess.run([sys.executable, "-c", ""], check=True), "program 'python"),
        (lambda: subprocess.run("true | cat", shell=True, check=True), "program 'true'"),
        (lambda: os.system("true"), "program 'true'"),
        (lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0), "program 'true'"),
        (_fork, "a forked process"),
        (lambda: multiprocessing.get_context("fork").Process(target=_nothing).start(), "a process of multiprocessing"),
    ],
)
def test_a_child_process_is_noted_by_name(path, start, named):
    with open_recording(path) as recording, scope("trial"):
        start()
        (told,) = recording.bypasses.noted()
    assert named in told
    assert "neither recorded, counted nor limited" in told


def test_a_forked_child_records_nothing_and_its_parent_goes_on(ask, path):
    with open_recording(path), scope("trial"):
        ask({"a": 1})
        pid = os.fork()
        if pid == 0:
            try:
                ask({"a": 2})
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        ask({"a": 3})
    assert [item.body for item in show(path).interactions] == [b'{"a":1}', b'{"a":3}']


@pytest.mark.parametrize(
    "start", [_fork, lambda: multiprocessing.get_context("spawn").Process(target=_nothing).start()]
)
def test_a_replay_stops_a_target_that_makes_copies_of_itself(make, path, start):
    make.write(path, make.item({"a": 1}))
    with open_recording(path, "none"):
        with scope("trial"), pytest.raises(RecordingMiss, match="goes no further where the target started a"):
            start()
        assert _fork() == 7  # outside a trial; what it raises is no `RecordingMiss`, for which a pool would wait


def test_an_offline_run_stops_a_child_that_it_cannot_guard(path):
    with open_recording(path, allow_hosts=[]), scope("trial"):
        with pytest.raises(Paused, match=r"offline: the target started the program 'true'.*leave out --offline"):
            subprocess.run(["true"], check=True)
        assert _fork() == 7
        subprocess.run(["uname"], check=True, capture_output=True)


def test_a_client_under_a_proxy_is_named_by_where_it_asks(path, provider):
    with open_recording(path), scope("trial"):
        proxy = urllib.request.ProxyHandler({"http": provider.url})
        urllib.request.build_opener(proxy).open("http://api.example.com/v1/chat", b"{}").close()
    assert show(path).interactions[0].url == "http://api.example.com/v1/chat"


def test_httpx_under_a_recording_makes_a_child_of_no_scope_pass(path, provider):
    with open_recording(path) as recording:
        subprocess.run(["true"], check=True)
        with httpx.Client(trust_env=False) as client:
            client.post(provider.url, json={"a": 1})
        assert recording.bypasses.noted() == {}
