import os

import pytest

from rollout_local.capabilities import folder as folders
from rollout_local.capabilities import load
from rollout_local.capabilities.manifest import bumped, numbers, with_version
from rollout_local.errors import InputError, NotFound
from rollout_local.targets.agent_files import columns, of_row, split, with_body

from .conftest import BODY, FILES, write


def changed(tmp_path, **changes):
    return write(tmp_path / "c", **{path.replace("__", "/"): text for path, text in changes.items()})


def manifest(*lines, without=()):
    """The required keys and more lines."""
    keys = {"schema": "1", "name": "support", "version": "1.0.0", "description": "Sorts."}
    return "\n".join([*(f"{k}: {v}" for k, v in keys.items() if k not in without), *lines]) + "\n"


def refusal(path):
    with pytest.raises(InputError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_capability_is_what_its_files_say(folder):
    loaded = load(folder)
    made = loaded.capability
    assert (made.reference, made.description) == ("support@1.0.0", "Sorts and answers messages.")
    assert made.author == "Ada <https://example.com>"
    assert [agent.name for agent in made.agents] == ["triage", "writer"]
    triage, writer = made.agents
    assert triage.body == BODY
    assert triage.tools == (("*", False), ("LOOKUP_*", True))
    assert (triage.model, writer.model) == ("inherit", "openai/sim-writer")
    assert triage.skills == ("tone",)
    assert made.tools == ("tools/orders.py",)
    assert made.skills[0].description == "How we sound."
    assert sorted(made.files) == sorted(FILES)
    assert loaded.warnings == ()


def test_the_bytes_of_every_file_come_back_from_a_row(tmp_path):
    write(tmp_path / "c", **{"icon.png": b"\x89PNG\xff\x00", "run.sh": "#!/bin/sh\r\n", "empty": ""})
    (tmp_path / "c" / "run.sh").chmod(0o755)
    made = load(tmp_path / "c").capability
    again = of_row(columns(made))
    assert again == made
    assert again.files["icon.png"] == b"\x89PNG\xff\x00"
    assert again.executable == ("run.sh",)
    assert again.content_hash == made.content_hash


def test_the_executable_bit_is_part_of_the_content(folder):
    before = load(folder).capability.content_hash
    (folder / "README.md").chmod(0o755)
    assert load(folder).capability.content_hash != before


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", ["triage", "writer"]),
        ("agents: []", []),
        ("agents: [agents/]", ["triage", "writer"]),
        ("agents: [./agents]", ["triage", "writer"]),
        ("agents: [agents/writer.md]", ["writer"]),
        ("agents: [agents/writer.md, agents/triage.md]", ["writer", "triage"]),
    ],
)
def test_a_component_list_has_three_states(tmp_path, line, found):
    write(tmp_path / "c", **{"capability.yaml": manifest(line)})
    assert [agent.name for agent in load(tmp_path / "c").capability.agents] == found


@pytest.mark.parametrize("entry", ["skills/", "skills/tone", "skills/tone/SKILL.md"])
def test_skills_are_listed_by_folder_or_file(tmp_path, entry):
    write(tmp_path / "c", **{"capability.yaml": manifest(f"skills: [{entry}]")})
    assert [skill.name for skill in load(tmp_path / "c").capability.skills] == ["tone"]


