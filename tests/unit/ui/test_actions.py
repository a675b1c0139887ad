"""What a signed-in reader may ask of a run, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rollout_local.domain.run import MOVES, RunStatus
from rollout_local.errors import InputError, Refused
from rollout_local.store.schema import Store, open_store
from rollout_local.ui import pages
from rollout_local.ui.commands import AT_ONCE, OFFERED, ask
from rollout_local.ui.links import Links
from rollout_local.ui.views import new
from rollout_local.ui.visit import Visit
from tests.unit.ui.conftest import Markup, Site, change, rows, run_of

Open = Callable[..., Site]
NOW = "2026-11-21T00:00:00.000Z"


def asked(opened: Site, path: Path, action: str) -> Any:
    page = Links("/").run(path.stem, run_of(path))
    form = {"action": action, **opened.token(page)}
    return opened.ask("POST", Links("/").run(path.stem, run_of(path), "actions"), data=form)


def test_every_move_that_is_made_at_once_is_legal() -> None:
    for expected, to in AT_ONCE.values():
        assert all(to in MOVES[status] for status in expected)
    assert set(OFFERED) == set(RunStatus)


@pytest.mark.parametrize(("status", "action"), [(s, a) for s, offered in OFFERED.items() for a in offered])
def test_what_is_offered_is_recorded_with_who_asked(copy: Path, site: Open, status: RunStatus, action: str) -> None:
    change(copy, ("UPDATE runs SET status = ?", (status,)))
    opened = site(copy)
    opened.sign_in()
    answer = asked(opened, copy, action)
    assert answer.status_code == 303
    command = rows(copy, "SELECT * FROM run_commands")[0]
    assert (command["action"], command["actor"]) == (action, "root")
    expected, to = AT_ONCE.get(action, ((), status))
    now = rows(copy, "SELECT status FROM runs")[0]["status"]
    if status in expected:
        assert now == to
        assert command["handled_at"] is not None
    else:
        assert now == status
        assert command["handled_at"] is None
    assert f"{action.capitalize()} was asked for by root" in Markup(opened.text(answer.headers["location"])).text


def test_a_request_that_nobody_heard_says_what_to_type(copy: Path, site: Open) -> None:
    change(copy, "UPDATE runs SET status = 'running'")
    opened = site(copy)
    opened.sign_in()
    asked(opened, copy, "cancel")
    said = Markup(opened.text(Links("/").run(copy.stem, run_of(copy)))).text
    assert f"If nobody is listening, type rollout optimize cancel {run_of(copy)}" in said


def test_what_is_not_offered_is_refused(copy: Path, site: Open) -> None:
    opened = site(copy)
    opened.sign_in()
    for action in ("pause", "delete everything", ""):
        answer = asked(opened, copy, action)
        assert answer.status_code == 400
        assert "cannot be asked" in answer.text
    assert rows(copy, "SELECT * FROM run_commands") == []


def test_the_status_counts_at_the_moment_of_asking(copy: Path) -> None:
    change(copy, "UPDATE runs SET status = 'cancelled'")
    with pytest.raises(Refused, match="cancelled"):
        ask(copy, run_of(copy), "cancel", "root", lambda: NOW)


def test_a_file_that_is_not_rollout_db_is_named_in_what_to_type(copy: Path, site: Open) -> None:
    other = copy.rename(copy.with_name("my runs.db"))
    assert "--db" in site(other).text(Links("/").run("my runs", run_of(other)))


# -- a new job

FORM = {"target_row_id": "1", "dataset_id": "1", "verifier_id": "1", "reflection_model": " openai/x ", "name": ""}


def test_the_form_becomes_named_fields() -> None:
    assert new.fields({**FORM, "max_metric_calls": "50", "db": "x"}) == {
        "target_row_id": 1, "dataset_id": 1, "verifier_id": 1, "reflection_model": "openai/x", "max_metric_calls": 50,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("reflection_model", "", "reflection model"), ("seed", "-1", "whole number"), ("target_row_id", "", "target"),
     ("max_metric_calls", "1e9", "budget"), ("dataset_id", "٣", "whole number")],
)  # fmt: skip
def test_what_is_wrong_in_the_form_is_named(field: str, value: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        new.fields({**FORM, field: value})


def test_a_created_job_is_queued(copy: Path) -> None:
    change(copy, "UPDATE runs SET status = 'created'")
    seen: list[Mapping[str, Any]] = []

    def made(_store: Store, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        seen.append(fields)
        return {"id": run_of(copy)}

    with open_store(copy) as store:
        assert new.create(store, made, FORM) == run_of(copy)
    assert seen[0]["target_row_id"] == 1
    assert rows(copy, "SELECT status FROM runs")[0]["status"] == "queued"


def test_the_form_offers_what_the_file_holds(copy: Path, site: Open) -> None:
    from rollout_local.ui.queries import parts_of_jobs

    with open_store(copy) as store:
        found = parts_of_jobs(store)
    assert found["targets"][0]["name"] == "support"
    assert found["datasets"][0]["name"] == "support@1, 18 tasks"
    assert found["verifiers"]
    assert found["models"] == [{"reflection": "openai/sim-reflection", "task": "openai/sim-student"}]


def test_submitting_needs_a_database_that_is_open_here(copy: Path, site: Open) -> None:
    opened = site(copy)
    opened.sign_in()
    token = opened.token(Links("/").run(copy.stem, run_of(copy)))
    answer = opened.ask("POST", "/-/rollout/new", data={**FORM, **token, "db": "elsewhere"})
    assert answer.status_code == 400


def test_a_job_cannot_be_created_where_the_package_cannot(copy: Path, site: Open) -> None:
    """The form asks for `runs.setup.insert_from_rows`; without it the page says what to type."""
    opened = site(copy)
    opened.sign_in()
    if new.creator() is not None:
        pytest.skip("this package creates runs from rows")
    assert "rollout optimize submit" in opened.text("/-/rollout/new")
    token = opened.token(Links("/").run(copy.stem, run_of(copy)))
    answer = opened.ask("POST", "/-/rollout/new", data={**FORM, **token, "db": copy.stem})
    assert "rollout optimize submit" in answer.text


def test_the_form_is_whole_html_and_carries_the_token(copy: Path, empty: Path) -> None:
    from rollout_local.ui.queries import parts_of_jobs

    choices = []
    for path in (copy, empty):
        with open_store(path) as store:
            choices.append({"db": path.stem, **parts_of_jobs(store)})
    visit = Visit(Links("/"), {}, lambda _source: None, 0.0, may_act=True, token="t0ken")  # type: ignore[arg-type, return-value]
    context = {"title": "New job", "choices": choices, "offered": True, "visit": visit, "links": visit.links}
    found = Markup(pages.render("new.html", {"run": None, "tab": "", "version": pages.version, **context}).decode())
    assert found.unclosed == []
    assert {"name": "csrftoken", "value": "t0ken", "type": "hidden"} in found.all("input")
    assert {"target_row_id", "dataset_id", "verifier_id"} <= {str(of["name"]) for of in found.all("select")}
    assert "has no target yet" in found.text
