"""A dry run says what a replay could not answer, before anything is spent."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Project

Make = Callable[..., Project]
NOWHERE = "http://127.0.0.1:9/v1"
ASK = "    base = os.environ"
CHANGE = "task = task.model_copy(update=dict(instruction=task.instruction + ' Id ' + str({})))"


def warned(project: Project, before: str = "", *flags: str) -> list[str]:
    """What a dry run warns of where the target does `before` ahead of its request; DSPy's own splits aside."""
    if before:
        target = project.folder / "target.py"
        target.write_text(target.read_text().replace(ASK, f"    {before}\n{ASK}"))
    found = project.document("optimize", "dry-run", *project.flags, *flags)
    return [one["detail"] for one in found["checks"] if (one["check"], one["status"]) == ("recording", "warn")]


def test_a_target_that_asks_the_same_each_time_is_not_warned_of(make_project: Make) -> None:
    assert warned(make_project(NOWHERE)) == []


def test_what_changes_each_time_is_named_with_the_flag_that_mends_it(make_project: Make) -> None:
    project = make_project(NOWHERE)
    change = CHANGE.format("__import__('uuid').uuid4()")
    (said,) = warned(project, change)
    assert said.startswith("the same task asked twice gives two requests to /v1/chat/completions, which a replay would")
    assert "what differs is a UUID in messages.1.content" in said
    found = re.search(r"\(--ignore-field (.*)\)", said)
    assert found is not None
    assert warned(project, "", "--ignore-field", shlex.split(found.group(1))[0]) == []


def test_what_is_of_no_known_kind_is_told_too(make_project: Make) -> None:
    shuffle = CHANGE.format("''.join(__import__('random').SystemRandom().sample('αβγδεζηθικλμνξοπ', 16))")
    (said,) = warned(make_project(NOWHERE), shuffle)
    assert said.endswith("send the same for the same task, or name an --ignore-field")


def test_a_request_that_is_made_once_in_a_process_is_not_warned_of(make_project: Make) -> None:
    once = "globals().get('token') or globals().update(token=__import__('httpx').post('http://h/token', json={}).text)"
    assert warned(make_project(NOWHERE), once) == []


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("__import__('socket').create_connection(('127.0.0.1', 9))", "reached 127.0.0.1:9 with a client"),
        ("subprocess.run(['touch', 'ran'])", "started the program 'touch'"),
    ],
)
def test_what_passes_by_the_recording_is_told_and_not_done(make_project: Make, before: str, said: str) -> None:
    project = make_project(NOWHERE)
    (told,) = warned(project, before)
    assert said in told
    assert not (project.folder / "ran").exists()


def test_a_target_that_never_comes_to_an_end_is_stopped(make_project: Make) -> None:
    forever = "while True: __import__('httpx').post('http://h/v1/messages', json={})"
    assert warned(make_project(NOWHERE), forever) == []


def test_what_is_asked_at_import_is_said(make_project: Make, endpoint: object, tmp_path: Path) -> None:
    project = make_project(NOWHERE)
    target = project.folder / "target.py"
    target.write_text(f"import httpx\nhttpx.get({endpoint.url!r})\n" + target.read_text())  # type: ignore[attr-defined]
    found = project.document("optimize", "dry-run", *project.flags)
    assert "1 requests are made while the module is imported; they are recorded" in [
        one["detail"] for one in found["checks"]
    ]
