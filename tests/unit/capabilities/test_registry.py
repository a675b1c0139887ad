import sqlite3

import pytest

from rollout_local.capabilities import diff, export, get, listing, load, publish
from rollout_local.errors import InputError, NotFound, Refused
from rollout_local.store import releases

from .conftest import AT, FILES, write


def version_of(folder, number, **changes):
    """The capability in `folder` under another version, with changed files."""
    text = FILES["capability.yaml"].replace("1.0.0", number)
    return load(write(folder, {"capability.yaml": text, **changes})).capability


def test_publishing_the_same_content_again_is_nothing_and_says_so(store, folder):
    first = publish(store, load(folder).capability, AT)
    second = publish(store, load(folder).capability, "2027-01-01T00:00:00Z")
    assert (first.is_new, second.is_new) == (True, False)
    assert first.reference == second.reference == "support@1.0.0"
    (row,) = releases.versions(store)
    assert row["created_at"] == AT


def test_other_content_under_a_taken_version_is_refused_with_the_files(store, folder, published):
    write(folder, {"README.md": "Other.\n", "new.txt": "x", "a.txt": "x", "b.txt": "x"})
    with pytest.raises(
        Refused, match=r"support@1.0.0 is published with other content \(README.md, a.txt, b.txt and 1 m"
    ):
        publish(store, load(folder).capability, AT)
    assert get(store, "support@1.0.0") == published


def test_another_executable_bit_is_other_content(store, folder, published):
    (folder / "README.md").chmod(0o755)
    with pytest.raises(Refused, match="which files are executable"):
        publish(store, load(folder).capability, AT)


def test_a_published_version_cannot_be_edited_or_deleted_in_the_database(store, published):
    for statement in ("UPDATE capability_versions SET files_json = '{}'", "DELETE FROM capability_versions"):
        with pytest.raises(sqlite3.IntegrityError, match="published version"), store.write() as db:
            db.execute(statement)


def test_the_newest_version_is_the_highest_and_not_the_last(store, folder, published):
    for number in ("1.0.10", "1.0.9"):
        publish(store, version_of(folder, number), AT)
    assert get(store, "support").version == "1.0.10"
    (entry,) = listing(store)
    assert entry["versions"] == ["1.0.0", "1.0.9", "1.0.10"]
    assert (entry["version"], entry["agents"]) == ("1.0.10", ["triage", "writer"])


def test_a_reference_to_nothing_says_what_there_is(store, published):
    with pytest.raises(NotFound, match=r"support has no version '2.0.0'; it has 1.0.0"):
        get(store, "support@2.0.0")
    with pytest.raises(NotFound, match=r"no capability 'desk' in .*\(there: support\)"):
        get(store, "desk")


def test_a_diff_is_unified_and_per_file(store, folder, published):
    after = version_of(folder, "1.1.0", **{"README.md": "A capability", "new.bin": b"\xff", "new.txt": "x\n"})
    after = after.model_copy(update={"files": {k: v for k, v in after.files.items() if k != "skills/tone/SKILL.md"}})
    text = diff(published, after)
    assert "--- support@1.0.0/README.md\n+++ support@1.1.0/README.md\n" in text
    assert "-A capability.\n+A capability\n\\ No newline at end of file\n" in text
    assert "Binary files /dev/null and support@1.1.0/new.bin differ\n" in text
    assert "--- /dev/null\n+++ support@1.1.0/new.txt\n@@ -0,0 +1 @@\n+x\n" in text
    assert "+++ /dev/null\n" in text
    assert '-version: "1.0.0"   # bumped by promote\n+version: "1.1.0"   # bumped by promote\n' in text
    assert "agents/" not in text
    assert diff(published, published) == ""


def test_a_diff_tells_executable_bits(folder):
    before = load(folder).capability
    (folder / "README.md").chmod(0o755)
    after = load(folder).capability
    assert diff(before, after) == "README.md is now executable\n"
    assert diff(after, before) == "README.md is no longer executable\n"


def test_an_export_is_byte_for_byte_what_was_published(store, folder, tmp_path):
    write(folder, {"icon.png": b"\x89\xff", "crlf.txt": "a\r\nb", "bin/run": "#!/bin/sh\n"})
    (folder / "bin" / "run").chmod(0o755)
    publish(store, load(folder).capability, AT)
    out = tmp_path / "deep" / "out"
    paths = export(get(store, "support@1.0.0"), out)
    theirs = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    ours = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert ours == theirs
    assert sorted(paths) == sorted(theirs)
    assert (out / "bin" / "run").stat().st_mode & 0o111
    assert load(out).capability.content_hash == load(folder).capability.content_hash


def test_an_export_needs_a_free_place(published, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(InputError, match="is not empty"):
        export(published, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        export(published, tmp_path / "file" / "out")


def test_an_export_of_a_foreign_database_does_not_leave_its_folder(published, tmp_path):
    hostile = published.model_copy(update={"files": {**published.files, "../outside": b"x"}})
    with pytest.raises(InputError, match=r"holds the path '../outside', which leads out of"):
        export(hostile, tmp_path / "out")
    assert not (tmp_path / "out").exists()
