"""A file is replaced in one move, or stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout_local.whole_file import replaced


def test_the_former_text_is_there_until_the_new_one_is(tmp_path: Path) -> None:
    place = tmp_path / "file.json"
    place.write_text("old")
    (tmp_path / "file.json.new").write_text("of one that was killed, and longer")
    with replaced(place) as draft:
        draft.write_text("new")
        assert place.read_text() == "old"
    assert place.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


def test_what_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "file.json"
    place.write_text("old")
    with pytest.raises(OSError, match="no folder"), replaced(place) as draft:
        (draft / "no folder").write_text("x")
    assert place.read_text() == "old"
