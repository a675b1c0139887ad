"""Archives of other people: refused wholly or read wholly, and nothing is ever written elsewhere."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout_local.bundle.archives import Limits, name_problem, read, unpack
from rollout_local.errors import InputError

Tree = Callable[[Path], dict[str, bytes | None]]
SMALL = Limits(members=50, member_bytes=10_000, total_bytes=50_000)
GOOD = {"dataset.toml": b"name = 1\n", "tasks/a/task.json": b"{}", "tasks/ü b.txt": b"x" * 5000, "empty": b""}


def tar(members: dict[str, Any], mode: str = "w", **options: Any) -> bytes:
    """A tar; a value is content, or a `TarInfo` type."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, **options) as archive:
        for name, value in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(value, str | bytes) and len(value) == 1 and name.startswith("!"):
                info.name, info.type, info.linkname = name[1:], value, "target"
                archive.addfile(info)
                continue
            info.size = len(value)
            archive.addfile(info, io.BytesIO(value))
    return buffer.getvalue()


def zipped(members: dict[str, bytes], mode: int = 0o100644, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, method
            archive.writestr(info, data)
    return buffer.getvalue()


FORMS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zipped,
    "stored zip": lambda members: zipped(members, method=zipfile.ZIP_STORED),
    "tar": tar,
    "gnu tar": lambda members: tar(members, format=tarfile.GNU_FORMAT),
    "tar.gz": lambda members: tar(members, "w:gz"),
    "tar.bz2": lambda members: tar(members, "w:bz2"),
    "tar.xz": lambda members: tar(members, "w:xz"),
}


@pytest.fixture
def refused(tmp_path: Path, tree: Tree) -> Callable[..., str]:
    """`refused(data)`: both ways of reading refuse it, and leave everything as it was; returns what is said."""

    def check(data: bytes, limits: Limits = SMALL) -> str:
        file = tmp_path / "a" / "archive"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        before = tree(tmp_path)
        with pytest.raises(InputError) as first:
            unpack(file, tmp_path / "a" / "into", limits)
        assert tree(tmp_path) == before
        with pytest.raises(InputError) as second:
            read(file, limits)
        assert str(first.value) == str(second.value)
        assert str(first.value).startswith(str(file))
        return str(first.value)

    return check


@pytest.mark.parametrize("form", FORMS)
def test_a_good_archive_is_read_and_unpacked(tmp_path: Path, tree: Tree, form: str) -> None:
    (tmp_path / "archive").write_bytes(FORMS[form](GOOD))
    assert read(tmp_path / "archive") == GOOD
    files = unpack(tmp_path / "archive", tmp_path / "into")
    assert sorted(files) == sorted(tmp_path / "into" / name for name in GOOD)
    assert {name: data for name, data in tree(tmp_path / "into").items() if data is not None} == GOOD
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "into"]


def test_folders_are_kept_and_a_leading_dot_is_dropped(tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "t").write_bytes(tar({"!./": tarfile.DIRTYPE, "!./sub/": tarfile.DIRTYPE, "./sub/x": b"1"}))
    (tmp_path / "z").write_bytes(zipped({"sub/": b"", "sub/x": b"1"}, mode=0))
    for name in "tz":
        unpack(tmp_path / name, tmp_path / f"into-{name}")
        assert tree(tmp_path / f"into-{name}") == {"sub": None, "sub/x": b"1"}


BAD_NAMES = (
    "../x", "a/../../x", "a/..", "..", ".", "a/./b", "/etc/passwd", "//server/x", "a//b", "a/b/..", "C:/x", "c:x",
    "a:b", "..\\x", "a\\b", "CON", "con.txt", "a/NUL", "aux.tar.gz", "COM1", "lpt9.x", "com¹", "PRN .txt", "nul ",
    "CONIN$", "a.", "a/b ", " a", "a\nb", "a\x1bb", "a\x7fb", "a\u2028b", "a*", "a?", 'a"b', "<a>", "a|b", "x" * 256,
    "ü" * 200, "a/" * 600 + "b",
)  # fmt: skip


@pytest.mark.parametrize("form", ["zip", "tar", "gnu tar"])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_elsewhere_or_cannot_be_kept_everywhere_is_refused(
    refused: Callable[..., str], form: str, name: str
) -> None:
    assert "the name" in refused(FORMS[form]({"good": b"1", name: b"2"}))
    assert name_problem(name)


