"""No sockets in replay, and only the allowed ones in an offline live run.

Invariant: while a replay is open no Python code of this process opens a connection, sends a datagram or asks a
name server: an audit hook stops it before the system call, and says so with an exception that nothing swallows.
What runs outside Python's sockets (child processes, native code) is sent to proxies that do not exist, and the
switches are set that keep libraries from fetching for themselves.

Source: facts/recordings.md, sections 4 (f) and 7; audit events: docs.python.org/3/library/audit_events.html.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rollout_local.errors import RecordingMiss

_EVENTS = frozenset({
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo",
    "socket.sendto", "socket.sendmsg",
})  # fmt: skip
_NOWHERE = "http://127.0.0.1:9"
SWITCHES = {
    "HTTP_PROXY": _NOWHERE,
    "HTTPS_PROXY": _NOWHERE,
    "http_proxy": _NOWHERE,
    "https_proxy": _NOWHERE,
    "NO_PROXY": "",
    "no_proxy": "",
    "LITELLM_OFFLINE_MODE": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_RUST": "0",
}

_Rule = Callable[[str, tuple[Any, ...]], None]
_rule: list[_Rule] = []
_installed: list[bool] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _rule and event in _EVENTS:
        _rule[0](event, args)


@contextmanager
def _guarded(rule: _Rule) -> Iterator[None]:
    if not _installed:
        sys.addaudithook(_hook)  # cannot be taken out again: without a rule it does nothing
        _installed.append(True)
    _rule.append(rule)
    try:
        yield
    finally:
        _rule.remove(rule)


@contextmanager
def no_sockets() -> Iterator[list[str]]:
    """Stop every connection with `RecordingMiss`; yields the list of what was stopped."""
    attempts: list[str] = []

    def stop(event: str, args: tuple[Any, ...]) -> None:
        where = _destination(event, args)
        attempts.append(where)
        raise RecordingMiss(
            f"A replay opens no sockets, but something tried to reach {where}: "
            "a client that recordings do not cover, or a request made outside the recording."
        )

    import urllib.request

    opener = getattr(urllib.request, "_opener", None)
    try:
        with _guarded(stop), _environment(SWITCHES):
            yield attempts
    finally:
        urllib.request.install_opener(opener)  # None: not built yet
        _forget_clients()


def _forget_clients() -> None:
    """Litellm keeps the HTTP clients it made, and those made in a replay keep its dead proxies."""
    cache = getattr(sys.modules.get("litellm"), "in_memory_llm_clients_cache", None)
    if cache is not None:
        cache.flush_cache()


@contextmanager
def only_hosts(doors: Doors) -> Iterator[list[str]]:
    """Refuse what is neither loopback nor allowed with `ConnectionRefusedError`; yields what was refused."""
    with _guarded(doors.check):
        yield doors.attempts


class Doors:
    """The hosts that an offline run may reach, by name, and the addresses that those names stand for."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._names = {name.lower().strip("[]") for name in allowed}
        self._addresses: set[str] = set()
        self._asking = threading.local()
        self.attempts: list[str] = []

    def open_to(self, host: str) -> bool:
        """Whether a request to this host may be sent."""
        host = host.lower().strip("[]")
        return is_loopback(host) or host in self._names or host in self._addresses

    def check(self, event: str, args: tuple[Any, ...]) -> None:
        """The rule of the audit hook. Raises `ConnectionRefusedError`."""
        if getattr(self._asking, "now", False):
            return
        host = _host(event, args)
        if host is None or self.open_to(host):
            if host and event == "socket.getaddrinfo" and host.lower() in self._names:
                self._learn(host)
            return
        self.attempts.append(_destination(event, args))
        raise ConnectionRefusedError(
            errno.ECONNREFUSED, f"offline: {host} is neither loopback nor allowed; --allow-host {host} allows it"
        )

    def _learn(self, host: str) -> None:
        self._asking.now = True
        try:
            self._addresses |= {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
        except (OSError, UnicodeError):
            return  # the caller asks again, and gets this error
        finally:
            self._asking.now = False


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine."""
    if host in ("", "localhost", "::") or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _host(event: str, args: tuple[Any, ...]) -> str | None:
    """The host of an event; None for a socket of the file system."""
    first = args[1] if event in ("socket.connect", "socket.sendto", "socket.sendmsg") else args[0]
    if isinstance(first, tuple):
        first = first[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return None
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first or "")


def _destination(event: str, args: tuple[Any, ...]) -> str:
    place = args[1] if event in ("socket.connect", "socket.sendto", "socket.sendmsg") else args
    if isinstance(place, tuple):
        place = ":".join(str(piece) for piece in place[:2])
    return f"{place} ({event})"


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
