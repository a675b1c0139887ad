"""Start a server on one or more files: settings that keep Datasette's own pages quick, our door, one sign-in link.

Measured at a million trials: a table page takes 1.9 s with Datasette's facet suggestions and 0.03 to 0.13 s
without. Downloads are off, since the file holds the prompts; SQL of one's own is for who came by the sign-in link,
since a thousand rows of it can be as large as one makes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvicorn
from datasette.app import Datasette
from datasette.plugins import pm

from rollout_local import ui
from rollout_local.errors import InputError
from rollout_local.store.fixed import can_write, must_be_immutable
from rollout_local.ui.guard import LOOPBACK
from rollout_local.ui.links import Links
from rollout_local.ui.readers import is_rollout_file
from rollout_local.ui.state import Options, State, attach

SETTINGS: dict[str, object] = {
    "suggest_facets": False, "default_page_size": 50, "num_sql_threads": 4, "truncate_cells_html": 500,
    "facet_time_limit_ms": 200, "max_returned_rows": 1000, "allow_download": False, "allow_csv_stream": True,
    "default_allow_sql": False,
}  # fmt: skip


def build(
    paths: Sequence[Path],
    *,
    trusted_hosts: Sequence[str] = (),
    base_url: str = "/",
    writable: Callable[[Path], bool] = can_write,
) -> tuple[object, State, list[str]]:
    """A Datasette on these files, its state, and sentences worth saying. Raises `InputError` for another file."""
    for path in paths:
        _require_ours(path)
    if not pm.is_registered(ui):
        pm.register(ui, name="rollout-local")
    fixed = [path for path in paths if must_be_immutable(path, writable)]
    datasette = Datasette(
        [str(path) for path in paths if path not in fixed], immutables=[str(path) for path in fixed],
        settings={**SETTINGS, "base_url": _slashed(base_url)},
    )  # fmt: skip
    options = Options(launched=True, trusted_hosts=tuple(host.lower() for host in trusted_hosts))
    notes = [f"{path} is shown as it is now: its folder cannot be written, so changes are not seen." for path in fixed]
    return datasette, attach(datasette, options), notes


def _require_ours(path: Path) -> None:
    if not path.is_file():
        msg = f"there is no database at {path}; give --db, or create a run first (`rollout optimize run`)"
        raise InputError(msg)
    if not is_rollout_file(path):
        msg = f"{path} is not a run database; `datasette {path}` browses any other SQLite file"
        raise InputError(msg)


def _slashed(base_url: str) -> str:
    inner = base_url.strip("/")
    return f"/{inner}/" if inner else "/"


def check_host(host: str, trusted_hosts: Sequence[str]) -> None:
    """Refuse to be reachable from elsewhere unless it was said under which names. Raises `InputError`."""
    if host not in LOOPBACK and not trusted_hosts:
        msg = (
            f"--host {host} lets other machines read every prompt and trace; say under which name they may, with "
            "--trusted-host NAME, or leave --host out"
        )
        raise InputError(msg)


def address(host: str, port: int, base_url: str, key: str | None) -> str:
    """The sign-in link."""
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
    name = f"[{shown}]" if ":" in shown else shown
    return f"http://{name}:{port}{Links(_slashed(base_url)).sign_in(key or '')}"


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """A socket on this port (0: a free one). Raises `InputError` where it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, asyncio switches Nagle's delay off: 40 ms an answer otherwise.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, port))
        except OSError as error:
            msg = f"{host}:{port} cannot be used ({error.strerror}); give another --port, or 0 for any that is free"
            raise InputError(msg) from error
        yield [opened]


def serve(
    datasette: Datasette,
    state: State,
    *,
    sockets: Sequence[socket.socket],
    ready: Callable[[], None],
    started: Callable[[uvicorn.Server], None] = lambda _server: None,
) -> None:
    """Serve until interrupted, or until the server that `started` was handed is told to exit.

    Open connections are given two seconds.
    """

    async def main() -> None:
        await datasette.invoke_startup()
        config = uvicorn.Config(
            datasette.app(), lifespan="on", log_level="warning", timeout_graceful_shutdown=2,
            server_header=False,
        )  # fmt: skip
        server = uvicorn.Server(config)
        started(server)
        serving = asyncio.ensure_future(server.serve(sockets=list(sockets)))
        while not server.started and not serving.done():
            await asyncio.sleep(0.02)
        if server.started:
            ready()
        await serving

    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(main())
    finally:
        state.close()


def open_browser(link: str) -> None:
    """Show a page in the user's browser."""
    webbrowser.open(link)
