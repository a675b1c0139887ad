"""No sockets in replay, and only the allowed ones in an offline live run.

Invariant: while a replay is open no Python code of this process opens a connection, sends a datagram or asks a
name server: an audit hook stops it before the system call, and says so with an exception that nothing swallows.
What runs outside Python's sockets (programs, native code) is sent to proxies that do not exist, and the
switches are set that keep libraries from fetching for themselves. A child that a target would fork, or start
with `multiprocessing`, is stopped in a replay; an offline run stops every child that could reach a network.

Source of the audit events: docs.python.org/3/library/audit_events.html.
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

from rollout_local.errors import Paused, RecordingMiss
from rollout_local.recordings import scopes
from rollout_local.recordings.bypass import CHILDREN, STARTED, Bypasses, child_of

_EVENTS = frozenset({
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo",
    "socket.sendto", "socket.sendmsg", *CHILDREN,
})  # fmt: skip
_COPIES = frozenset({STARTED, "os.fork", "os.forkpty"})
"""Children that go on with the target's own code; a program is another's, and finds proxies that lead nowhere."""
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

_Rule = Callable[[str, tuple[object, ...]], None]
_rules: list[_Rule] = []
_installed: list[bool] = []


def _hook(event: str, args: tuple[object, ...]) -> None:
    if _rules and event in _EVENTS:
        for rule in tuple(_rules):
            rule(event, args)


@contextmanager
def _guarded(rule: _Rule) -> Iterator[None]:
    if not _installed:
        sys.addaudithook(_hook)  # cannot be taken out again: without a rule it does nothing
        _installed.append(True)
    _rules.append(rule)
    try:
        yield
    finally:
        _rules.remove(rule)


@contextmanager
def noting(bypasses: Bypasses) -> Iterator[None]:
    """Note what passes by the recording until the block ends."""
    with _guarded(bypasses.see):
        yield


@contextmanager
def no_sockets(*, switches: bool = True, programs: bool = True) -> Iterator[list[str]]:
    """Stop every connection with `RecordingMiss`; yields the list of what was stopped.

    Without `switches` the environment stays as it is: what is made in the block may live longer than a replay. Without
    `programs` a trial can start none either.
    """
    attempts: list[str] = []
    process = os.getpid()

    def stop(event: str, args: tuple[object, ...]) -> None:
        if event in CHILDREN:
            _stop_children(event, args, programs=programs)
            return
        where = _destination(event, args)
        attempts.append(where)
        told = (
            f"A replay opens no sockets, but something tried to reach {where}: "
            "a client that recordings do not cover, or a request made outside the recording."
        )
        if os.getpid() != process or scopes.is_astray():  # whoever waits for them would wait for ever
            raise ConnectionRefusedError(errno.ECONNREFUSED, told)
        raise RecordingMiss(told)

    import urllib.request

    opener = getattr(urllib.request, "_opener", None)
    try:
        with _guarded(stop), _environment(SWITCHES if switches else {}):
            yield attempts
    finally:
        urllib.request.install_opener(opener)  # None: not built yet
        _forget_clients()


def _stop_children(event: str, args: tuple[object, ...], *, programs: bool) -> None:
    told = child_of(event, args)
    if told is not None and scopes.in_a_scope() and (event in _COPIES or not programs):
        raise RecordingMiss(f"A replay goes no further where {told}. Ask the model in the target's own process.")


@contextmanager
def none_from_here() -> Iterator[None]:
    """Stop every connection of this thread with `RecordingMiss`, for code that is only looked at."""
    mine = threading.get_ident()

    def stop(event: str, args: tuple[object, ...]) -> None:
        if event not in CHILDREN and threading.get_ident() == mine:
            msg = f"nothing is asked while a run is checked, but something tried to reach {_destination(event, args)}"
            raise RecordingMiss(msg)

    with _guarded(stop):
        yield


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

    @property
    def names(self) -> list[str]:
        """The hosts that were allowed."""
        return sorted(self._names)

    def open_to(self, host: str) -> bool:
        """Whether a request to this host may be sent."""
        host = host.lower().strip("[]")
        return is_loopback(host) or host in self._names or host in self._addresses

    def check(self, event: str, args: tuple[object, ...]) -> None:
        """The rule of the audit hook. Raises `ConnectionRefusedError`, or `Paused` for a child process."""
        if getattr(self._asking, "now", False):
            return
        if event in CHILDREN:
            _refuse_children(event, args)
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


def _refuse_children(event: str, args: tuple[object, ...]) -> None:
    """A forked child stays under the hook; one that begins anew does not."""
    told = child_of(event, args)
    if told is not None and event not in ("os.fork", "os.forkpty") and scopes.in_a_scope():
        msg = f"offline: {told}, nor can it be kept from the network; leave out --offline, or do it in this process"
        raise Paused(msg, reason="error")


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine."""
    if host in ("", "localhost", "::") or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _host(event: str, args: tuple[object, ...]) -> str | None:
    """The host of an event; None for a socket of the file system."""
    first = args[1] if event in ("socket.connect", "socket.sendto", "socket.sendmsg") else args[0]
    if isinstance(first, tuple):
        first = first[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return None
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first or "")


def _destination(event: str, args: tuple[object, ...]) -> str:
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
