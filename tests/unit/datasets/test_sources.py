"""A table becomes a Harbor folder, whole or not at all."""

import csv
import datetime as dt
import importlib.util
import json
import re

import pytest

from rollout_local.datasets import sources
from rollout_local.datasets.harbor import read_folder
from rollout_local.datasets.sources import SOURCES, is_table, pull, read_table, repeats, table_name
from rollout_local.domain.dataset import TABLE_FILES, TABLES, Columns
from rollout_local.errors import InputError
from tests.conftest import ROOT

ASK = Columns(instruction="q")


@pytest.fixture
def table(tmp_path):
    """`table("a.csv", text)`: the source `csv:…/a.csv` with that text."""

    def make(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return f"{path.suffix[1:]}:{path}"

    return make


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_a_csv_becomes_the_dataset_that_is_read_back(table, out):
    first_row = 'First one,"Hello,\n""you""",7,"{""urgency"": ""high""}","[1, 2]"'
    text = f"\ufeffid,q,order,label,want\n{first_row}\n\nsecond,x,,[no,\n"
    columns = Columns(
        instruction="q", inputs={"number": "order"}, metadata={"label": "label"}, name="id", expected="want"
    )
    found = pull(table("a.csv", text), columns, out)
    assert read_folder(out) == found
    assert (found.slug, [task.name for task in found.tasks]) == ("out", ["First one", "second"])
    first, second = found.tasks
    assert first.instruction == 'Hello,\n"you"'
    assert first.input == {"number": "7"}
    assert first.metadata == {"label": {"urgency": "high"}}
    assert first.expected_output == [1, 2]
    assert (second.metadata, second.expected_output) == ({"label": "[no"}, None)


def test_jsonl_values_keep_their_types(table, out):
    rows = [{"q": "a", "n": 1.5, "l": None, "w": ""}, {"q": 3, "n": True, "l": [1], "w": {"a": 0}}]
    text = "\n\n".join(json.dumps(row) for row in rows) + "\r\n  \n"
    found = pull(table("a.jsonl", text), Columns("q", {"n": "n"}, {"l": "l"}, expected="w"), out)
    assert [task.input for task in found.tasks] == [{"n": 1.5}, {"n": True}]
    assert [task.metadata for task in found.tasks] == [{"l": None}, {"l": [1]}]
    assert [task.expected_output for task in found.tasks] == ["", {"a": 0}]
    assert found.tasks[1].instruction == "3"


def test_tasks_are_numbered_with_as_many_digits_as_rows_need(table, out, tmp_path):
    assert [t.name for t in pull(table("a.csv", "q\na\nb\n"), ASK, out).tasks] == ["task-0001", "task-0002"]
    source = table("b.csv", "q\n" + "".join(f"{n}\n" for n in range(10_000)))
    names = [t.name for t in pull(source, Columns("q", limit=10_000), tmp_path / "many").tasks]
    assert (names[0], names[-1]) == ("task-00001", "task-10000")


def test_a_limit_takes_the_first_rows_and_reads_no_further(table, out):
    found = pull(table("a.jsonl", '{"q": "a"}\n{"q": "b"}\nbroken'), Columns("q", limit=2), out)
    assert [task.instruction for task in found.tasks] == ["a", "b"]


def test_names_are_one_line_and_their_folders_safe(table, out):
    found = pull(table("a.csv", 'id,q\n" a\n b ",x\n../../etc,y\nETC,z\n'), Columns("q", name="id"), out)
    assert [task.name for task in found.tasks] == ["a b", "../../etc", "ETC"]
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["ETC-2", "a-b", "etc"]


def test_a_cell_of_any_size_is_read_and_the_limit_of_the_csv_module_put_back(table, out):
    before = csv.field_size_limit()
    found = pull(table("a.csv", f"q\n{'x' * 300_000}\n"), ASK, out)
    assert len(found.tasks[0].instruction) == 300_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "text", "columns", "sentence"),
    [
        ("a.csv", "", ASK, r"a.csv is empty; the first row must name the columns"),
        ("a.csv", "\n\n", ASK, r"a.csv is empty"),
        ("a.csv", "q\n", ASK, r"a.csv has no rows"),
        ("a.jsonl", "\n", ASK, r"a.jsonl has no rows"),
        ("a.csv", "x,y\n1,2\n", ASK, r'a.csv has no column "q"; it has "x", "y"'),
        ("a.csv", "q,y,y\n1,2,3\n", ASK, r'a.csv:1: the column "y" occurs twice'),
        ("a.csv", 'q,y\n"a\nb",2\n1,2,3\n', ASK, r"a.csv:4: 3 cells where the header has 2; quote"),
        ("a.csv", 'q\n"a"b\n', ASK, r"a.csv:2: not readable as csv"),
        ("a.csv", 'q\n"a\n', ASK, r"a.csv:2: not readable as csv: unexpected end of data"),
        ("a.csv", b"q\nok\n\xff\n", ASK, r"a.csv:3: byte 0xff is not UTF-8"),
        ("a.csv", "q\n \n", ASK, r'a.csv:2: has neither "instruction" nor "input"; the agent'),
        ("a.csv", "q,n\na,x\nb,x\n", Columns("q", name="n"), r'a.csv:3: the name "x" is that of .*a.csv:2 too'),
        ("a.csv", "q,n\na,\n", Columns("q", name="n"), r'a.csv:2: column "n": a task has an empty name'),
        ("a.csv", "q,n\na,b\0\n", Columns("q", name="n"), r"control characters"),
        ("a.csv", "q,w\na,b\n", Columns(), r"nothing becomes the question; .* the columns are q, w"),
        ("a.csv", "q\na\n", Columns("q", limit=0), r"--limit 0 leaves no rows"),
        ("a.jsonl", '{"q": "a"}\n{"q": }', ASK, r"a.jsonl:2:7: not valid JSON"),
        ("a.jsonl", '{"q": "a"}\n{"q": NaN}', ASK, r"a.jsonl:2:7: NaN has no place in JSON"),
        ("a.jsonl", '{"q": "a"}\n{"q": "b", "q": "c"}', ASK, r'a.jsonl:2: the key "q" is given twice'),
        ("a.jsonl", '{"q": "\\ud800"}', ASK, r"a.jsonl:1: .*surrogate pair"),
        ("a.jsonl", "[1]", ASK, r"a.jsonl:1: is a list; each row must be an object"),
        ("a.jsonl", '{"q": "a"}\n{"x": 1}', ASK, r'a.jsonl:2 has no column "q"; it has "x"'),
        ("a.jsonl", '{"q": [1]}', ASK, r'a.jsonl:1: the column "q" holds a list; it must be a text'),
        ("a.jsonl", '{"q": null}', ASK, r'the column "q" holds null'),
    ],
)
def test_a_table_that_does_not_fit_is_refused_and_nothing_written(table, out, name, text, columns, sentence):
    with pytest.raises(InputError, match=sentence):
        pull(table(name, text), columns, out)
    assert not out.exists()


