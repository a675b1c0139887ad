"""What `make versions` covers is what the metadata claims."""

from __future__ import annotations

import re
import tomllib

from tests.versions import ROOT, ROWS, Result, lower_bounds, table

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_python_that_the_classifiers_name_has_a_row() -> None:
    claimed = {said.rpartition(" ")[2] for said in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", said)}
    assert claimed == {row.python for row in ROWS}


def test_every_requirement_has_a_lower_bound_that_is_run() -> None:
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", bound) for bound in lower_bounds())
    assert len(lower_bounds()) == len(PROJECT["dependencies"])


def test_a_row_that_could_not_be_run_says_why_and_a_red_one_says_what_failed() -> None:
    away = Result(ROWS[0], reason="there is no Python 3.11 here")
    red = Result(ROWS[1], steps={"help": "ok", "live": "exit 2: no"})
    assert away.is_green
    assert not red.is_green
    assert "| not run: there is no Python 3.11 here |" in table([away])
    assert "| live: exit 2: no |" in table([red])
