"""A Harbor folder is a Dataset and back; what is wrong with one is said in a sentence."""

import json
import os
from pathlib import Path

import pytest

from rollout_local.datasets.harbor import read_folder, write_folder
from rollout_local.documents import read_text
from rollout_local.domain.dataset import Dataset, Task
from rollout_local.errors import InputError

MANIFEST = 'name = "Refunds"\nslug = "refunds"\n'
ENTRY = '[[tasks]]\nname = "refund"\npath = "refund"\n'

AWKWARD = Dataset(
    name='Näme "with" \\ and \x7f',
    slug="awkward.1",
    tasks=(
        Task(name="a/b", instruction="line\nbreak", input={"x": 1.0, "y": 1, "z": 0.1, "big": 2**70}),
        Task(name="a b", input={"é": [None, True, {"": ""}]}, metadata={"n": -0.0}, expected_output={"k": []}),
        Task(name="A?B", instruction="\u202ertl שלום", expected_output="", expected_output_schema={"required": ["k"]}),
        Task(name="日本", instruction="nul \0 and \t", expected_output=False),
        Task(name="...", instruction="dots", expected_output=0),
    ),
)


def test_what_is_written_and_read_again_is_the_same_dataset(tmp_path):
    write_folder(AWKWARD, tmp_path / "out")
    again = read_folder(tmp_path / "out")
    assert again == AWKWARD
    assert again.content_hash == AWKWARD.content_hash
    assert type(again.tasks[0].input["x"]) is float
    assert type(again.tasks[0].input["y"]) is int


def test_task_folders_are_different_even_where_case_does_not_count(tmp_path):
    write_folder(AWKWARD, tmp_path / "out")
    names = [path.name.casefold() for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert len(set(names)) == len(AWKWARD.tasks)


def test_one_changed_byte_is_another_version(folder):
    root = folder()
    before = read_folder(root).content_hash
    (root / "refund" / "task.json").write_text('{"instruction": "Help!"}')
    assert read_folder(root).content_hash != before


def test_camel_case_keys_and_a_byte_order_mark_are_accepted(folder):
    body = {"instruction": "x", "expectedOutput": {"a": 1}, "expectedOutputSchema": {"required": ["a"]}}
    root = folder(raw=b"\xef\xbb\xbf" + json.dumps(body).encode())
    (root / "dataset.toml").write_text("\ufeff" + MANIFEST + ENTRY, encoding="utf-8")
    task = read_folder(root).tasks[0]
    assert task.expected_output == {"a": 1}
    assert task.expected_output_schema == {"required": ["a"]}


def test_slug_defaults_to_the_folder_name_and_name_to_the_slug(folder):
    found = read_folder(folder(manifest=ENTRY, name="My refunds"))
    assert (found.slug, found.name) == ("My-refunds", "My-refunds")


def test_a_path_defaults_to_the_name(folder):
    assert read_folder(folder(manifest='[[tasks]]\nname = "refund"\n')).tasks[0].name == "refund"


def test_null_in_a_task_means_absent(folder):
    assert read_folder(folder({"instruction": "x", "metadata": None})).tasks[0].metadata == {}


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ("name = \n", r"dataset.toml:1:8: not valid TOML: Invalid value; correct it"),
        ('x = "', r"dataset.toml:1: not valid TOML: .*at the end of the file"),
        ("x = " + "[" * 3000, r"nested more than 100 levels deep"),
        (MANIFEST, r"dataset.toml lists no tasks; add a \[\[tasks\]\] table"),
        ("tasks = []", r"lists no tasks"),
        ("tasks = 3", r"lists no tasks"),
        ('tasks = ["a"]', r"task 1 is a text; write a \[\[tasks\]\] table"),
        ("[[tasks]]\npath = 'x'", r"task 1 has no name"),
        ("[[tasks]]\nname = 3", r'task 1: "name" is a number; it must be a text'),
        ("[[tasks]]\nname = ''", r'task 1: "name" is empty; it must be a text'),
        ('[[tasks]]\nname = "a\\nb"', r"task 1: the task name 'a\\nb' holds control characters"),
        ("[[tasks]]\nname = 'a'\nfile = 'x'", r'task 1: unknown key "file"; known are name, path'),
        ("name = 3\n" + ENTRY, r'"name" is a number; it must be a text'),
        ("slug = 'a b'\n" + ENTRY, r'the slug "a b" may hold letters'),
        ("slugg = 'a'\n" + ENTRY, r'unknown key "slugg"; did you mean "slug"\?'),
        ("[dataset]\nname = 'org/x'\n" + ENTRY, r"a \[dataset\] table: it is of the Harbor framework"),
        (ENTRY + ENTRY, r'the task name "refund" is given more than once'),
        (ENTRY + ENTRY.replace('name = "refund"', "name = 'b'"), r'the task path "refund" is given more than once'),
        ("[[tasks]]\nname='gone'", r'task "gone": the folder .*gone does not exist; create it'),
    ],
)
def test_a_wrong_manifest_is_refused_in_a_sentence(folder, manifest, sentence):
    with pytest.raises(InputError, match=sentence):
        read_folder(folder(manifest=manifest))


