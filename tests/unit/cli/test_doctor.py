from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner

from rollout_local.cli import doctor
from rollout_local.cli.main import cli
from rollout_local.models import KEY_VARIABLES, SWITCHES
from rollout_local.store import shm_locks
from rollout_local.store.schema import open_store

ROOT = Path(__file__).parents[3]
MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/me/local xfs rw 0 0
//nas/share /mnt/my\\040share cifs rw 0 0
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", sysconfig.get_path("scripts"), prepend=os.pathsep)
    return tmp_path


def findings(*arguments: str) -> dict[str, dict[str, str]]:
    result = CliRunner().invoke(cli, ["doctor", "--json", *arguments])
    return {finding["check"]: finding for finding in json.loads(result.stdout)}


def test_a_sound_machine_passes_and_nothing_is_left_behind(folder: Path) -> None:
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 0, result.stdout
    assert result.stdout.splitlines()[0].split() == ["check", "status", "detail"]
    assert not list(folder.iterdir())


def test_as_json_it_is_a_list_of_checks_with_status_and_detail() -> None:
    found = findings()
    assert {
        "python",
        "dspy",
        "openai",
        "command",
        "sqlite",
        "sqlite STRICT",
        "sqlite JSON",
        "database",
        "file system",
    } <= set(found)
    assert all(set(finding) == {"check", "status", "detail"} for finding in found.values())
    assert {finding["status"] for finding in found.values()} <= {"ok", "warn", "fail"}


def test_an_old_python_fails() -> None:
    assert doctor.python((3, 11, 0)).status == "ok"
    assert doctor.python((3, 10, 14)) == ("python", "fail", "3.10.14; install Python 3.11 or newer")


def test_a_sqlite_with_the_wal_fault_is_pointed_out() -> None:
    old = doctor.sqlite_version("3.51.2")
    assert old.status == "warn"
    assert "file lock" in old.detail
    assert doctor.sqlite_version("3.51.3") == ("sqlite", "ok", "3.51.3")


def test_where_no_database_can_be_made_sqlite_fails(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder / "gone"))
    (found,) = doctor.sqlite()
    assert found.status == "fail"
    assert "no database can be made" in found.detail


def test_a_database_that_is_whole_is_said_to_be(folder: Path) -> None:
    open_store(folder / "rollout.db").close()
    found = findings()["database"]
    assert found["status"] == "ok"
    assert "0x524F4C4F" in found["detail"]


@pytest.mark.parametrize(
    ("content", "says"), [(b"no database at all, but long enough" * 40, "rollout.db"), (None, "another program")]
)
def test_a_foreign_file_fails_and_the_command_ends_with_1(folder: Path, content: bytes | None, says: str) -> None:
    file = folder / "rollout.db"
    if content is None:
        open_store(file).close()
        data = bytearray(file.read_bytes())
        data[68:72] = b"\0\0\0\0"  # the application id, in the header
        content = bytes(data)
    file.write_bytes(content)
    result = CliRunner().invoke(cli, ["doctor", "--json"])
    found = {finding["check"]: finding for finding in json.loads(result.stdout)}["database"]
    assert result.exit_code == 1
    assert found["status"] == "fail"
    assert says in found["detail"]


def test_a_damaged_database_fails(folder: Path) -> None:
    file = folder / "rollout.db"
    open_store(file).close()
    whole = file.read_bytes()
    said = set()
    for page in range(1, len(whole) // 4096):
        damaged = bytearray(whole)
        damaged[page * 4096 : page * 4096 + 64] = b"\xff" * 64
        file.write_bytes(bytes(damaged))
        found = doctor.database_file(file)
        said.add((found.status, "damaged" in found.detail))
    assert ("fail", True) in said


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/srv/rollout.db", "ok", "ext4"),
        ("/home/me/rollout.db", "warn", "nfs4"),
        ("/home/me/local/rollout.db", "ok", "xfs"),
        ("/mnt/my share/rollout.db", "warn", "cifs"),
        ("/homestead/rollout.db", "ok", "ext4"),
    ],
)
def test_a_network_file_system_is_pointed_out(path: str, status: str, kind: str) -> None:
    found = doctor.file_system(Path(path), MOUNTS)
    assert found.status == status
    assert f" on {kind}" in found.detail


def test_where_mounts_cannot_be_read_nothing_is_claimed(folder: Path) -> None:
    assert doctor._mounts(folder / "gone") == ""
    assert "unknown" in doctor.file_system(Path("/srv/rollout.db"), "proc /proc proc rw 0 0\n").detail
    assert "cannot be told" in doctor.file_system(Path("rollout.db"), "").detail


def test_keys_are_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEY_VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    result = CliRunner().invoke(cli, ["doctor", "--json"])
    found = {finding["check"]: finding["detail"] for finding in json.loads(result.stdout)}
    assert "secret" not in result.output
    assert found["key OPENAI_API_KEY"] == "set"
    assert found["key ANTHROPIC_API_KEY"] == "not set"


def test_a_switch_that_is_set_otherwise_is_named() -> None:
    assert doctor.switches({}).status == "ok"
    assert doctor.switches(SWITCHES).status == "ok"
    against = doctor.switches({"HF_HUB_OFFLINE": "0"})
    assert against.status == "warn"
    assert "HF_HUB_OFFLINE" in against.detail


def test_unshare_is_there_or_not_permitted_or_absent() -> None:
    assert "replays refuse sockets" in list(doctor.air_gap(None))[1].detail
    assert "without any network" in list(doctor.air_gap("/bin/true"))[1].detail
    assert "not permitted" in list(doctor.air_gap("/bin/false"))[1].detail


def test_where_our_own_code_cannot_look_that_is_what_is_said() -> None:
    def look() -> list[doctor.Finding]:
        import sqlite_utils.no_such_part  # noqa: F401

        return []

    (found,) = doctor._looked_at("sqlite", look)
    assert (found.check, found.status) == ("sqlite", "fail")
    assert found.detail.startswith("cannot be looked at (ModuleNotFoundError: No module named 'sqlite_utils.no")


def test_the_hash_seed_is_said() -> None:
    assert doctor.hash_seed({"PYTHONHASHSEED": "0"}).detail == "0"
    assert "not 0" in doctor.hash_seed({}).detail


def test_it_imports_neither_dspy_nor_litellm() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom rollout_local.cli.main import cli\n"
        "CliRunner().invoke(cli, ['doctor'])\n"
        "print([name for name in ('dspy', 'gepa', 'litellm', 'vcr', 'datasette') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("can_be_told", [True, False])
def test_who_holds_the_wal_open_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch, can_be_told: bool) -> None:

    if not can_be_told:
        monkeypatch.setattr(shm_locks, "LOCKS", folder / "none")
    elif not shm_locks.LOCKS.exists():
        pytest.skip("there is no /proc/locks here")
    assert "wal" not in findings()
    with open_store(folder / "rollout.db") as store:
        assert findings()["wal"]["detail"].endswith("all of it in the file")
        reads = (
            "import sqlite3, sys\ndb = sqlite3.connect('rollout.db', isolation_level=None)\ndb.execute('BEGIN')\n"
            "print(db.execute('SELECT count(*) FROM runs').fetchone(), flush=True)\nsys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", reads], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            with store.write() as db:
                db.execute("PRAGMA user_version = 7")
            found = findings()["wal"]
            child.communicate()
        assert found["status"] == "warn"
        who = f"process {child.pid} (python" if can_be_told else "a reader that cannot be told from here"
        assert f"wait for the end of a read transaction of {who}" in found["detail"]