def test_names_that_are_plain_are_not_refused() -> None:
    for name in ("a", "a/b.json", ".hidden", "console", "a..b", "-x", "ü/é.txt", "com", "nullable.py", "x" * 255):
        assert name_problem(name) == ""
    assert name_problem("")
    assert name_problem("a\ud800")


def test_a_zip_name_with_a_nul_is_refused(refused: Callable[..., str]) -> None:
    assert "has a NUL" in refused(zipped({"good.txtX.exe": b"1"}).replace(b"good.txtX", b"good.txt\0"))


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize(
    ("one", "two", "problem"),
    [
        ("Task.json", "task.json", "are one name on some file systems"),
        ("é", "e\u0301", "are one name on some file systems"),
        ("straße", "STRASSE", "are one name on some file systems"),
        ("A/x", "a/y", "are one name on some file systems"),
        ("a", "a/b", "is a file and a folder"),
        ("a/b", "a", "is a file and a folder"),
    ],
)
def test_names_that_collide_are_refused(
    refused: Callable[..., str], form: str, one: str, two: str, problem: str
) -> None:
    assert problem in refused(FORMS[form]({one: b"1", two: b"2"}))


def test_one_name_twice_is_refused(refused: Callable[..., str]) -> None:
    assert "is there twice" in refused(tar({"a": b"1"})[:1024] + tar({"a": b"2"}))
    assert "is there twice" in refused(zipped({"a1": b"1", "a2": b"2"}).replace(b"a1", b"aa").replace(b"a2", b"aa"))


@pytest.mark.parametrize(
    ("kind", "word"),
    [(tarfile.SYMTYPE, "a symbolic link"), (tarfile.LNKTYPE, "a hard link"), (tarfile.FIFOTYPE, "a pipe"),
     (tarfile.CHRTYPE, "a device"), (tarfile.BLKTYPE, "a device")],
)  # fmt: skip
def test_links_and_devices_in_a_tar_are_refused(refused: Callable[..., str], kind: bytes, word: str) -> None:
    assert word in refused(tar({"good": b"1", "!link": kind}))


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o060666, 0o010666, 0o140666, 0o040755])
def test_links_and_devices_in_a_zip_are_refused(refused: Callable[..., str], mode: int) -> None:
    assert "is a link or a device" in refused(zipped({"link": b"/etc/passwd"}, mode))


def test_a_folder_with_a_content_is_refused(refused: Callable[..., str]) -> None:
    assert "has a content" in refused(zipped({"a/": b"1"}))


def test_a_sparse_file_is_refused(refused: Callable[..., str]) -> None:
    info = tarfile.TarInfo("sparse")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % (10 << 30)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:512]))
    assert "is a device, or of an unknown kind" in refused(bytes(header) + bytes(1024))


# -- bombs


@pytest.mark.parametrize("form", FORMS)
def test_members_that_are_too_large_or_too_many_are_refused(refused: Callable[..., str], form: str) -> None:
    make = FORMS[form]
    assert "larger than 10000 bytes" in refused(make({"a": b"0" * 10_001}))
    assert "larger than 50000 bytes together" in refused(make({f"a{n}": b"0" * 9_999 for n in range(6)}))
    assert "more than 50 members" in refused(make({f"a{n}": b"" for n in range(51)}))


def test_ten_gigabytes_of_zeros_are_refused_at_once(refused: Callable[..., str]) -> None:
    begun = time.monotonic()
    lie = bytearray(zipped({"a": b"0" * 9000}))
    for at in (lie.index(b"PK\x03\x04") + 22, lie.index(b"PK\x01\x02") + 24):
        lie[at : at + 4] = struct.pack("<I", 0xFFFF_FFF0)
    assert "larger than" in refused(bytes(lie))
    info = tarfile.TarInfo("a")
    info.size = 10 << 30
    header = info.tobuf(tarfile.GNU_FORMAT)
    assert "larger than" in refused(gzip.compress(header + bytes(1 << 20)))
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        big = tarfile.TarInfo("././@PaxHeader")
        big.type, big.size = tarfile.XHDTYPE, 8 << 20
        assert refused(pack(big.tobuf(tarfile.USTAR_FORMAT) + bytes(8 << 20)))
    assert "more comes out of it" in refused(gzip.compress(tar(GOOD) + bytes(1 << 20)))
    assert time.monotonic() - begun < 5