@pytest.mark.parametrize("path", ["..", "../outside", "/etc", ".", "refund/../..", "a\\u0000b", "link", "loop"])
def test_a_path_that_leaves_the_folder_is_refused(folder, tmp_path, path):
    root = folder(manifest=f'[[tasks]]\nname = "refund"\npath = "{path}"\n')
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "task.json").write_text('{"instruction": "secret"}')
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(InputError, match=r'task "refund": the path .* leads out of|does not exist'):
        read_folder(root)


def test_a_task_file_that_is_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    root = folder()
    (tmp_path / "secret.json").write_text('{"instruction": "secret"}')
    (root / "refund" / "task.json").unlink()
    (root / "refund" / "task.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(InputError, match="leads out of"):
        read_folder(root)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b'{\n  "instruction": x}', r"task.json:2:18: not valid JSON: Expecting value; correct it"),
        (b"", r"task.json:1:1: not valid JSON"),
        (b'{"instruction": "\xff"}', r"task.json:1: byte 0xff is not UTF-8"),
        (b'{"instruction": "x",\n"input": {"s": "NaN", "a": NaN}}', r"task.json:2:28: NaN has no place in JSON"),
        (b'{"input": {"a": -Infinity}}', r"task.json:1:17: -Infinity has no place"),
        (b'{"input": {"a": 1e999}}', r"the number 1e999 is too large"),
        (b'{"input": {"a": ' + b"9" * 5000 + b"}}", r"task.json: .*4300"),
        (b'{"input": {"a": 1, "a": 2}}', r'the key "a" is given twice'),
        (b'{"instruction": "\\ud800"}', r"half of a surrogate pair"),
        (b'{"input": {"\\udfff": 1}}', r"half of a surrogate pair"),
        (b'{"input": {"a": ' + b"[" * 150 + b"]" * 150 + b"}}", r"nested more than 100 levels deep"),
        (b'{"input": {"a": ' + b"[" * 5000 + b"]" * 5000 + b"}}", r"nested more than 100 levels deep"),
        (b"[]", r'task "refund": .*task.json: is a list; a task is an object'),
        (b"null", r"is null; a task is an object"),
        (b'{"instruction": 3}', r'task "refund": .*task.json: "instruction" is a number; it must be a text'),
        (b'{"input": "x"}', r'"input" is a text; it must be an object, such as'),
        (b'{"input": {"a": 1}, "metadata": [1]}', r'"metadata" is a list; it must be an object'),
        (b'{"inputs": {}}', r'task "refund": .*task.json: unknown key "inputs"; did you mean "input"\?'),
        (b'{"zzz": {}}', r'unknown key "zzz"; known are instruction, input'),
        (b'{"instruction": "x", "expectedOutput": 1, "expected_output": 1}', r"both .* are given; keep one"),
        (b'{"instruction": " ", "input": {}}', r'has neither "instruction" nor "input"'),
    ],
)
def test_a_wrong_task_is_refused_in_a_sentence(folder, raw, sentence):
    with pytest.raises(InputError, match=sentence):
        read_folder(folder(raw=raw))


