"""The source of a target: its module and the user's modules that it imports; layout does not count."""

import sys
from types import ModuleType

import pytest

from rollout_local.domain.identity import content_hash
from rollout_local.errors import InputError
from rollout_local.targets.source import files_of, source_of, syntax

BASE = "import helper\nLIMIT = 3\n\ndef f(task, candidate):\n    return helper.go(LIMIT)\n"
HELPER = "def go(n):\n    return n + 1\n"


@pytest.fixture
def hashed(folder):
    """`hashed(text, helper)`: the hash of a module `app` with these contents."""

    def of(text=BASE, helper=HELPER):
        folder.write("helper.py", helper)
        folder.write("app.py", text)
        folder.load("app")
        return source_of("app")[1]

    return of


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\n" + BASE,
        BASE.replace("LIMIT = 3", "LIMIT   =   (3)  # three"),
        BASE.replace("\n\n", "\n\n\n\n"),
        BASE.replace("    return", "        return"),
        BASE.replace("\n", "\r\n"),
        BASE.replace("helper.go(LIMIT)", "helper.go(\n        LIMIT,\n    )"),
        BASE.replace("LIMIT = 3", "LIMIT = 0x3"),
    ],
)
def test_comments_and_layout_do_not_change_the_hash(hashed, text):
    assert hashed(text) == hashed()


@pytest.mark.parametrize(
    "text",
    [
        BASE.replace("3", "4"),
        BASE.replace("3", "'3'"),
        BASE.replace("3", "3.0"),
        BASE.replace("3", "None"),
        BASE.replace("LIMIT)", "-LIMIT)"),
        BASE.replace("def f", "async def f"),
        BASE.replace("task, candidate", "candidate, task"),
        BASE + "\nOTHER = 1\n",
    ],
)
def test_what_decides_the_behaviour_changes_the_hash(hashed, text):
    assert hashed(text) != hashed()


@pytest.mark.parametrize(
    ("one", "other"),
    [("x = 1", "x = '1'"), ("x = True", "x = 'True'"), ("x = b'a'", "x = \"b'a'\""), ("x = None", "x = ..."),
     ("x = 1", "x = 1.0"), ("x = []", "x = ()"), ("x = 0", "x = -0.0"), ("f(a)", "f(*a)"), ("x = 'a'", "x = a"),
     ("def f(): ...", "def f(a): ...")],
)  # fmt: skip
def test_two_programs_have_two_trees(one, other):
    assert content_hash(syntax(one)) != content_hash(syntax(other))


def test_a_surrogate_in_a_constant_can_be_hashed():
    assert content_hash(syntax(r"x = '\ud800'")) != content_hash(syntax(r"x = '\ud801'"))


def test_a_module_of_the_users_that_is_imported_counts(hashed, folder):
    assert hashed(helper=HELPER.replace("1", "2")) != hashed()
    text, _ = source_of("app")
    assert text == f"# --- app.py\n{BASE}\n# --- helper.py\n{HELPER}"


def test_a_module_that_is_not_imported_does_not_count(hashed, folder):
    before = hashed()
    folder.write("other.py", "x = 1")
    folder.load("other")
    folder.load("app")
    assert source_of("app")[1] == before


def test_an_imported_module_of_an_imported_module_counts_and_circles_end(hashed, folder):
    folder.write("deep.py", "import app\nN = 1\n")
    with_import = "import deep\n" + HELPER
    before = hashed(helper=with_import)
    folder.write("deep.py", "import app\nN = 2\n")
    assert hashed(helper=with_import) != before


def test_libraries_do_not_count(folder):
    folder.write("app.py", "import json, pydantic\nfrom collections import abc\nimport rollout_local\nX = 1\n")
    folder.load("app")
    assert source_of("app")[0].count("# --- ") == 1


def test_a_library_below_the_users_folder_does_not_count(folder, monkeypatch):
    folder.write(".venv/lib/site-packages/vendored.py", "x = 1")
    monkeypatch.syspath_prepend(folder.path / ".venv/lib/site-packages")
    folder.write("app.py", "import vendored\n")
    folder.load("app")
    assert "vendored.py" not in source_of("app")[0]


def test_the_place_of_the_folder_does_not_count(folder):
    hashes = []
    for name in ("here", "there"):
        folder.write(f"{name}/app.py", "X = 1\n")
        sys.path.insert(0, str(folder.path / name))
        folder.load("app")
        hashes.append(source_of("app"))
        sys.path.pop(0)
    assert hashes[0] == hashes[1]


PACKAGE = {
    "pack/__init__.py": "",
    "pack/settings.py": "LIMIT = 1\n",
    "pack/agents/__init__.py": "from .tools import search\n",
    "pack/agents/tools.py": "from ..settings import LIMIT\ndef search(): return LIMIT\n",
    "pack/agents/support.py": "from . import tools\nfrom .. import settings\nfrom pack.extra import more\n",
    "pack/extra/__init__.py": "",
    "pack/extra/more.py": "Y = 1\n",
    "pack/unused.py": "Z = 1\n",
}


@pytest.mark.parametrize("start", ["pack.agents.support", "pack.agents"])
def test_relative_imports_in_packages_are_followed(folder, start):
    for name, text in PACKAGE.items():
        folder.write(name, text)
    folder.load(start)
    text, _ = source_of(start)
    found = [line.removeprefix("# --- ") for line in text.splitlines() if line.startswith("# --- ")]
    wanted = ["pack/agents/__init__.py", "pack/agents/tools.py", "pack/settings.py"]
    if start == "pack.agents.support":
        wanted += ["pack/__init__.py", "pack/agents/support.py", "pack/extra/__init__.py", "pack/extra/more.py"]
    assert set(wanted) <= set(found) <= set(PACKAGE) - {"pack/unused.py"}
    assert found == sorted(found)


def test_a_module_without_a_readable_file_contributes_nothing(folder, monkeypatch):
    built = ModuleType("built")
    monkeypatch.setitem(sys.modules, "built", built)
    assert source_of("built") == ("", content_hash({}))
    gone = folder.write("gone.py", "x = 1")
    folder.write("app.py", "import gone, built\n")
    folder.load("app")
    gone.unlink()
    assert source_of("app")[0] == "# --- app.py\nimport gone, built\n"


def test_a_file_in_another_encoding_is_read_as_python_reads_it(folder):
    (folder.path / "app.py").write_bytes("# -*- coding: latin-1 -*-\nX = 'café'\n".encode("latin-1"))
    folder.load("app")
    assert "X = 'café'" in source_of("app")[0]


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_the_files_of_a_source_text_are_what_they_were(folder, end):
    app = "import helper\n# --- settings ---\n# --- see helper.py for more\nLIMIT = 3" + end
    folder.write("helper.py", HELPER + end)
    folder.write("app.py", app)
    folder.load("app")
    assert files_of(source_of("app")[0]) == {"app.py": app, "helper.py": HELPER + end}


@pytest.mark.parametrize("path", ["/etc/x.py", "../x.py", "a/../../x.py", "a\\x.py", "a\x00.py"])
def test_a_file_outside_its_folder_is_refused(path):
    with pytest.raises(InputError, match="names a file outside its folder"):
        files_of(f"# --- {path}\nx = 1\n")


def test_a_text_without_files_has_none():
    assert files_of("") == files_of("def run(): ...") == {}