def test_a_zip_that_declares_less_than_comes_out_is_refused(refused: Callable[..., str]) -> None:
    lie = bytearray(zipped({"a": b"0" * 9000}))
    for at in (lie.index(b"PK\x03\x04") + 22, lie.index(b"PK\x01\x02") + 24):
        lie[at : at + 4] = struct.pack("<I", 10)
    assert "'a'" in refused(bytes(lie))
    for at in (lie.index(b"PK\x03\x04") + 22, lie.index(b"PK\x01\x02") + 24):
        lie[at : at + 4] = struct.pack("<I", 9_500)
    assert "'a'" in refused(bytes(lie))


def test_a_million_names_are_refused_before_they_are_read(refused: Callable[..., str]) -> None:
    data = bytearray(zipped({"a": b"1"}))
    end = data.rindex(b"PK\x05\x06")
    for count, length, problem in ((51, 60, "more than 50"), (1, 1 << 30, "more than 50"), (0xFFFF, 60, "zip64")):
        data[end + 10 : end + 16] = struct.pack("<HI", count, length)
        assert problem in refused(bytes(data))


def test_members_that_share_bytes_are_refused(refused: Callable[..., str]) -> None:
    data = bytearray(zipped({"a": b"1" * 100, "b": b"2"}, method=zipfile.ZIP_STORED))
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    assert "overlaps" in refused(bytes(data))


def test_encrypted_and_oddly_compressed_members_are_refused(refused: Callable[..., str]) -> None:
    data = bytearray(zipped({"a": b"1"}))
    for at in (6, data.index(b"PK\x01\x02") + 8):
        data[at] |= 1
    assert "is encrypted" in refused(bytes(data))
    assert "compressed in a way" in refused(zipped({"a": b"1" * 100}, method=zipfile.ZIP_LZMA))


# -- damage


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_cut_short_is_refused(refused: Callable[..., str], form: str) -> None:
    data = FORMS[form](GOOD)
    for length in {4, 20, 100, 512, 700, 1024, len(data) // 2, len(data) - 1100, len(data) - 600}:
        end = tarfile.BLOCKSIZE * 2 if form.endswith("tar") else 0
        if 0 < length < len(data) - (tarfile.RECORDSIZE if end else 20):
            refused(data[:length])


def test_what_is_no_archive_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    dice = random.Random(0)
    for data in (b"", b"PK", b"PK\x05\x06", b"hello", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", dice.randbytes(3000)):
        assert "not a zip or tar archive" in refused(data) or "directory is missing" in refused(data)
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="not a zip or tar archive"):
        read(tmp_path)


def test_a_damaged_member_is_named(refused: Callable[..., str]) -> None:
    data = bytearray(zipped({"tasks/a.json": b"0123456789" * 9}, method=zipfile.ZIP_STORED))
    data[60] ^= 1
    assert "'tasks/a.json' is damaged" in refused(bytes(data))
    data[60] ^= 1
    data[0:4] = b"PK\x03\x05"
    assert "'tasks/a.json' is damaged" in refused(bytes(data))


@pytest.mark.parametrize("form", FORMS)
def test_flipped_bytes_never_raise_anything_else_and_never_write_outside(tmp_path: Path, tree: Tree, form: str) -> None:
    data, dice = FORMS[form](GOOD), random.Random(1)
    outside = tmp_path / "outside"
    outside.mkdir()
    file = outside / "archive"
    for number in range(60):
        changed = bytearray(data)
        for _ in range(dice.randrange(1, 4)):
            changed[dice.randrange(len(data))] = dice.randrange(256)
        file.write_bytes(bytes(changed))
        before = tree(outside)
        into = tmp_path / f"into{number}"
        try:
            unpack(file, into, SMALL)
        except InputError:
            assert not into.exists()
        assert tree(outside) == before
        assert not list(tmp_path.glob(".into*"))


def test_unpacking_needs_a_new_folder_in_one_that_exists(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(zipped(GOOD))
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("archive", "link"):
        with pytest.raises(InputError, match="exists; give a folder that does not"):
            unpack(tmp_path / "archive", tmp_path / name)
    with pytest.raises(InputError, match="does not exist; make it first"):
        unpack(tmp_path / "archive", tmp_path / "no" / "into")
