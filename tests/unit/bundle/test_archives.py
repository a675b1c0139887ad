"""Archives of other people: refused wholly or read wholly, and nothing is ever written."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rollout_local.bundle.archives import Limits, name_problem, read
from rollout_local.errors import InputError

Tree = Callable[[Path], dict[str, bytes | None]]
SMALL = Limits(members=50, member_bytes=10_000, total_bytes=50_000)
GOOD = {"dataset.toml": b"name = 1\n", "tasks/a/task.json": b"{}", "tasks/ü b.txt": b"x" * 5000, "empty": b""}


def zipped(members: dict[str, bytes], mode: int = 0o100644, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, method
            archive.writestr(info, data)
    return buffer.getvalue()


@pytest.fixture
def refused(tmp_path: Path, tree: Tree) -> Callable[..., str]:
    """`refused(data)`: it is refused, and everything left as it was; returns what is said."""

    def check(data: bytes, limits: Limits = SMALL) -> str:
        file = tmp_path / "archive"
        file.write_bytes(data)
        before = tree(tmp_path)
        with pytest.raises(InputError) as told:
            read(file, limits)
        assert tree(tmp_path) == before
        assert str(told.value).startswith(str(file))
        return str(told.value)

    return check


def test_a_good_archive_is_read_and_its_folders_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(zipped({**GOOD, "sub/": b"", "sub/x": b"1"}, mode=0))
    assert read(tmp_path / "archive") == {**GOOD, "sub/x": b"1"}


BAD_NAMES = (
    "../x", "a/../../x", "a/..", "..", ".", "a/./b", "/etc/passwd", "//server/x", "a//b", "a/b/..", "C:/x", "c:x",
    "a:b", "..\\x", "a\\b", "CON", "con.txt", "a/NUL", "aux.tar.gz", "COM1", "lpt9.x", "com¹", "PRN .txt", "nul ",
    "CONIN$", "a.", "a/b ", " a", "a\nb", "a\x1bb", "a\x7fb", "a\u2028b", "a*", "a?", 'a"b', "<a>", "a|b", "x" * 256,
    "ü" * 200, "a/" * 600 + "b",
)  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_elsewhere_or_cannot_be_kept_everywhere_is_refused(
    refused: Callable[..., str], name: str
) -> None:
    assert "the name" in refused(zipped({"good": b"1", name: b"2"}))
    assert name_problem(name)


def test_names_that_are_plain_are_not_refused() -> None:
    for name in ("a", "a/b.json", ".hidden", "console", "a..b", "-x", "ü/é.txt", "com", "nullable.py", "x" * 255):
        assert name_problem(name) == ""
    assert name_problem("")
    assert name_problem("a\ud800")


def test_a_zip_name_with_a_nul_is_refused(refused: Callable[..., str]) -> None:
    assert "has a NUL" in refused(zipped({"good.txtX.exe": b"1"}).replace(b"good.txtX", b"good.txt\0"))


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
def test_names_that_collide_are_refused(refused: Callable[..., str], one: str, two: str, problem: str) -> None:
    assert problem in refused(zipped({one: b"1", two: b"2"}))


def test_one_name_twice_is_refused(refused: Callable[..., str]) -> None:
    assert "is there twice" in refused(zipped({"a1": b"1", "a2": b"2"}).replace(b"a1", b"aa").replace(b"a2", b"aa"))


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o060666, 0o010666, 0o140666, 0o040755])
def test_links_and_devices_in_a_zip_are_refused(refused: Callable[..., str], mode: int) -> None:
    assert "is a link or a device" in refused(zipped({"link": b"/etc/passwd"}, mode))


def test_a_folder_with_a_content_is_refused(refused: Callable[..., str]) -> None:
    assert "has a content" in refused(zipped({"a/": b"1"}))


# -- bombs


def test_members_that_are_too_large_or_too_many_are_refused(refused: Callable[..., str]) -> None:
    assert "larger than 10000 bytes" in refused(zipped({"a": b"0" * 10_001}))
    assert "larger than 50000 bytes together" in refused(zipped({f"a{n}": b"0" * 9_999 for n in range(6)}))
    assert "more than 50 members" in refused(zipped({f"a{n}": b"" for n in range(51)}))


@pytest.mark.parametrize("size", [10, 9_500, 0xFFFF_FFF0])
def test_a_member_that_declares_another_size_than_it_has_is_refused(refused: Callable[..., str], size: int) -> None:
    lie = bytearray(zipped({"a": b"0" * 9000}))
    for at in (lie.index(b"PK\x03\x04") + 22, lie.index(b"PK\x01\x02") + 24):
        lie[at : at + 4] = struct.pack("<I", size)
    assert "'a'" in refused(bytes(lie))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_member_is_refused(refused: Callable[..., str], method: int) -> None:
    assert "is compressed, and no member is here" in refused(zipped({"a": b"1" * 100}, method=method))


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


def test_encrypted_members_are_refused(refused: Callable[..., str]) -> None:
    data = bytearray(zipped({"a": b"1"}))
    for at in (6, data.index(b"PK\x01\x02") + 8):
        data[at] |= 1
    assert "is encrypted" in refused(bytes(data))


# -- damage


def test_an_archive_cut_short_is_refused(refused: Callable[..., str]) -> None:
    data = zipped(GOOD)
    for length in {4, 20, 100, 512, 700, 1024, len(data) // 2, len(data) - 600, len(data) - 21}:
        refused(data[:length])


def test_what_is_no_archive_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    dice = random.Random(0)
    for data in (b"", b"PK", b"PK\x05\x06", b"hello", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", dice.randbytes(3000)):
        assert "not a zip archive" in refused(data) or "directory is missing" in refused(data)
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="not a zip archive"):
        read(tmp_path)


def test_a_damaged_member_is_named(refused: Callable[..., str]) -> None:
    data = bytearray(zipped({"tasks/a.json": b"0123456789" * 9}, method=zipfile.ZIP_STORED))
    data[60] ^= 1
    assert "'tasks/a.json' is damaged" in refused(bytes(data))
    data[60] ^= 1
    data[0:4] = b"PK\x03\x05"
    assert "'tasks/a.json' is damaged" in refused(bytes(data))


def test_flipped_bytes_never_raise_anything_else_and_never_write(tmp_path: Path, tree: Tree) -> None:
    data, dice = zipped(GOOD), random.Random(1)
    file = tmp_path / "archive"
    for _ in range(200):
        changed = bytearray(data)
        for _ in range(dice.randrange(1, 4)):
            changed[dice.randrange(len(data))] = dice.randrange(256)
        file.write_bytes(bytes(changed))
        before = tree(tmp_path)
        with contextlib.suppress(InputError):
            read(file, SMALL)
        assert tree(tmp_path) == before
