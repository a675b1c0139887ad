"""Which address is which view, and the one way from a request to an answer.

A page is read and rendered on a reader thread; the event loop only waits. Views never see the request: they get a
`Visit`. A refused or missing thing is a page that says so, never a traceback.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datasette.utils import tilde_decode
from datasette.utils.asgi import Request, Response

from rollout_local.errors import RolloutError, StoreError
from rollout_local.ui import commands, pages
from rollout_local.ui.datasettes import may_act
from rollout_local.ui.guard import HEADERS, POLICY
from rollout_local.ui.links import Links
from rollout_local.ui.page_table import NEW, PAGES, RUN, TABS
from rollout_local.ui.state import State, state_of
from rollout_local.ui.views import new
from rollout_local.ui.visit import Answer, Document, Missing, Page, Redirect, Visit

if TYPE_CHECKING:
    from datasette.app import Datasette


LARGEST_FORM = 64 * 1024


@dataclass(frozen=True)
class _Reader:
    """Who reads: name, whether they may act, and the token that their forms carry."""

    actor: str | None
    may_act: bool
    token: str


def routes() -> list[tuple[str, object]]:
    """For Datasette: the views, the actions, the sign-in link, the static files."""
    table: list[tuple[str, object]] = [
        (r"^/-/rollout/static/(?P<name>[a-z]+\.[a-z]+)$", _static),
        (r"^/-/rollout/sign-in$", _sign_in),
        (rf"^{RUN}/actions$", _act),
        (rf"^{NEW.address}$", _new),
    ]
    return [*table, *((f"^{page.address}$", _showing(page.view)) for page in PAGES)]


def _showing(view: Callable[[Visit], Answer]) -> Callable[[Request, Datasette], Awaitable[Response]]:
    async def answering(request: Request, datasette: Datasette) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return _plain("This page is only read.\n", 405)
        return await _answer(request, datasette, view)

    return answering


async def _answer(
    request: Request, datasette: Datasette, view: Callable[[Visit], Answer], form: dict[str, str] | None = None
) -> Response:
    state, links = state_of(datasette), Links(datasette.setting("base_url"))
    if not state.is_active:
        return _plain("No run database is open here.\n", 404)
    arguments = {name: request.args.getlist(name) for name in request.args}
    names = {name: tilde_decode(value) if name == "db" else value for name, value in request.url_vars.items()}
    reader = await _reader(request, datasette)
    return await state.readers.run(
        lambda: _visited(state, links, view, reader, {"names": names, "args": arguments, "form": form or {}}),
        writes=form is not None,
    )


async def _reader(request: Request, datasette: Datasette) -> _Reader:
    """Who asks. The token sets a cookie, so only those who may act are given one."""
    allowed = await may_act(datasette, request.actor)
    token = str(request.scope["csrftoken"]()) if allowed and "csrftoken" in request.scope else ""
    return _Reader(str((request.actor or {}).get("id")) if request.actor else None, allowed, token)


def _visited(
    state: State, links: Links, view: Callable[[Visit], Answer], reader: _Reader, asked: dict[str, Any]
) -> Response:
    with state.readers.visit() as open_:
        visit = Visit(
            links, state.sources, open_, time.time(), **asked,
            actor=reader.actor, may_act=reader.may_act, token=reader.token
        )  # fmt: skip
        try:
            answer = view(visit)
        except Missing as missing:
            answer = Page("missing.html", {"title": "Not found", "said": str(missing)}, 404)
        except (StoreError, sqlite3.Error, OSError) as error:
            said = f"The file could not be used just now: {error}"
            answer = Page("missing.html", {"title": "Not now", "said": said}, 503)
        except RolloutError as error:
            answer = Page("missing.html", {"title": "Not done", "said": str(error)}, 400)
        return _response(answer, visit)


def _response(answer: Answer, visit: Visit) -> Response:
    if isinstance(answer, Redirect):
        return Response("", 303, {**HEADERS, "location": answer.to})
    if isinstance(answer, Document):
        body = pages.as_json(answer.value)
        return Response(body, answer.status, _headers(), "application/json")
    context = {**_SHARED, **answer.context, "visit": visit, "links": visit.links}
    return Response(pages.render(answer.template, context), answer.status, _headers(), "text/html; charset=utf-8")


_SHARED = {"run": None, "tab": "", "tabs": TABS, "version": pages.version}


def _headers() -> dict[str, str]:
    return {**HEADERS, "content-security-policy": POLICY, "cache-control": "no-store"}


def _plain(text: str, status: int) -> Response:
    return Response(text, status, _headers(), "text/plain; charset=utf-8")


async def _static(request: Request) -> Response:
    found = pages.static_file(request.url_vars["name"])
    if found is None:
        return _plain("There is no such file.\n", 404)
    kept = {**HEADERS, "cache-control": "public, max-age=31536000, immutable"}
    return Response(found[0], 200, kept, found[1])


async def _sign_in(request: Request, datasette: Datasette) -> Response:
    """The link that `rollout ui` printed: works once, and leaves a signed cookie that scripts cannot read."""
    links = Links(datasette.setting("base_url"))
    if not state_of(datasette).take_key(request.args.get("key") or ""):
        return _plain("This link was used already, or is of an earlier start. `rollout ui` prints a new one.\n", 403)
    response = Response("", 303, {**HEADERS, "location": links.jobs(), "cache-control": "no-store"})
    response.set_cookie("ds_actor", datasette.sign({"a": {"id": "root"}}, "actor"), httponly=True)
    return response


async def _form(request: Request, datasette: Datasette) -> dict[str, str] | Response:
    """The body of a POST by somebody who may act; otherwise the answer that refuses it."""
    if request.method != "POST":
        return _plain("This is asked with a form.\n", 405)
    if not await may_act(datasette, request.actor):
        return _plain("Sign in first, with the link that `rollout ui` printed.\n", 403)
    if int(request.headers.get("content-length") or 0) > LARGEST_FORM:
        return _plain("This form is too long.\n", 413)
    return await request.post_vars()


async def _act(request: Request, datasette: Datasette) -> Response:
    form = await _form(request, datasette)
    if not isinstance(form, dict):
        return form
    actor = str(request.actor.get("id"))

    def ask(visit: Visit) -> Answer:
        commands.ask(visit.source.path, visit.names["run"], form.get("action", ""), actor)
        back = "promotion" if form.get("action") == "promote" else ""
        return Redirect(visit.links.run(visit.source.name, visit.names["run"], back))

    return await _answer(request, datasette, ask, form)


async def _new(request: Request, datasette: Datasette) -> Response:
    if request.method in {"GET", "HEAD"}:
        return await _answer(request, datasette, NEW.view)
    form = await _form(request, datasette)
    return await _answer(request, datasette, new.submit, form) if isinstance(form, dict) else form
