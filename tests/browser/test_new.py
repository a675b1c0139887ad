"""A job made in the browser: from the form to its report, with and without scripts, for everyone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rollout_local.simulator import Simulator
from rollout_local.ui.links import Links
from tests.browser.chromium import Tab
from tests.browser.conftest import Served
from tests.browser.test_pages import violations
from tests.children import Nursery
from tests.conftest import Project
from tests.unit.ui.conftest import change, rows

Serve = Callable[..., Served]
Open = Callable[..., Tab]


def fill(tab: Tab, **fields: str) -> None:
    for name, value in fields.items():
        tab.run(f"document.querySelector('form.job [name={name}]').value = {value!r}")


def send(tab: Tab) -> None:
    """Press the button, and wait for the page that comes."""
    tab.run("document.querySelector('form.job').setAttribute('data-old', '')")
    tab.run("document.querySelector('form.job button').click()")
    tab.until(lambda: tab.run("document.readyState === 'complete' && !document.querySelector('form.job[data-old]')"))


def test_a_job_from_the_form_is_taken_up_by_a_worker_and_ends_with_a_report(
    simulate: Callable[..., Simulator], make_project: Callable[..., Project], serve: Serve, tab: Open, nursery: Nursery
) -> None:
    project = make_project(simulate().url)
    project.document("optimize", "create", *project.flags, "--max-metric-calls", "10")
    site, opened = serve(project.folder / "rollout.db"), tab()
    opened.open(site.link)
    opened.run("[...document.querySelectorAll('a')].find((a) => a.textContent === 'New job').click()")
    opened.until(lambda: "New job" in opened.text("h1"))
    fill(opened, name="by hand", max_metric_calls="60")
    send(opened)
    assert opened.text("h1") == "by hand"
    assert "Waiting for a worker" in opened.text("#empty")
    done = nursery.run(project, "worker", "--once", "-q")
    assert done.code == 0, done.stderr
    opened.until(lambda: "completed" in opened.text("#head"))
    opened.until(lambda: opened.text("#verdict"))
    assert "Nothing was executed" not in opened.text(), "what is no longer so has gone"


def test_the_form_works_without_scripts_and_says_what_is_wrong(
    finished: Path, tmp_path: Path, serve: Serve, tab: Open
) -> None:
    copy = Path(shutil.copy(finished, tmp_path / "rollout.db"))
    site, opened = serve(copy), tab(scripts=False)
    opened.open(site.link)
    opened.open(site.root + Links("/").new())
    fill(opened, max_metric_calls="0", name="kept")
    send(opened)
    assert "Nothing was created: The number of search calls must be 1 or more" in opened.text("[role=alert]")
    assert opened.run("document.querySelector('form.job [name=name]').value") == "kept"
    assert len(rows(copy, "SELECT id FROM runs")) == 1
    fill(opened, max_metric_calls="5")
    send(opened)
    assert "queued" in opened.text("#head")
    assert len(rows(copy, "SELECT id FROM runs")) == 2
    opened.wrong = [said for said in opened.wrong if "400" not in said]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nobody_is_shut_out_of_the_form(
    finished: Path, empty: Path, tmp_path: Path, serve: Serve, tab: Open, dark: bool
) -> None:
    without = Path(shutil.copy(finished, tmp_path / "without.db"))
    change(without, "DELETE FROM runs")
    for path in (finished,) if dark else (finished, empty, without):  # a theme is colours, whatever the file holds
        site = serve(path)
        widths = (1280, 360) if path == finished else (360,)
        for width in widths:
            opened = tab(dark=dark, width=width)
            opened.open(site.link if width == widths[0] else site.root + "/-/rollout/")
            for page in (Links("/").new(), Links("/").jobs()):
                opened.open(site.root + page)
                assert violations(opened) == [], (path, page)
                over = opened.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert over <= 0, (path, page)
    opened = tab(dark=dark, width=360)
    opened.open(serve(without).link)
    fill(opened, reflection_model="openai/sim-reflection")
    assert opened.run("document.querySelector('form.job').scrollWidth <= document.documentElement.clientWidth")
    send(opened)
    assert "queued" in opened.text("#head")


def test_the_keyboard_alone_fills_and_sends_the_form(finished: Path, tmp_path: Path, serve: Serve, tab: Open) -> None:
    copy = Path(shutil.copy(finished, tmp_path / "rollout.db"))
    site, opened = serve(copy), tab()
    opened.open(site.link)
    opened.open(site.root + Links("/").new())
    opened.run("document.querySelector('form.job [name=name]').focus()")
    for key in "job?":
        opened.press(key)
    assert opened.run("document.activeElement.value") == "job?", "keys of the page are off inside a field"
    opened.press("Enter")
    opened.until(lambda: opened.run("!document.querySelector('form.job')"))
    assert opened.text("h1") == "job?"