@pytest.mark.parametrize("source", ["foo", "csv:", "sql:table", "a.xlsx"])
def test_a_source_that_is_none_is_said_before_any_column(out, source):
    with pytest.raises(InputError, match=f'the source "{source}" is not one of csv:…'):
        pull(source, Columns(), out)


def test_a_value_that_is_nested_too_deep_once_it_is_in_a_task_is_refused(table, out):
    deep = "[" * 100 + "]" * 100
    with pytest.raises(InputError, match=r"a.jsonl:1: nested more than 100"):
        pull(table("a.jsonl", f'{{"q": "x", "m": {deep}}}'), Columns("q", metadata={"m": "m"}), out)


def test_an_occupied_folder_is_refused_before_the_source_is_read(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is not empty"):
        pull("csv:none", ASK, tmp_path)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("data.xls", r"is not one of csv:…, "),
        ("none.csv", r"none.csv does not exist; check the path"),
        ("xlsx:data", r"is not one of csv:"),
        ("csv:", r"is not one of csv:"),
        ("csv:none.csv", r"none.csv does not exist; check the path"),
    ],
)
def test_an_unknown_source_is_refused_listing_the_known(source, sentence, out):
    with pytest.raises(InputError, match=sentence):
        pull(source, ASK, out)


@pytest.mark.parametrize(("scheme", "library", "extra"), [("parquet", "pyarrow", "parquet"), ("hf", "datasets", "hf")])
def test_a_source_that_needs_an_extra_says_which(scheme, library, extra, out):
    if importlib.util.find_spec(library):
        pytest.skip(f"{library} is installed")
    with pytest.raises(InputError, match=rf"needs? the extra rollout-local\[{extra}\]"):
        pull(f"{scheme}:x", ASK, out)


