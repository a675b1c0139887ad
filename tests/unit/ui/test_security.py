"""Who is let in, what they may do, and that text stays text wherever it is shown."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from rollout_local.domain.target import Candidate
from rollout_local.ui import readers
from rollout_local.ui.datasettes import ACTION, judged
from rollout_local.ui.guard import host_name
from rollout_local.ui.links import Links
from tests.unit.ui.conftest import Markup, Site, change, pages_of, rows, run_of

Open = Callable[..., Site]
NEW = not version("datasette").startswith("0.")


def actions(path: Path) -> str:
    return Links("/").run(path.stem, run_of(path), "actions")


# -- hosts


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8001", "[::1]:8001", "LOCALHOST:1", "localhost."])
def test_loopback_names_are_answered(finished: Path, site: Open, host: str) -> None:
    assert site(finished).get("/-/rollout/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/-/rollout/", "/rollout/runs.json", "/-/rollout/static/live.js", "/-/databases.json"]
)
@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "192.168.0.9"]
)
def test_a_foreign_host_name_is_refused_everywhere(finished: Path, site: Open, path: str, host: str) -> None:
    answer = site(finished).get(path, headers={"host": host})
    assert answer.status_code == 421
    assert "prompt" not in answer.text


def test_a_trusted_host_is_answered(finished: Path, site: Open) -> None:
    opened = site(finished, trusted_hosts=["Lab.Example"])
    assert opened.get("/-/rollout/", headers={"host": "lab.example:8001"}).status_code == 200
    assert opened.get("/-/rollout/", headers={"host": "other.example"}).status_code == 421


def test_hosts_may_be_trusted_in_the_configuration_of_datasette(finished: Path) -> None:
    from datasette.app import Datasette

    from rollout_local.ui.state import state_of

    datasette = Datasette([str(finished)], metadata={"plugins": {"rollout-local": {"trusted_hosts": ["lab.example"]}}})
    opened = Site(datasette, state_of(datasette), {})
    assert opened.get("/-/rollout/", headers={"host": "lab.example"}).status_code == 200
    assert opened.get("/-/rollout/", headers={"host": "other.example"}).status_code == 421
    assert "Optimization runs" in opened.text("/"), "under plain datasette its own front page stays"
    opened.state.close()
    for database in datasette.databases.values():
        database.close()


@pytest.mark.parametrize(
    ("host", "name"), [("a:1", "a"), ("[::1]:80", "::1"), ("A.", "a"), ("[", ""), ("", ""), ("127.0.0.1:80, b", "")]
)
def test_the_name_is_read_out_of_a_host(host: str, name: str) -> None:
    assert host_name(host) == name


# -- writes


def test_anonymous_may_read_but_not_write(finished: Path, site: Open) -> None:
    opened = site(finished)
    assert '<form method="post"' not in opened.text(Links("/").run("rollout", run_of(finished)))
    assert opened.ask("POST", actions(finished), data={"action": "retry"}).status_code == 403
    assert opened.ask("POST", "/-/rollout/new", data={}).status_code == 403


def test_the_matrix_of_writes(copy: Path, site: Open) -> None:
    opened = site(copy)
    opened.sign_in()
    page = Links("/").run(copy.stem, run_of(copy))
    if not NEW:  # 1.0 has no tokens: a browser cannot ask without saying where it comes from
        assert opened.ask("POST", actions(copy), data={"action": "retry"}).status_code == 403, "signed in, no token"
    asked = {"action": "retry", **opened.token(page)}
    for headers, status in (
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:9999"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "http://localhost", "sec-fetch-site": "cross-site"}, 403),
        ({"host": "evil.example"}, 421),
        ({"origin": "http://localhost"}, 303),
        ({"origin": "http://localhost", "sec-fetch-site": "same-origin"}, 303),
    ):
        answer = opened.ask("POST", actions(copy), data=asked, headers=headers)
        assert answer.status_code == status, headers
    assert len(rows(copy, "SELECT * FROM run_commands")) == 2
    opened.cookies.pop("ds_actor")
    assert opened.ask("POST", actions(copy), data=asked).status_code == 403, "a token, not signed in"


def test_the_origin_of_a_trusted_host_may_write(copy: Path, site: Open) -> None:
    opened = site(copy, trusted_hosts=["lab.example"])
    opened.sign_in()
    asked = {"action": "retry", **opened.token(Links("/").run(copy.stem, run_of(copy)))}
    headers = {"origin": "https://lab.example", "host": "127.0.0.1:8001"}
    assert opened.ask("POST", actions(copy), data=asked, headers=headers).status_code == 303


def test_datasette_is_told_that_the_origin_was_judged_unless_the_browser_said_so() -> None:
    def told(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        return list(judged({"type": "http", "headers": list(headers)})["headers"])

    origin, fetched = (b"Origin", b"https://lab.example"), (b"Sec-Fetch-Site", b"none")
    assert told(origin) == [origin, (b"sec-fetch-site", b"same-origin")]
    assert told(origin, fetched) == [origin, fetched]
    assert told() == []


def test_the_sign_in_link_works_once(finished: Path, site: Open) -> None:
    opened = site(finished)
    key = opened.state.key or ""
    assert opened.get(Links("/").sign_in("wrong")).status_code == 403
    assert opened.get(Links("/").sign_in("")).status_code == 403
    first = opened.get(Links("/").sign_in(key))
    assert first.status_code == 303
    assert "httponly" in first.headers["set-cookie"].lower()
    assert "samesite=lax" in first.headers["set-cookie"].lower()
    assert opened.get(Links("/").sign_in(key)).status_code == 403


def test_somebody_else_who_is_signed_in_may_not_write(copy: Path, site: Open) -> None:
    opened = site(copy)
    opened.cookies["ds_actor"] = opened.datasette.sign({"a": {"id": "somebody"}}, "actor")
    assert "read only" in opened.text("/-/rollout/")
    assert opened.ask("POST", "/-/rollout/new", data={}).status_code == 403


@pytest.mark.skipif(not NEW, reason="0.65 has no configuration for the actions of plugins")
def test_whom_the_configuration_of_datasette_allows_may_write(copy: Path, site: Open) -> None:
    from datasette.app import Datasette

    from rollout_local.ui.state import state_of

    allowed = {"permissions": {ACTION: {"id": "somebody"}}}
    datasette = Datasette([str(copy)], config=allowed)
    opened = Site(datasette, state_of(datasette), {})
    opened.cookies["ds_actor"] = datasette.sign({"a": {"id": "somebody"}}, "actor")
    asked = {"action": "retry", **opened.token(Links("/").run(copy.stem, run_of(copy)))}
    assert opened.ask("POST", actions(copy), data=asked).status_code == 303
    opened.cookies["ds_actor"] = datasette.sign({"a": {"id": "another"}}, "actor")
    assert opened.ask("POST", actions(copy), data=asked).status_code == 403
    opened.state.close()
    for database in datasette.databases.values():
        database.close()


def test_pages_are_only_read(finished: Path, site: Open) -> None:
    opened = site(finished)
    opened.sign_in()
    asked = opened.token(Links("/").run("rollout", run_of(finished)))
    assert opened.ask("POST", "/-/rollout/", data=asked).status_code == 405
    assert opened.get(actions(finished)).status_code == 405
    long = {**asked, "action": "x" * 70_000}
    assert opened.ask("POST", actions(finished), data=long).status_code == 413


# -- what pages of other sites, and questions of one's own, may cost


@pytest.mark.parametrize(
    "path", ["/-/rollout/", "/rollout/runs.json", "/rollout.json?sql=select+1", "/-/static/app.css"]
)
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:9999"},
        {"origin": "null"},
    ],
    ids=str,
)
def test_a_page_of_another_site_gets_nothing_of_us(
    finished: Path, site: Open, path: str, headers: dict[str, str]
) -> None:
    opened = site(finished)
    opened.sign_in()
    assert opened.get(path, headers=headers).status_code == 403


def test_a_link_of_another_site_leads_to_pages_and_not_into_a_question(finished: Path, site: Open) -> None:
    opened = site(finished)
    opened.sign_in()
    visit = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    for path, status in (
        ("/-/rollout/?status=completed", 200), ("/rollout/runs", 200), ("/rollout?sql=select+1", 403),
        ("/rollout/runs?_where=1", 403),
    ):  # fmt: skip
        assert opened.get(path, headers=visit).status_code == status, path
    own = {**visit, "sec-fetch-site": "same-origin"}
    assert opened.get("/rollout/runs?_size=1", headers=own).status_code == 200


def sql(opened: Site, statement: str) -> httpx.Response:
    return opened.get("/rollout.json", params={"sql": statement, "_shape": "array"})


def test_sql_of_ones_own_is_for_who_signed_in(finished: Path, site: Open) -> None:
    opened = site(finished)
    assert sql(opened, "select 1 as one").status_code == 403
    assert opened.get("/rollout/runs?_where=1").status_code == 403
    opened.sign_in()
    assert sql(opened, "select 1 as one").json() == [{"one": 1}]


@pytest.mark.parametrize(
    "statement",
    ["select length(zeroblob(17000000))", "select length(replace(hex(zeroblob(5000000)), '0', 'ab'))",
     "select hex(fts3_tokenizer('simple'))", "select load_extension('x')", "select readfile('/etc/hostname')"],
)  # fmt: skip
def test_a_statement_can_neither_fill_the_memory_nor_reach_out(finished: Path, site: Open, statement: str) -> None:
    opened = site(finished)
    opened.sign_in()
    answer = sql(opened, statement)
    assert answer.status_code == 400
    assert any(words in answer.text for words in ("too big", "not authorized", "no such function"))


def test_our_own_readers_reach_out_no_more_than_datasettes(finished: Path) -> None:
    connection = readers._connect(readers.Source("rollout", finished))
    assert connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) == readers.LONGEST_READ
    with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|no such function"):
        connection.execute("SELECT fts3_tokenizer('simple')")
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        connection.execute("ATTACH DATABASE ':memory:' AS other")
    connection.close()


# -- headers


@pytest.mark.parametrize(
    ("path", "referrer"),
    [
        ("/-/rollout/", "same-origin"),
        (
            "/rollout",
            "same-origin" if NEW else "no-referrer",
        ),  # Datasette's own word for its tables, which hold no form of ours
        ("/-/rollout/static/style.css", "same-origin"),
        ("/nowhere", "same-origin"),
    ],
)
def test_every_answer_carries_the_headers_that_keep_it_to_itself(
    finished: Path, site: Open, path: str, referrer: str
) -> None:
    answer = site(finished).get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == referrer


def test_static_files_are_ours_only_and_kept(finished: Path, site: Open) -> None:
    opened = site(finished)
    for name in ("style.css", "live.js", "mark.svg"):
        answer = opened.get(f"/-/rollout/static/{name}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    for name in ("nothing.css", "..%2fpages.py", "pages.py", "style.txt"):
        assert opened.get(f"/-/rollout/static/{name}").status_code in (302, 404)


def test_pages_hold_no_script_or_style_of_their_own_and_reach_nobody(finished: Path, site: Open) -> None:
    opened = site(finished)
    for name, path in pages_of(finished).items():
        found = Markup(opened.text(path))
        assert all(script.get("src") for script in found.all("script")), name
        assert not found.all("style"), name
        for _, attributes in found.elements:
            assert "style" not in attributes, name
            assert not any(attribute.startswith("on") for attribute in attributes), name
            for attribute in ("src", "href", "action"):
                assert not str(attributes.get(attribute) or "/").startswith(("http", "//", "javascript:", "data:")), (
                    name
                )


# -- hostile text

PAYLOADS = (
    "</script><script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "javascript:alert(1)",
    "\u202egnp.exe\u2066\u200b",
    "\x1b[31mred\x1b[0m\x07\r\x00",
    '"><svg onload=alert(1)>{{ 7 * 7 }}{% raw %}',
    "' OR 1=1 --; ../../etc/passwd ~%2e%2e/\\",
)
FREE_TEXT = {
    "runs": ("name", "project", "run_ref", "message", "target_id", "optimizer", "log_dir", "recording", "stop_reason"),
    "trials": ("task_name", "feedback", "output", "error", "error_kind"),
    "candidate_tasks": ("task_name",),
    "tasks": ("name", "instruction"),
    "datasets": ("name", "slug"),
    "targets": ("id", "description", "baseline"),
    "proposals": ("reason", "component"),
    "events": ("message", "level"),
    "traces": ("name",),
    "span_records": ("name", "model", "output", "error", "type"),
    "verifiers": ("name",),
    "run_commands": ("action", "actor", "note"),
}


MANY = ("trials", "candidate_tasks", "tasks", "span_records", "texts", "traces", "events", "reflections")


def poison(path: Path, payload: str, of_many: str = "1") -> None:
    """Put `payload` into every text that a person, a model or a file may have written."""
    quoted = json.dumps(payload)

    def where(table: str) -> str:
        return of_many if table in MANY else "1"

    statements: list[tuple[str, tuple[str, ...]]] = [
        (f"UPDATE {table} SET {column} = ? || coalesce(substr({column}, 1, 30), '') WHERE {where(table)}", (payload,))
        for table, columns in FREE_TEXT.items() for column in columns
    ]  # fmt: skip
    statements += [
        ("UPDATE proposals SET feedback_json = ?", (json.dumps([{"task": payload, "feedback": payload}]),)),
        (
            f"UPDATE trials SET checks_json = ? WHERE {of_many}",
            (json.dumps([{"id": payload, "score": 0.5, "reason": payload}]),),
        ),
        (
            f"UPDATE tasks SET input_json = ?, expected_output_json = ? WHERE {of_many}",
            (json.dumps({payload: payload}), quoted),
        ),
        (f"UPDATE texts SET text = ? WHERE {of_many}", (json.dumps({"role": payload, "content": payload}),)),
        (f"UPDATE reflections SET reply_json = ? WHERE {of_many}", (json.dumps({"text": payload}),)),
    ]
    report = json.loads(rows(path, "SELECT report_json FROM reports")[0][0])
    for case in report["improved"] + report["regressed"]:
        case |= {"task": payload, "instruction": payload, "input": {payload: payload}}
        case["best"] |= {"output": payload, "feedback": payload}
    report["verdict"] |= {"sentence": payload, "luck_sentence": payload}
    texts = {
        number: {payload: f"a\n{payload}\nb {number}"} for (number,) in rows(path, "SELECT number FROM candidates")
    }
    for number, components in texts.items():
        made = Candidate(components=components)
        sql = f"UPDATE candidates SET text = ?, components_json = ?, content_hash = ? WHERE number = {number}"
        statements.append((sql, (made.text, json.dumps(components), made.content_hash)))
    for side in (report["baseline"], report["best"]):
        side |= {"text": payload, "components": texts[side["number"]]}
    report["checks"][0]["id"] = payload
    statements.append(("UPDATE reports SET report_json = ?", (json.dumps(report),)))
    change(path, ("INSERT INTO run_commands (run_id, action, actor, created_at) VALUES (?, 'retry', 'x', ?)",
                  (run_of(path), "2026-01-01T00:00:00.000Z")), *statements)  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_hostile_text_is_text_on_every_page(copy: Path, site: Open, payload: str) -> None:
    poison(copy, payload)
    opened = site(copy)
    opened.sign_in()
    for name, path in pages_of(copy).items():
        answer = opened.get(path)
        assert answer.status_code == 200, (name, answer.text[:500])
        found = Markup(answer.text)
        assert found.unclosed == [], name
        assert not found.all("img"), name
        assert len(found.all("script")) == 1, name
        assert all("onload" not in attributes and "onerror" not in attributes for _, attributes in found.elements), name
        links = [str(a.get("href")) for a in found.all("a")]
        assert all(link.startswith(("/", "#")) for link in links), name
        for acting in "\u202e\u2066\u200b\x1b\x07\x00\r":
            assert acting not in answer.text, (name, acting)
        assert "49" not in found.text.split("{{", maxsplit=1)[0] or "{{ 7" not in payload or name, name
    live = opened.get(Links("/").data(copy.stem, run_of(copy)))
    assert not any(acting in json.dumps(live.json(), ensure_ascii=False) for acting in "\u202e\x1b\x00")


def test_a_megabyte_in_every_name_breaks_nothing(copy: Path, site: Open) -> None:
    poison(copy, "very long name " * 70_000, "abs(random()) % 10 = 0")
    opened = site(copy)
    for name, path in pages_of(copy).items():
        answer = opened.get(path if len(path) < 5_000 else Links("/").run(copy.stem, run_of(copy)))
        assert answer.status_code == 200, (name, answer.text[:500])
        assert len(answer.content) < 3_000_000, name


# -- other people's databases


def test_on_a_foreign_database_every_hook_stays_silent(tmp_path: Path) -> None:
    from datasette.app import Datasette
    from datasette.plugins import pm

    from rollout_local import ui
    from rollout_local.ui.state import state_of

    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE runs (id TEXT)")
    connection.commit()
    connection.close()
    if not pm.is_registered(ui):
        pm.register(ui, name="rollout-local")
    datasette = Datasette([str(other)], memory=True)
    opened = Site(datasette, state_of(datasette), {})
    for path in ("/", "/other", "/other/runs"):
        answer = opened.get(path, headers={"host": "anything.example"})
        assert answer.status_code == 200
        assert "Optimization" not in answer.text
        assert "optimization runs" not in answer.text
        assert "x-frame-options" not in answer.headers
    assert opened.get("/-/rollout/").status_code == 404
    assert opened.get("/other/best_prompts").status_code == 404
    if NEW:
        metadata = asyncio.run(datasette.get_database_metadata("other"))
    else:
        metadata = opened.document("/-/metadata.json").get("databases")
    assert not metadata
    for database in datasette.databases.values():
        database.close()
