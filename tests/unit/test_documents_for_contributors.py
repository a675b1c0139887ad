"""The plan of the house and the guide for contributors name what is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAN, GUIDE = ROOT / "rollout_local/ARCHITECTURE.md", ROOT / ".github/CONTRIBUTING.md"
PLACE = re.compile(r"`([\w./-]+/[\w.-]+)`")
LAYERS = re.compile(r"```\n(__main__.*?)```", re.DOTALL)


@pytest.mark.parametrize("document", [PLAN, GUIDE], ids=lambda path: path.name)
def test_every_file_and_folder_that_is_named_is_there(document: Path) -> None:
    places = PLACE.findall(document.read_text())
    assert len(places) > 8
    missing = [one for one in places if not ((ROOT / one).exists() or (ROOT / "rollout_local" / one).exists())]
    assert missing == []


def test_the_layers_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    kept = [[name.strip("() ") for name in layer.split("|")] for layer in layers]
    there = [[name for name in layer if name in _rooms()] for layer in kept]
    assert [sorted(layer) for layer in _drawn()] == [sorted(layer) for layer in there]


def test_every_room_is_drawn() -> None:
    assert _rooms() == {name for line in _drawn() for name in line}


def test_no_text_refers_to_notes_that_are_not_here() -> None:
    for folder in ("rollout_local", "tests", "experiments", "recordings"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".md", ".html"} and path != Path(__file__):
                assert "facts/" not in path.read_text(errors="replace"), path


def _drawn() -> list[list[str]]:
    found = LAYERS.search(PLAN.read_text())
    assert found is not None
    return [re.split(r"\s{3,}", line)[0].split(" | ") for line in found[1].splitlines()]


def _rooms() -> set[str]:
    package = ROOT / "rollout_local"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    return folders | {path.stem for path in package.glob("*.py")} - {"__init__"}
