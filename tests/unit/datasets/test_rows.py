import json

import pytest

from rollout_local.datasets.rows import is_rows, read_rows
from rollout_local.datasets.yaml_text import parse_yaml
from rollout_local.domain.dataset import Task
from rollout_local.errors import InputError

ROWS = [
    {"goal": "Where is it?", "expected_output": "orders", "metadata": {"topic": "late"}},
    {"goal": "Refund!", "answer": "billing", "reward": 0.5, "language": "en"},
]


def write(folder, manifest="name: support\n", **files):
    folder.mkdir(exist_ok=True)
    (folder / "dataset.yaml").write_text(manifest)
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else "".join(f"{json.dumps(row)}\n" for row in content))
    return folder


def refusal(folder, **options):
    with pytest.raises(InputError) as caught:
        read_rows(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_become_tasks_with_goal_expected_output_reward_and_metadata(tmp_path):
    found = read_rows(write(tmp_path / "d", **{"rows.jsonl": ROWS}))
    assert (found.dataset.name, found.dataset.slug, found.version, found.splits) == ("support", "support", "0.1.0", {})
    assert found.dataset.tasks == (
        Task(name="row-0001", input={"goal": "Where is it?"}, expected_output="orders", metadata={"topic": "late"}),
        Task(
            name="row-0002", input={"goal": "Refund!"}, expected_output="billing",
            metadata={"language": "en", "reward": 0.5},
        ),
    )  # fmt: skip


def test_json_and_jsonl_say_the_same(tmp_path):
    one = read_rows(write(tmp_path / "a", **{"rows.jsonl": ROWS})).dataset
    other = read_rows(write(tmp_path / "b", **{"rows.json": json.dumps(ROWS)})).dataset
    assert one.content_hash == other.content_hash


def test_csv_cells_are_text_empty_ones_are_none_and_metadata_is_json(tmp_path):
    table = 'goal,expected_output,answer,reward,metadata\nWhy?,,because,0.25,"{""a"": 1}"\nHow?,42,,,\n'
    one, other = read_rows(write(tmp_path / "d", **{"rows.csv": table})).dataset.tasks
    assert (one.expected_output, one.metadata) == ("because", {"a": 1, "reward": 0.25})
    assert (other.expected_output, other.metadata) == ("42", {})


def test_parquet_keeps_its_types(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra [parquet]")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = write(tmp_path / "d")
    parquet.write_table(pyarrow.Table.from_pylist([{"goal": "a", "reward": 0.5}]), folder / "rows.parquet")
    (task,) = read_rows(folder).dataset.tasks
    assert task.metadata == {"reward": 0.5}


def test_the_only_column_that_scores_nothing_is_the_input(tmp_path):
    (task,) = read_rows(write(tmp_path / "d", **{"r.jsonl": [{"question": "a", "answer": "b"}]})).dataset.tasks
    assert (task.input, task.expected_output) == ({"question": "a"}, "b")


def test_a_map_says_which_columns_are_inputs(tmp_path):
    folder = write(
        tmp_path / "d", **{"r.jsonl": [{"question": "a", "context": "c", "id": 7}, {"question": "b", "context": None}]}
    )
    one, other = read_rows(folder, {"question": "goal", "context": "context"}).dataset.tasks
    assert (one.input, one.metadata) == ({"goal": "a", "context": "c"}, {"id": 7})
    assert other.input == {"goal": "b"}
    assert 'has no column "text"; it has question, context, id' in refusal(folder, inputs={"text": "goal"})


def test_splits_keep_the_rows_of_all_files_and_say_which_are_whose(tmp_path):
    manifest = "splits:\n  train: a.jsonl\n  validation: b.jsonl\n  test: sub/c.jsonl\nfiles: [nowhere.csv]\n"
    goals = [[{"goal": f"{name}{n}"} for n in range(2)] for name in "abc"]
    folder = write(tmp_path / "d", manifest, **dict(zip(("a.jsonl", "b.jsonl", "sub__c.jsonl"), goals, strict=True)))
    found = read_rows(folder)
    assert found.dataset.name == "d"
    assert found.splits == {
        "train": ["row-0001", "row-0002"], "val": ["row-0003", "row-0004"], "holdout": ["row-0005", "row-0006"],
    }  # fmt: skip


def test_files_are_taken_in_their_order_and_else_all_are_found(tmp_path):
    folder = write(
        tmp_path / "d", **{"b.jsonl": [{"goal": "b"}], "a.jsonl": [{"goal": "a"}], ".git__c.jsonl": [{"goal": "c"}]}
    )
    assert [task.input["goal"] for task in read_rows(folder).dataset.tasks] == ["a", "b"]
    (folder / "dataset.yaml").write_text("files: [b.jsonl, a.jsonl]")
    assert [task.input["goal"] for task in read_rows(folder).dataset.tasks] == ["b", "a"]


def test_a_manifest_may_say_everything_that_is_documented(tmp_path):
    manifest = (
        "name: Our Support!\nversion: 1.2.3\nsummary: s\nformat: jsonl\ndata_schema: {goal: string}\nrow_count: 2\n"
        "tags: [a]\nlicense: MIT\nsplits: {train: rows.jsonl}\n"
    )
    found = read_rows(write(tmp_path / "d", manifest, **{"rows.jsonl": ROWS}))
    assert (found.dataset.slug, found.dataset.name, found.version) == ("Our-Support", "Our Support!", "1.2.3")


def test_a_folder_of_rows_is_told_by_its_manifest(tmp_path):
    assert is_rows(write(tmp_path / "d"))
    assert not is_rows(tmp_path)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ("nam: x\n", 'unknown key "nam"; did you mean "name"?'),
        ("name: 3\n", '"name" is a number; it must be a text (quote it)'),
        ("version: 1.0.0-rc\n", "the version '1.0.0-rc' must be three numbers"),
        ("data_schema: [goal]\n", '"data_schema" must map columns to types'),
        ("data_schema: {question: string}\n", 'data_schema names the column "question", which no row has'),
        ("row_count: 3\n", "row_count is 3, and the files have 2 rows"),
        ("format: arrow\n", 'the format "arrow" is not read; use one of csv, json, jsonl, parquet'),
        ("format: csv\n", "rows.jsonl is no csv file"),
        ("splits: rows.jsonl\n", '"splits" must map the names'),
        ("splits: {}\n", '"splits" must map the names'),
        ("splits: {more: rows.jsonl}\n", 'the split "more" is not known; known are train'),
        ("splits: {val: rows.jsonl, dev: rows.jsonl}\n", "two of the splits val, dev are the same one"),
        ("files: rows.jsonl\n", '"files" must be a list of paths'),
        ("files: [1]\n", "a data file is given as a number"),
        ("files: [../rows.jsonl]\n", "leads out of"),
        ("files: [/etc/passwd]\n", "leads out of"),
        ("files: [absent.jsonl]\n", "absent.jsonl does not exist"),
        ("files: [loop]\n", "loop"),
        ('files: ["a\\0b"]\n', "leads out of"),
        ("files: [rows.jsonl, other.csv]\n", "the files are of several formats (csv, jsonl)"),
        ("name: [\n", "dataset.yaml:2:1: not valid YAML"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_with_its_place(tmp_path, manifest, says):
    folder = write(tmp_path / "d", manifest, **{"rows.jsonl": ROWS})
    (folder / "loop").symlink_to(folder / "loop")
    if "other.csv" in manifest:
        (folder / "other.csv").write_text("goal\na\n")
    assert says in refusal(folder)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"goal": "a", "reward": 2}, "the reward is 2; it must be a number from 0 to 1"),
        ({"goal": "a", "reward": -0.1}, "the reward is -0.1"),
        ({"goal": "a", "reward": "0.5"}, "the reward is '0.5'"),
        ({"goal": "a", "reward": True}, "the reward is True"),
        ({"goal": "a", "reward": []}, "the reward is []"),
        ({"goal": "a", "metadata": "x"}, "metadata is a text; it must be an object"),
        ({"goal": "a", "topic": 1, "metadata": {"topic": 2}}, '"topic" is a column and stands in metadata too'),
        ({"question": "a", "context": "b"}, "has several columns (question, context) and none is named goal"),
        ({"answer": "a"}, "has no column and none is named goal"),
        ({"goal": None}, 'has neither "instruction" nor "input"'),
        ([1], "rows.jsonl:1: is a list; each row must be an object"),
    ],
)
def test_a_row_that_is_wrong_is_refused_with_its_line(tmp_path, row, says):
    said = refusal(write(tmp_path / "d", **{"rows.jsonl": [row]}))
    assert "rows.jsonl:1: " in said or "rows.jsonl:1 " in said
    assert says in said


def test_a_csv_reward_that_is_no_number_is_refused(tmp_path):
    assert "rows.csv:2: the reward is 'much'" in refusal(write(tmp_path / "d", **{"rows.csv": "goal,reward\na,much\n"}))


@pytest.mark.parametrize(
    ("text", "says"), [("{}", "is an object; give a list"), ("[1]", "row 1: is a number"), ("[]", "has no rows")]
)
def test_a_json_file_is_a_list_of_objects(tmp_path, text, says):
    assert says in refusal(write(tmp_path / "d", **{"rows.json": text}))


def test_a_folder_without_data_is_said(tmp_path):
    assert "has no data file (csv, json, jsonl, parquet)" in refusal(write(tmp_path / "d"))
    assert "dataset.yaml does not exist" in refusal(tmp_path / "absent")


def test_yaml_that_says_nothing_is_an_empty_mapping():
    assert parse_yaml("# nothing\n", "f") == {}
