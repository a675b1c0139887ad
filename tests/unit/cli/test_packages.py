"""The packages around us, as their own metadata tells; and whose the command `rollout` is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from rollout_local.cli.packages import Finding, command, packages

ROOT = Path(__file__).parents[3]
Install = Callable[..., None]
OURS = "#!/x/bin/python\nfrom rollout_local.cli.main import main\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs the metadata of a distribution, on the path before all others."""
    place = tmp_path / "site"
    place.mkdir()
    monkeypatch.syspath_prepend(place)

    def write(name: str, version: str, *requires: str, extras: tuple[str, ...] = (), scripts: str = "") -> None:
        folder = place / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        lines = [f"Requires-Dist: {one}" for one in requires] + [f"Provides-Extra: {one}" for one in extras]
        head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        (folder / "METADATA").write_text("\n".join([*head, *lines, ""]))
        if scripts:
            (folder / "entry_points.txt").write_text(f"[console_scripts]\n{scripts}\n")

    return write


def test_everything_that_the_installed_distribution_asks_for_has_a_line() -> None:
    asked = {Requirement(line) for line in metadata.requires("rollout-local") or ()}
    needed = {one.name for one in asked if one.marker is None}
    found = {one.check: one.status for one in packages()}
    assert {"openai", "httpx", "click", "pydantic", "scipy", "jsonschema", "packaging"} <= needed <= set(found)
    assert set(found.values()) == {"ok"}


def test_a_version_that_does_not_fit_is_named_with_what_is_asked(install: Install) -> None:
    install("app-x", "1", "lib-a<1.0,>=0.27", "lib-b>=2", 'lib-c>=9; python_version < "3"')
    install("lib-a", "1.0.dev6")
    assert list(packages("app-x")) == [
        Finding("lib-a", "fail", "1.0.dev6; needed is <1.0,>=0.27: pip install 'lib-a<1.0,>=0.27'"),
        Finding("lib-b", "fail", "not installed; pip install 'lib-b>=2'"),
    ]


@pytest.mark.parametrize(
    ("version", "status"),
    [("3.4.1", "ok"), ("3.4.9.post1", "ok"), ("3.5", "fail"), ("3.5rc1", "fail"), ("3.4.0", "fail"), ("local", "fail")],
)
def test_versions_are_compared_as_pip_compares_them(install: Install, version: str, status: str) -> None:
    install("app-x", "1", "lib-a>=3.4.1,<3.5")
    install("lib-a", version)
    assert [one.status for one in packages("app-x")] == [status]


def test_what_a_package_of_ours_asks_for_counts_too_and_a_circle_ends(install: Install) -> None:
    install("app-x", "1", "lib-a[fast]")
    install("lib-a", "2", "lib-b==0.1.4", 'lib-d; extra == "fast"', 'lib-e; extra == "slow"', extras=("fast", "slow"))
    install("lib-b", "0.1.5", "lib-a", "app-x")
    assert [(one.check, one.status) for one in packages("app-x")] == [
        ("lib-a", "ok"), ("lib-b", "fail"), ("lib-d", "fail"),
    ]  # fmt: skip
    assert "0.1.5; needed is ==0.1.4" in list(packages("app-x"))[1].detail
    assert "(lib-a 2 asks for it)" in list(packages("app-x"))[1].detail


def test_an_extras_package_counts_where_it_is_there_and_stops_nothing_else(install: Install) -> None:
    install("app-x", "1", 'lib-a>=2; extra == "fast"', 'lib-b; extra == "fast"', "lib-c", extras=("fast",))
    install("lib-a", "1")
    install("lib-c", "1")
    found = list(packages("app-x"))
    assert [(one.check, one.status) for one in found] == [("lib-c", "ok"), ("lib-a", "warn")]
    assert found[1].detail.endswith("(for [fast] alone)")


def test_where_we_are_not_installed_nothing_is_claimed() -> None:
    (found,) = packages("no-such-distribution")
    assert found.status == "warn"


def test_a_broken_package_is_one_sentence_and_exit_1_and_is_not_imported(install: Install, tmp_path: Path) -> None:
    install("httpx", "1.0.dev6")
    (tmp_path / "site" / "httpx.py").write_text("raise RuntimeError('broken')\n")
    done = subprocess.run(
        [sys.executable, "-m", "rollout_local", "doctor", "--json"],
        capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    found = {one["check"]: one for one in json.loads(done.stdout)}
    assert found["httpx"]["status"] == "fail"
    (needed,) = (one for one in map(Requirement, metadata.requires("rollout-local") or ()) if one.name == "httpx")
    assert found["httpx"]["detail"].startswith(f"1.0.dev6; needed is {needed.specifier}:")
    assert found["sqlite JSON"]["status"] == "ok"


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A folder of commands with ours in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "rollout").write_text(OURS)
    return folder


def test_the_command_of_this_environment_is_well(scripts: Path) -> None:
    assert command(str(scripts / "rollout"), scripts) == ("command", "ok", str(scripts / "rollout"))


def test_a_command_that_is_not_on_the_path_says_how_to_reach_it(scripts: Path) -> None:
    found = command(None, scripts)
    assert found.status == "warn"
    assert f"put {scripts} on PATH" in found.detail


def test_a_command_that_another_distribution_wrote_over_ours_is_named(install: Install, scripts: Path) -> None:
    install("rollout-other", "0.9.1", scripts="rollout = other:main")
    (scripts / "rollout").write_text("#!/x/bin/python\nfrom other import main\n")
    found = command(str(scripts / "rollout"), scripts)
    assert found.status == "fail"
    assert "belongs to rollout-other 0.9.1; say `rollout-local`, or uninstall rollout-other 0.9.1" in found.detail


def test_a_command_that_went_with_another_distribution_is_missed(scripts: Path) -> None:
    (scripts / "rollout").unlink()
    found = command(None, scripts)
    assert found.status == "fail"
    assert "is not there; say `rollout-local`, or install rollout-local again" in found.detail


def test_a_command_that_another_distribution_would_take_with_it_deserves_a_look(
    install: Install, scripts: Path
) -> None:
    install("rollout-other", "0.9.1", scripts="rollout = other:main")
    found = command(str(scripts / "rollout"), scripts)
    assert found.status == "warn"
    assert "rollout-other 0.9.1" in found.detail


@pytest.mark.parametrize(("text", "whose"), [(OURS, "of another environment"), ("#!/bin/sh\n", "another program")])
def test_a_command_found_before_ours_is_named(scripts: Path, tmp_path: Path, text: str, whose: str) -> None:
    before = tmp_path / "rollout"
    before.write_text(text)
    found = command(str(before), scripts)
    assert found.status == "fail"
    assert f"`rollout` is {before}, {whose}" in found.detail


def test_the_command_has_a_second_name_that_nobody_else_has() -> None:
    names = metadata.entry_points(group="console_scripts", value="rollout_local.cli.main:main").names
    assert names == {"rollout", "rollout-local"}
    assert (Path(sysconfig.get_path("scripts")) / "rollout-local").exists()
