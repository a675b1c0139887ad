"""`rollout db seal`, signed and unsigned; signed bundles: what a chain cannot see, and who made a file."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from rollout_local.cli.main import run
from rollout_local.store import chain
from rollout_local.store.schema import open_store
from tests.conftest import ROOT


def write_key(
    path: Path, form: str, key: Ed25519PrivateKey | None = None, locked: KeySerializationEncryption | None = None
) -> None:
    """A pair of key files as OpenSSH or OpenSSL writes them: `path` and `path.pub`."""
    key = key or Ed25519PrivateKey.generate()
    private = PrivateFormat.OpenSSH if form == "ssh" else PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(Encoding.PEM, private, locked or NoEncryption()))
    encoding, public = (
        (Encoding.OpenSSH, PublicFormat.OpenSSH) if form == "ssh" else (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    path.with_suffix(".pub").write_bytes(key.public_key().public_bytes(encoding, public))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database of a finished run, with its files, and two keys."""
    with tarfile.open(ROOT / "tests/landed/0005_programs.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    write_key(tmp_path / "mine", "ssh")
    write_key(tmp_path / "other", "pem")
    return tmp_path


def rewrite(change: str, *, cut: int = 0) -> None:
    """Edit a row and write the whole journal anew over it, so that its chain holds; or leave `cut` entries out."""
    with open_store(Path("rollout.db")) as store:
        run_id = store.row("SELECT id FROM runs")["id"]
        entries = store.rows(
            "SELECT kind, row_id, format FROM journal_entries WHERE run_id = ? ORDER BY seq", (run_id,)
        )
    db = sqlite3.connect("rollout.db", isolation_level=None)
    for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {trigger}")
    db.execute(change)
    db.execute("DELETE FROM journal_entries WHERE run_id = ?", (run_id,))
    for entry in entries[: len(entries) - cut]:
        chain.append(db, run_id, entry["kind"], entry["row_id"], made_as=entry["format"])
    db.close()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = run(arguments)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_a_file_that_went_on_after_its_seal_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    code, words = said(capsys, "db", "seal", "--sign-with", "mine")
    assert code == 0
    assert "rollout.seal.json: the ends of 1 journals, signed in rollout.seal.json.sig" in words
    with open_store(Path("rollout.db")) as store, store.write() as db:
        run_id = store.row("SELECT id FROM runs")["id"]
        row = db.execute(
            "INSERT INTO events (run_id, attempt, at, level, message, data_json) VALUES (?,1,'','info','','{}')",
            (run_id,),
        )
        chain.append(db, run_id, "events", row.lastrowid or 0)
    checked = ("db", "check", "--seal", "rollout.seal.json")
    assert said(capsys, *checked, "--signed-by", "mine.pub") == (0, "rollout.db is whole.\n")
    code, words = said(capsys, *checked, "--signed-by", "other.pub")
    assert (code, "is not a signature of rollout.seal.json by the owner of other.pub" in words) == (1, True)


def test_a_journal_written_anew_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "db", "seal", "latest", "-o", "a.json")[0] == 0
    rewrite("UPDATE trials SET score = 1.0, passed = 1")
    _, without = said(capsys, "db", "check")
    assert "journal" not in without
    code, words = said(capsys, "db", "check", "--seal", "a.json")
    assert code == 1
    assert "its journal was written anew: entry" in words


def test_an_end_that_was_cut_off_and_a_run_that_is_gone_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "db", "seal", "-o", "a.json", "--json")[0] == 0
    rewrite("SELECT 1", cut=2)
    code, words = said(capsys, "db", "check", "--seal", "a.json")
    assert (code, "its end was cut off, or the database is older" in words) == (1, True)
    sealed = json.loads(Path("a.json").read_text())
    (head,) = sealed["runs"].values()
    Path("a.json").write_text(json.dumps(sealed | {"runs": {"opt_gone": head}}))
    code, words = said(capsys, "db", "check", "--seal", "a.json")
    assert (code, "run opt_gone is gone" in words) == (1, True)