@pytest.mark.filterwarnings("ignore")
def test_parquet_rows_keep_their_types(out, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    source = write_parquet(parquet, tmp_path / "a.parquet")
    found = pull(source, Columns("q", {"n": "n"}, {"at": "at"}), out)
    assert [task.input for task in found.tasks] == [{"n": 1}, {"n": 2}]
    assert [task.metadata["at"] for task in found.tasks] == ["2026-01-02", None]
    (tmp_path / "bad.parquet").write_bytes(b"no")
    for wrong, columns, sentence in [
        (source, Columns("z"), 'has no column "z"; it has "q", "n", "at"'),
        (f"parquet:{tmp_path / 'bad.parquet'}", ASK, "not readable as parquet"),
        (f"parquet:{tmp_path / 'none.parquet'}", ASK, "does not exist"),
    ]:
        with pytest.raises(InputError, match=sentence):
            pull(wrong, columns, tmp_path / "b")


@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_parquet_files_is_loaded_as_the_hub_would(out, tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "repo").mkdir()
    write_parquet(pytest.importorskip("pyarrow.parquet"), tmp_path / "repo" / "train.parquet")
    found = pull(f"hf:{tmp_path / 'repo'}", Columns("q", {"n": "n"}, limit=1), out)
    assert [task.input for task in found.tasks] == [{"n": 1}]
    for columns, sentence in [
        (Columns("z"), 'has no column "z"'),
        (Columns("q", split="no"), r"\(split no\) could not"),
    ]:
        with pytest.raises(InputError, match=sentence):
            pull(f"hf:{tmp_path / 'repo'}", columns, tmp_path / "b")


def write_parquet(parquet, path):
    import pyarrow as pa

    rows = {"q": ["a", "b"], "n": [1, 2], "at": [dt.date(2026, 1, 2), None]}
    parquet.write_table(pa.table(rows), path)
    return f"parquet:{path}"


def test_every_source_is_named_and_every_reader_of_rows_that_is_written_is_a_source():
    assert list(SOURCES) == list(TABLES)
    readers = {found for name, found in vars(sources).items() if re.fullmatch("_[a-z]+_rows", name)}
    assert readers - {sources._are_rows} == {source.rows for source in SOURCES.values()}


WRITTEN = {"csv": "q\na\n", "tsv": "q\tw\na\tb\n", "json": '[{"q": "a"}]', "jsonl": '{"q": "a"}\n'}
ELSEWHERE = {"parquet", "hf"}
"""Sources that need libraries; each has a test below or above."""


def test_every_source_is_read_by_a_test():
    assert {*WRITTEN, *ELSEWHERE} == set(SOURCES)


@pytest.mark.parametrize("scheme", WRITTEN)
def test_a_file_is_read_by_its_scheme_or_suffix_beside_whoever_names_it(table, tmp_path, scheme):
    table(f"a.{scheme}", WRITTEN[scheme])
    for source in (f"{scheme}:a.{scheme}", f"a.{scheme}"):
        assert is_table(source)
        assert [task.instruction for task in read_table(source, ASK, "a", tmp_path).tasks] == ["a"]


@pytest.mark.parametrize("scheme", sorted(TABLE_FILES))
def test_a_file_given_for_a_folder_is_said_to_be_a_table(tmp_path, scheme):
    path = tmp_path / f"a.{scheme}"
    path.touch()
    with pytest.raises(InputError, match=rf"is a file; .*, or make one: rollout datasets pull {scheme}:"):
        read_folder(path)


def test_every_source_is_named_in_the_readme():
    row = next(line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "tables (" in line)
    assert row.partition("tables (")[2].partition(")")[0].split(", ") == list(SOURCES)


def test_every_source_is_named_in_the_refusal(out):
    with pytest.raises(InputError) as caught:
        pull("nothing", ASK, out)
    assert all(f"{scheme}:" in str(caught.value) for scheme in SOURCES)


@pytest.mark.parametrize("mark", ["\t", ";", "|"])
def test_cells_may_be_separated_by_what_a_spreadsheet_writes(table, out, mark):
    text = f'\ufeffid{mark}q{mark}want\n1{mark}a, or b{mark}"x{mark}y"\n'
    found = pull(table("a.csv", text), Columns("q", expected="want"), out)
    assert [(task.instruction, task.expected_output) for task in found.tasks] == [("a, or b", f"x{mark}y")]


def test_a_tsv_is_a_table_too(table, out):
    assert pull(table("a.tsv", "q\twant\na\tb\n"), ASK, out).tasks[0].instruction == "a"


@pytest.mark.parametrize(
    "document", [[{"q": "a"}, {"q": "b"}], {"version": 1, "data": [{"q": "a"}, {"q": "b"}], "tags": ["x"]}]
)
def test_a_json_file_is_a_list_of_rows_or_has_one(table, out, document):
    found = pull(table("a.json", json.dumps(document)), ASK, out)
    assert [task.instruction for task in found.tasks] == ["a", "b"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"a": [{"q": 1}], "b": [{"q": 2}]}, "is an object; give a list of objects, or an object with one such list"),
        ("x", "is a text; give a list"),
        ([1], "row 1: is a number; each row must be an object"),
        ([{"q": "a"}, {}], 'row 2 has no column "q"'),
    ],
)
def test_a_json_file_without_rows_is_refused(table, out, document, told):
    with pytest.raises(InputError, match=told):
        pull(table("a.json", json.dumps(document)), ASK, out)
    assert not out.exists()


