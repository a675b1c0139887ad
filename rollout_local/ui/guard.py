"""The door: which hosts are answered, where writes may come from, what headers every answer carries.

Datasette answers any `Host`, so a website could point its own name at 127.0.0.1 and read prompts and traces from
the visitor's browser (DNS rebinding). And its token does not look at where a POST comes from. Both are checked
here, before Datasette sees the request, for every page of the server: reading the tables is reading the prompts. A page
of another site may lead here by a link, and have nothing else of us: what it asks for beside that (images, scripts,
frames, a question of its own to the tables) costs our memory, even where it cannot read the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from rollout_local.ui import datasettes
from rollout_local.ui.state import State

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Not "no-referrer": with it, browsers send `Origin: null` with the forms of our own pages.
HEADERS = {"x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "same-origin"}

App = Callable[[object, object, object], Awaitable[None]]


def host_name(host: str) -> str:
    """The name in a `Host` header, lower case, without its port: `[::1]:8001` is `::1`."""
    try:
        parts = urlsplit(f"//{host}")
        return "" if parts.port == 0 else (parts.hostname or "").rstrip(".")
    except ValueError:  # no name, or a port that is none
        return ""


def refusal(
    method: str, headers: Mapping[str, str], trusted: Collection[str], *, asks: bool = False
) -> tuple[int, str] | None:
    """Status and reason if this request is not to be answered; None if it is.

    `asks`: it has a question for the tables of Datasette in its address.
    """
    host = headers.get("host", "")
    if host_name(host) not in {*LOOPBACK, *trusted}:
        return 421, (
            f"This server does not answer to the host name {host!r}.\n"
            "If it is yours, start it with `rollout ui --trusted-host NAME`.\n"
        )
    if method not in SAFE_METHODS and not _is_own(headers, trusted):
        return 403, "This request came from another site, so nothing was done.\n"
    if not (_is_own(headers, trusted) or (_is_visit(headers) and not asks)):
        return 403, "This request was made by a page of another site; type or paste the address to open it.\n"
    return None


def _is_visit(headers: Mapping[str, str]) -> bool:
    """A browser's window is to show this, as it does when a link is followed."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _is_own(headers: Mapping[str, str], trusted: Collection[str]) -> bool:
    """A browser says where a POST comes from in one of two headers, which no page can forge; others say nothing."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in {"same-origin", "none"}
    if origin is None:
        return True
    authority = origin.partition("://")[2]
    return authority == headers.get("host") or host_name(authority) in trusted


def wrapper(state_now: Callable[[], State], base_url: str) -> Callable[[App], App]:
    """The ASGI wrapper for one Datasette; it stands aside while no database of ours is attached."""

    def wrap(app: App) -> App:
        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            state = state_now()
            if scope["type"] != "http" or not state.is_active:
                await app(scope, receive, send)
                return
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            ours = scope["path"].startswith(f"{base_url}-/rollout/")
            asks = bool(scope.get("query_string")) and not ours
            refused = refusal(scope["method"], headers, state.trusted_hosts, asks=asks)
            if refused is not None:
                await _say(send, *refused)
            elif state.options.launched and scope["path"] in {"/", base_url}:
                await _say(send, 302, "", location=f"{base_url}-/rollout/")
            else:
                await app(datasettes.judged(scope), receive, _with_headers(send))

        return guarded

    return wrap


def _with_headers(send: Any) -> object:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", ())}
            added = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in present]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return sending


async def _say(send: Any, status: int, text: str, **headers: str) -> None:
    shown = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store", **HEADERS, **headers}
    pairs = [(name.encode(), value.encode()) for name, value in shown.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": text.encode("utf-8", "replace")})