def test_private_python_files_are_no_tools(tmp_path):
    write(tmp_path / "c", **{"tools/__init__.py": "", "tools/_shared.py": ""})
    assert load(tmp_path / "c").capability.tools == ("tools/orders.py",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (manifest(without=["name"]), "name is missing"),
        (manifest(without=["schema"]), "schema is missing"),
        (manifest("schema: 2", without=["schema"]), "schema is 2; only schema 1 is known"),
        (manifest("schema: true", without=["schema"]), "schema is True"),
        (manifest("name: Support", without=["name"]), "name is 'Support'"),
        (manifest("name: -x", without=["name"]), "name is '-x'"),
        (manifest("version: 1.0", without=["version"]), "version is 'a number'; it must be three numbers"),
        (manifest("version: 1.0.0-rc1", without=["version"]), "version is '1.0.0-rc1'"),
        (manifest("version: 01.0.0", without=["version"]), "version is '01.0.0'"),
        (manifest("description: ' '", without=["description"]), "description must be a text"),
        (manifest("author: [a]"), "author is a list"),
        (manifest("agents: agents/"), "agents is a text; it must be a list of files or folders"),
        (manifest("agents:"), "agents is null; it must be a list"),
        (manifest("agents: [1]"), "agents lists a number"),
        (manifest("agents: [../other.md]"), "leads out of the capability"),
        (manifest("agents: [/etc/passwd]"), "leads out of the capability"),
        (manifest("agents: ['a\\b.md']"), "leads out of the capability"),
        (manifest("agents: [agents/absent.md]"), "is neither a file nor a folder with any"),
        (manifest("agents: [README.md, README.md]"), "lists README.md twice"),
        (manifest("tools: [README.md]"), "which is not a .py file"),
        (manifest("name: twice"), 'capability.yaml:5:1: not valid YAML: the key "name" is given twice'),
        ("schema: 1\nname: [\n", "capability.yaml:3:1: not valid YAML"),
        ("a: &x [1]\nb: *x\n", "capability.yaml:2:4: not valid YAML: an alias"),
        ("released: 2026-01-01\n", "capability.yaml:1:11: not valid YAML: the date 2026-01-01; quote it"),
        ("on: 1\n", "capability.yaml:1:1: not valid YAML: a key that is no text"),
        ("a: !!python/object:os.system x\n", "capability.yaml:1:4: not valid YAML"),
        ("a: .nan\n", "has no place in JSON"),
        ("- a\n", "is a list; it must be a mapping"),
        ("a: b\x07\n", "capability.yaml:1: not valid YAML: the character"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("a: " + "[" * 2000, "nested more than 100 levels deep"),
        ("a: 0b_\n", "not valid YAML: "),
        ("", "schema is missing"),
        (b"name: \xff\n", "capability.yaml:1: byte 0xff is not UTF-8"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_with_its_place(tmp_path, text, says):
    write(tmp_path / "c", **{"capability.yaml": text})
    assert says in refusal(tmp_path / "c")


def test_unknown_keys_are_warned_of_with_a_suggestion(tmp_path):
    write(tmp_path / "c", **{"capability.yaml": manifest("agent: [agents/]", "mcp: {}")})
    (warning,) = load(tmp_path / "c").warnings
    assert "unknown key 'agent'; did you mean \"agents\"?" in warning


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("---\nname: a\n", "a.md:1: the front matter is not closed"),
        ("---\nname: [\n---\nx\n", "a.md:3:1: not valid YAML"),
        ("---\nname: 1\n---\nx\n", "name is a number; it must be a text (quote it)"),
        ("---\nname: ''\n---\nx\n", "the agent's name ''"),
        ("---\nname: 'a:b'\n---\nx\n", "without a colon"),
        ("---\ntools: [a]\n---\nx\n", "tools must map name patterns to true or false"),
        ("---\ntools: {a: 1}\n---\nx\n", "tools must map"),
        ("---\nskills: a\n---\nx\n", "skills must be a list of names"),
        ("---\nmetadata: [a]\n---\nx\n", "metadata is a list"),
        (b"---\nname: \xff\n---\nx\n", "a.md: is not UTF-8"),
        (b"\xff\xfe", "a.md: is not UTF-8"),
        ("---\nname: Triage\n---\nx\n", "the agent triage stands in agents/a.md and in agents/triage.md"),
    ],
)
def test_an_agent_that_is_wrong_is_refused_with_its_place(tmp_path, text, says):
    write(tmp_path / "c", **{"agents/a.md": text})
    said = refusal(tmp_path / "c")
    assert says.replace("the agent triage stands", "stands") in said


def test_an_agent_without_front_matter_is_named_after_its_file(tmp_path):
    write(tmp_path / "c", **{"agents/plain.md": "\ufeffBe kind.\n"})
    agent = load(tmp_path / "c").capability.agent("plain")
    assert (agent.body, agent.model) == ("Be kind.", "inherit")


def test_what_an_author_should_know_about_an_agent_is_warned_of(tmp_path):
    write(tmp_path / "c", **{"agents/a.md": "---\ntemperature: 1\n---\n\n"})
    unknown, empty = load(tmp_path / "c").warnings
    assert "unknown key 'temperature'" in unknown
    assert "has no instructions" in empty


def test_a_skill_has_the_name_of_its_folder(tmp_path):
    write(tmp_path / "c", **{"skills/tone/SKILL.md": "---\nname: voice\n---\n"})
    assert "the skill is named 'voice' in the folder 'tone'" in refusal(tmp_path / "c")


@pytest.mark.parametrize(("text", "says"), [("def f(:\n", "orders.py:1: not valid Python"), ("a\0", "orders.py")])
def test_a_tool_that_is_no_python_is_refused(tmp_path, text, says):
    write(tmp_path / "c", **{"tools/orders.py": text})
    assert says in refusal(tmp_path / "c")


def test_loading_executes_no_tool(tmp_path):
    write(tmp_path / "c", **{"tools/orders.py": f"open({str(tmp_path / 'was-here')!r}, 'w')\n"})
    load(tmp_path / "c")
    assert not (tmp_path / "was-here").exists()


def test_links_are_refused_wherever_they_lead(folder, tmp_path):
    (tmp_path / "secret").write_text("x")
    (folder / "notes.txt").symlink_to(tmp_path / "secret")
    assert "notes.txt is a link" in refusal(folder)
    (folder / "notes.txt").unlink()
    (folder / "more").symlink_to(tmp_path)
    assert "more is a link" in refusal(folder)


def test_pipes_are_not_opened(folder):
    os.mkfifo(folder / "pipe")
    assert "pipe is no plain file" in refusal(folder)


def test_what_is_too_large_is_refused(folder, monkeypatch):
    with (folder / "big").open("wb") as file:
        file.truncate(folders.MAX_FILE + 1)
    assert "big is larger than 4 MiB" in refusal(folder)
    (folder / "big").unlink()
    monkeypatch.setattr(folders, "MAX_FILES", 3)
    assert "holds more than 3 files" in refusal(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_files_and_folders_that_cannot_be_read_are_named(folder):
    (folder / "README.md").chmod(0)
    assert "README.md cannot be read: Permission denied" in refusal(folder)
    (folder / "README.md").chmod(0o644)
    (folder / "tools").chmod(0)
    assert "tools cannot be read" in refusal(folder)
    (folder / "tools").chmod(0o755)


def test_a_name_that_not_every_system_writes_is_refused(folder):
    (folder / "a\\b").write_text("x")
    assert "holds characters that not every system can write" in refusal(folder)


def test_what_tools_leave_behind_is_left_out_and_secrets_are_said(folder):
    write(
        folder, {".git/config": "x", "__pycache__/a.pyc": "x", "tools/a.pyc": "x", ".env": "KEY=1", ".mcp.json": "{}"}
    )
    (folder / ".env.example").write_text("KEY=")
    loaded = load(folder)
    assert sorted(set(loaded.capability.files) - set(FILES)) == [".env.example", ".mcp.json"]
    assert loaded.warnings == (".env is left out: a published version would keep its secrets",)


def test_a_folder_that_is_none_is_said(tmp_path):
    assert "does not exist" in refusal(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    assert "is a file; give the folder" in refusal(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "has no capability.yaml" in refusal(tmp_path / "empty")


def test_an_agent_is_found_by_name_or_is_the_only_one(folder, tmp_path):
    made = load(folder).capability
    with pytest.raises(InputError, match="has the agents triage, writer; name one with --agent"):
        made.agent(None)
    with pytest.raises(NotFound, match="has no agent 'triag'; did you mean \"triage\""):
        made.agent("triag")
    lonely = load(write(tmp_path / "one", **{"capability.yaml": manifest("agents: [agents/writer.md]")})).capability
    assert lonely.agent(None).name == "writer"
    none = load(write(tmp_path / "none", **{"capability.yaml": manifest("agents: []")})).capability
    with pytest.raises(InputError, match="has no agents"):
        none.agent(None)
    with pytest.raises(NotFound, match="it has none"):
        none.agent("triage")


HEADS = [
    b"",
    b"---\nname: a\n---\n",
    b"\xef\xbb\xbf---\r\nname: 'a'  # why\r\n---\r\n\r\n",
    b"---\n---",
    b'---\ntools: {"*": no}\n--- \n\n \n',
]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("tail", [b"", b"\n", b"\n\n\n", b"  \r\n"])
def test_a_file_is_its_parts_and_a_new_body_changes_nothing_else(head, tail):
    newline = b"\r\n" if b"\r\n" in head else b"\n"
    body = b"First.\n---\n  - second \xe2\x80\xa8 line".replace(b"\n", newline)
    raw = head + (b"" if head.endswith(b"\n") or not head else newline) + body + tail
    parts = split(raw)
    assert parts.head + parts.body + parts.tail == raw
    assert with_body(raw, parts.text) == raw
    new = with_body(raw, "\n\nOther.\nText. \n")
    assert new.startswith(head)
    assert new.endswith(tail)
    assert split(new).text == "Other.\nText."
    assert split(new).head == parts.head


@pytest.mark.parametrize(
    "line", ["version: 1.0.0", 'version:   "1.0.0" # ours', "version: '1.0.0'", '"version": 1.0.0', "version:\n  1.0.0"]
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_version_is_replaced_where_it_stands(line, newline):
    before, after = "# version: 1.0.0\nschema: 1\n", "\nnotes: 'é version: 1.0.0'\n"
    texts = [f"{before}{line.replace('1.0.0', number)}{after}".replace("\n", newline) for number in ("1.0.0", "1.0.1")]
    assert with_version(texts[0], "1.0.1") == texts[1]


def test_versions_are_compared_as_numbers():
    assert bumped("1.0.9") == "1.0.10"
    assert numbers("1.0.10") > numbers("1.0.9")