def test_a_column_may_be_a_part_of_a_nested_one(table, out):
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    row = {"messages": chat, "answers": {"text": ["four"]}, "a.b": 1}
    columns = Columns(
        inputs={"messages": "messages[:-1]", "number": "a.b"}, metadata={"also": "answers.text[0]"},
        expected="messages[-1].content",
    )  # fmt: skip
    (task,) = pull(table("a.jsonl", json.dumps(row)), columns, out).tasks
    assert task.input == {"messages": chat[:1], "number": 1}
    assert (task.metadata, task.expected_output) == ({"also": "four"}, "Hello")


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("a.c", r'a.jsonl:1: the column "a.c" is not there: a is an object without .c'),
        ("a.b[3]", r"a.b is a list without \[3\]"),
        ("a[0]", r"a is an object without \[0\]"),
        ("a.b.c", "a.b is a list without .c"),
        ("a.b[x]", r'"a.b\[x\]" is no column, nor a path into one'),
        ("b.a", 'has no column "b.a"; it has "a"'),
    ],
)
def test_a_part_that_is_not_there_is_named(table, out, column, told):
    with pytest.raises(InputError, match=told):
        pull(table("a.jsonl", json.dumps({"a": {"b": [1]}})), Columns(inputs={"x": column}), out)
    assert not out.exists()


@pytest.mark.parametrize("reference", ["tickets.csv", "csv:tickets", "deep/rows.JSONL", "hf:team/data", "t.parquet"])
def test_a_table_is_told_from_a_folder_and_a_slug(reference):
    assert is_table(reference)
    assert not any(map(is_table, ["datasets/support", "support", "support@3", "tickets.v2", "other:x"]))


def test_a_dataset_of_a_table_is_named_after_its_file(table):
    source = table("My tickets.csv", "q,want\nwhere,here\n").removeprefix("csv:")
    made = read_table(source, Columns("q", expected="want"), table_name(source))
    assert (made.slug, made.tasks[0].expected_output) == ("My-tickets", "here")


def test_rows_that_ask_the_same_are_counted_and_left_out_where_that_is_asked(table):
    source = table("a.csv", "q,want\na,1\nb,2\na,1\na,3\n")
    whole = read_table(source, Columns("q", expected="want"), "a")
    assert repeats(whole).startswith(
        "2 of 4 tasks ask what an earlier one asks, 1 of them with another expected output; a split keeps them together"
    )
    short = read_table(source, Columns("q", expected="want", drop_duplicates=True), "a")
    assert [task.name for task in short.tasks] == ["task-0001", "task-0002"]
    assert repeats(short) == ""
