"""`rollout ui`: the run pages and Datasette, over the same file."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urljoin

import click


@click.command()
@click.option(
    "--db", "paths", type=click.Path(path_type=Path, dir_okay=False), multiple=True, default=("rollout.db",),
    envvar="ROLLOUT_DB", show_default=True, help="A database file; may be given several times.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--open", "open_", is_flag=True, help="Open the browser, signed in.")
@click.option("--trusted-host", "trusted", multiple=True, metavar="H", help="Answer to this host name too.")
@click.option("--base-url", default="/", metavar="PATH", help="Serve under this path, behind a proxy.")
def ui(*, paths: tuple[Path, ...], port: int, host: str, open_: bool, trusted: tuple[str, ...], base_url: str) -> None:
    """Browse runs: live pages, promotion, lineage, and the tables beneath. Ctrl-C ends it."""
    from rollout_local.ui import launch

    launch.check_host(host, trusted)
    datasette, state, notes = launch.build(paths, trusted_hosts=trusted, base_url=base_url)
    click.echo("".join(f"rollout: {note}\n" for note in notes), err=True, nl=False)
    with launch.listening(host, port) as sockets:
        link = launch.address(host, sockets[0].getsockname()[1], base_url, state.key)
        launch.serve(datasette, state, sockets=sockets, ready=lambda: _ready(link, open_=open_))


def _ready(link: str, *, open_: bool) -> None:
    from rollout_local.ui.launch import open_browser

    click.echo(
        f"The pages, open to this machine to read:\n  {urljoin(link, '/')}\n"
        f"To act on runs, and for SQL of your own, sign in with this link (it works once):\n  {link}"
    )
    if open_:
        open_browser(link)