def test_a_damaged_journal_is_not_sealed(capsys: pytest.CaptureFixture[str]) -> None:
    db = sqlite3.connect("rollout.db", isolation_level=None)
    db.execute("UPDATE journal_entries SET row_hash = '0' WHERE seq = 2")
    db.close()
    code, words = said(capsys, "db", "seal")
    assert (code, "a damaged journal is not sealed" in words) == (2, True)
    assert not Path("rollout.seal.json").exists()


@pytest.mark.parametrize("key", ["mine", "other"])
def test_a_bundle_signed_by_one_key_is_imported_as_by_that_one_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    code, words = said(capsys, "optimize", "export", "latest", "--bundle", "run.bundle", "--sign-with", key)
    assert (code, "--signed-by YOUR-KEY.pub" in words) == (0, True)
    new = ("import", "bundle", "run.bundle", "--db", "new.db")
    (wrong,) = {"mine", "other"} - {key}
    assert said(capsys, *new, "--signed-by", f"{wrong}.pub")[0] == 1
    assert not (folder / "new.db").exists()
    assert said(capsys, *new, "--signed-by", f"{key}.pub")[0] == 0
    (folder / "run.bundle.sig").unlink()
    code, words = said(capsys, *new, "--signed-by", f"{key}.pub")
    assert (code, "run.bundle is not signed: there is no run.bundle.sig" in words) == (2, True)


def test_a_signed_bundle_is_one_document_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, words = said(capsys, "optimize", "export", "latest", "--bundle", "b", "--sign-with", "mine", "--json")
    assert (code, json.loads(words)["signature"]) == (0, "b.sig")


def test_files_that_are_no_keys_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_key(folder / "locked", "pem", locked=BestAvailableEncryption(b"secret"))
    rsa = generate_private_key(65537, 2048)
    write_key(folder / "rsa", "pem", key=rsa)  # type: ignore[arg-type]
    (folder / "none.pub").write_text("no key")
    (folder / "long").write_text("x" * 70_000)
    for key, words in {
        "locked": "locked is kept under a passphrase",
        "rsa": "rsa is a key of another kind than ed25519",
        "mine.pub": "mine.pub is no private key",
        "nowhere": "nowhere cannot be read (No such file or directory)",
        "long": "long is larger than 65536 bytes",
    }.items():
        code, seen = said(capsys, "db", "seal", "--sign-with", key)
        assert (code, words in seen) == (2, True), seen
    assert said(capsys, "db", "seal")[0] == 0
    for key, words in {"none.pub": "no public key", "rsa.pub": "rsa.pub is a public key of another kind"}.items():
        code, seen = said(capsys, "db", "check", "--seal", "rollout.seal.json", "--signed-by", key)
        assert (code, words in seen) == (2, True), seen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("db", "check", "--signed-by", "mine.pub"), "--signed-by is about the file of --seal; give both"),
        (("optimize", "export", "latest", "--sign-with", "mine"), "--sign-with signs the file of --bundle; give both"),
        (("db", "check", "--seal", "none.json"), "none.json cannot be read (No such file"),
        (("db", "check", "--seal", "mine.pub"), "mine.pub is no file of `rollout db seal`"),
        (("db", "seal", "-o", "mine.pub"), "mine.pub exists; give a file that does not"),
        (("db", "seal", "-o", "none/a.json"), "none/a.json cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    code, seen = said(capsys, *arguments)
    assert code == 2
    assert words in seen


def test_without_the_extra_the_command_names_it(folder: Path) -> None:
    code = "import sys; sys.modules['cryptography'] = None; from rollout_local.cli.main import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", code, "db", "seal", "--sign-with", "mine"], cwd=folder, capture_output=True, text=True
    )
    assert (found.returncode, "pip install 'rollout-local[sign]'" in found.stderr) == (2, True)
    assert not (folder / "rollout.seal.json").exists()
