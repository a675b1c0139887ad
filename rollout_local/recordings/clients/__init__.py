"""The HTTP clients that a recording covers, in one table.

Invariant: a client in `CLIENTS` is covered from the moment a recording opens, wherever it was imported or will be;
none is imported for it. Where a name that a row leans on is gone from an installed library, `check` refuses to
open, because requests would pass by the recording unseen. openai, litellm and anthropic need no rows: they
send through httpx, httpx2 and aiohttp; boto3 sends through botocore, urllib.request through http.client; dspy's own
engine is its own client. What sends through none of these, and child processes, are noted (`bypass`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rollout_local.recordings.clients import (
    aiohttp_sessions,
    botocore_sessions,
    dspy_caches,
    http_connections,
    httpx_transports,
    litellm_routes,
    lm15_transports,
    multiprocessing_starts,
    requests_adapters,
    thread_starts,
)
from rollout_local.recordings.clients.hooks import Client, Hooks, missing_names

CLIENTS: tuple[Client, ...] = (
    Client(
        "httpx",
        "httpx._transports.default",
        ("HTTPTransport.handle_request", "AsyncHTTPTransport.handle_async_request"),
        httpx_transports.patches,
        known_as="httpx",
    ),
    Client(
        "httpx2",
        "httpx2._transports.default",
        ("HTTPTransport.handle_request", "AsyncHTTPTransport.handle_async_request"),
        httpx_transports.patches,
    ),
    Client(
        "requests",
        "requests.adapters",
        ("HTTPAdapter.send", "HTTPAdapter.build_response"),
        requests_adapters.patches,
        known_as="requests",
    ),
    Client(
        "aiohttp",
        "aiohttp.client",
        ("ClientSession._request", "ClientSession._build_url"),
        aiohttp_sessions.patches,
        known_as="aiohttp",
    ),
    Client(
        "http.client",
        "http.client",
        ("HTTPConnection.request", "HTTPConnection.getresponse"),
        http_connections.patches,
        known_as="urllib.request",
    ),
    Client("botocore", "botocore.httpsession", ("URLLib3Session.send",), botocore_sessions.patches, known_as="boto3"),
    Client(
        "dspy",
        "dspy._vendor.lm15.transports._sync",
        ("StdlibTransport.stream",),
        lm15_transports.sync_patches,
    ),
    Client(
        "dspy-async",
        "dspy._vendor.lm15.transports._async",
        ("StdlibAsyncTransport._do_stream",),
        lm15_transports.async_patches,
    ),
)
_KNOWN = [client.known_as for client in CLIENTS if client.known_as]
COVERED = f"{', '.join(_KNOWN[:-1])} and {_KNOWN[-1]} are recorded, and the SDKs that send through them"
"""A sentence for whoever used another one."""
SWITCHES: tuple[Client, ...] = (
    Client("dspy-caches", "dspy", (), dspy_caches.patches),
    Client("litellm-routes", "litellm.rust_bridge.catalog", (), litellm_routes.patches),
    Client("threads", "threading", (), thread_starts.thread_patches),
    Client("thread-pools", "concurrent.futures.thread", (), thread_starts.pool_patches),
    Client("thread-pool-workers", "multiprocessing.pool", (), thread_starts.worker_patches),
    Client("multiprocessing", "multiprocessing.process", (), multiprocessing_starts.patches),
)


def check() -> None:
    """Raise `RecordingError` where an installed client has lost a name that recording needs."""
    for client in CLIENTS:
        missing_names(client)


@contextmanager
def installed() -> Iterator[None]:
    """Cover every client, those that are imported later too, until the block ends."""
    hooks = Hooks((*CLIENTS, *SWITCHES))
    try:
        hooks.install()
        yield
    finally:
        hooks.remove()