def test_a_missing_task_file_is_named_and_a_foreign_task_explained(folder):
    root = folder()
    (root / "refund" / "task.json").unlink()
    with pytest.raises(InputError, match=r"task.json does not exist; write it"):
        read_folder(root)
    (root / "refund" / "task.toml").touch()
    with pytest.raises(InputError, match="does not exist; the folder is of the Harbor framework"):
        read_folder(root)


def test_what_is_no_dataset_folder_is_told_apart(tmp_path):
    with pytest.raises(InputError, match="does not exist; check the path"):
        read_folder(tmp_path / "none")
    with pytest.raises(InputError, match=r"has no dataset.toml; a dataset is"):
        read_folder(tmp_path)
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "instruction.md").touch()
    with pytest.raises(InputError, match="of the Harbor framework"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="of the Harbor framework"):
        read_folder(tmp_path / "hello")
    with pytest.raises(InputError, match=r"is a file; give the folder that holds dataset.toml"):
        read_folder(tmp_path / "hello" / "instruction.md")
    (tmp_path / "dataset.toml").mkdir()
    with pytest.raises(InputError, match="is a folder where a file is needed"):
        read_folder(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(folder):
    root = folder()
    (root / "refund" / "task.json").chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_folder(root)


def test_a_path_too_long_for_the_system_is_refused(folder):
    with pytest.raises(InputError, match=r"cannot be read: .*File name too long"):
        read_folder(folder(manifest=f'[[tasks]]\nname = "refund"\npath = "{"x" * 5000}"\n'))


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        read_text(tmp_path / ("x" * 300))
    with pytest.raises(InputError, match="does not exist"):
        read_text(tmp_path / "gone")


def test_nothing_is_written_over_what_is_there(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write_folder(AWKWARD, out)
    with pytest.raises(InputError, match="is not empty; give another --out"):
        write_folder(AWKWARD, out)
    with pytest.raises(InputError, match="exists and is not a folder"):
        write_folder(AWKWARD, out / "dataset.toml")
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        write_folder(AWKWARD, out / "dataset.toml" / "x" / "y")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tasks": ()}, "has no tasks"),
        ({"slug": "a/b"}, "is not usable"),
        ({"name": " "}, "is not usable"),
        ({"tasks": (Task(name="a", instruction="x"),) * 2}, 'the task name "a" is given more than once'),
        ({"tasks": (Task(name="a"),)}, 'task "a": has neither'),
        ({"tasks": (Task(name="\ud800", instruction="x"),)}, "control characters"),
        ({"tasks": (Task(name=" ", instruction="x"),)}, "empty name"),
        ({"tasks": (Task(name="a", input={"x": float("nan")}),)}, "nan has no place in JSON"),
        ({"tasks": (Task(name="a", input={"x": b"y"}),)}, "a bytes has no place in JSON"),
        ({"tasks": (Task(name="a", input={"x": {3: 1}}),)}, "the key 3 is not a text"),
        ({"tasks": (Task(name="a", input={"x": ({"\ud800": 1},)}),)}, "half of a surrogate pair"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, change, sentence):
    with pytest.raises(InputError, match=sentence):
        write_folder(AWKWARD.model_copy(update=change), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_nothing_half_written_is_left_behind(tmp_path):
    write_folder(AWKWARD, tmp_path / "new" / "out")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    assert isinstance(read_folder(str(tmp_path / "new" / "out")), Dataset)
    assert Path(tmp_path / "new" / "out" / "dataset.toml").read_text(encoding="utf-8").count("[[tasks]]") == 5
