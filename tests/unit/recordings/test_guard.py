"""No sockets in replay; only allowed hosts in an offline run."""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import subprocess
import sys
import urllib.request

import httpx
import httpx2
import pytest

from rollout_local.errors import RecordingMiss
from rollout_local.recordings import open_recording
from rollout_local.recordings.guard import SWITCHES, Doors, is_loopback, no_sockets, only_hosts


def _connect(host: str = "127.0.0.1") -> None:
    with socket.socket() as one:
        one.settimeout(1)
        one.connect((host, 9))


def _send_datagram() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.sendto(b"x", ("127.0.0.1", 9))


def _file_socket() -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("/tmp/no-such-socket")


async def _httpx(library: str) -> None:
    async with importlib.import_module(library).AsyncClient(trust_env=False) as client:
        await client.get("http://127.0.0.1:9")


async def _open() -> None:
    await asyncio.open_connection("localhost", 9)


@pytest.mark.parametrize(
    "reach",
    [
        _connect,
        _send_datagram,
        _file_socket,
        lambda: socket.getaddrinfo("localhost", 80),
        lambda: socket.gethostbyname("localhost"),
        lambda: urllib.request.urlopen("http://127.0.0.1:9"),
        lambda: asyncio.run(_open()),
        lambda: httpx.get("http://127.0.0.1:9", trust_env=False),
        lambda: httpx2.get("http://127.0.0.1:9", trust_env=False),
    ],
)
def test_nothing_is_reached_in_replay(reach):
    with no_sockets() as attempts:
        with pytest.raises(RecordingMiss, match="A replay opens no sockets"):
            reach()
        assert len(attempts) == 1


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_no_async_client_of_httpx_reaches_anything_in_replay(library):
    with no_sockets() as attempts:
        with pytest.raises(BaseExceptionGroup) as caught:  # anyio connects in a task group
            asyncio.run(_httpx(library))
        assert caught.value.subgroup(RecordingMiss) is not None
        assert len(attempts) == 1


def test_litellms_clients_of_a_replay_are_forgotten(monkeypatch):
    import litellm

    litellm.in_memory_llm_clients_cache.cache_dict["made in replay"] = object()
    with no_sockets():
        pass
    assert "made in replay" not in litellm.in_memory_llm_clients_cache.cache_dict


def test_the_guard_is_gone_afterwards(provider):
    with no_sockets():
        pass
    assert urllib.request.urlopen(provider.url).status == 200


def test_proxies_lead_nowhere_and_libraries_are_told_to_stay_offline_in_replay_only(make, path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://mine:1")
    monkeypatch.delenv("LITELLM_OFFLINE_MODE", raising=False)
    make.write(path, make.item({"a": 1}))
    with open_recording(path, "none"):
        assert {name: os.environ[name] for name in SWITCHES} == SWITCHES
    assert os.environ["HTTP_PROXY"] == "http://mine:1"
    assert "LITELLM_OFFLINE_MODE" not in os.environ


def test_a_recording_notes_what_it_blocked(make, path):
    make.write(path, make.item({"a": 1}))
    with open_recording(path, "none") as recording:
        with pytest.raises(RecordingMiss):
            _connect()
        assert recording.blocked == ["127.0.0.1:9 (socket.connect)"]


def test_an_offline_run_reaches_loopback_and_nothing_else(provider, path):
    with open_recording(path, allow_hosts=[]) as recording:
        assert urllib.request.urlopen(provider.url).status == 200
        with pytest.raises(ConnectionRefusedError, match="neither loopback nor allowed"):
            socket.getaddrinfo("api.example.com", 443)
        with pytest.raises(FileNotFoundError):
            _file_socket()
        assert recording.blocked == ["api.example.com:443 (socket.getaddrinfo)"]


def test_the_addresses_of_an_allowed_name_are_allowed():
    no_name = "x" * 70
    doors = Doors(["203.0.113.9", "Service.Test", no_name])
    with only_hosts(doors) as attempts:
        socket.getaddrinfo("127.0.0.1", 80)
        for number in (1, 2):  # the second time the first answer is known; a name that is none is nobody's address
            with pytest.raises((OSError, UnicodeError)):
                socket.getaddrinfo(no_name, number)
    doors.check("socket.getaddrinfo", ("203.0.113.9", 443))
    assert "203.0.113.9" in doors._addresses
    doors.check("socket.connect", (None, ("203.0.113.9", 443)))
    assert doors.open_to("SERVICE.test")
    with pytest.raises(ConnectionRefusedError, match=r"--allow-host 203.0.113.10"):
        doors.check("socket.connect", (None, ("203.0.113.10", 9)))
    assert attempts == ["203.0.113.10:9 (socket.connect)"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "::1%lo", "a.localhost", ""])
def test_these_hosts_are_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["example.com", "10.0.0.1", "localhost.example.com", "::2"])
def test_these_hosts_are_not_this_machine(host):
    assert not is_loopback(host)


def test_opening_a_recording_imports_no_client_for_it(path):
    code = (
        "import sys; from pathlib import Path; from rollout_local.recordings import open_recording\n"
        "with open_recording(Path(sys.argv[1])): pass\n"
        "print([n for n in ('litellm', 'dspy', 'aiohttp', 'botocore', 'httpx', 'requests', 'vcr') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
