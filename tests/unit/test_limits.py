"""What comes from elsewhere is measured before it is held; tested with small limits and small inputs."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import pytest

from rollout_local import limits
from rollout_local.documents import read_text
from rollout_local.errors import InputError


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in limits.MOST:
        monkeypatch.setitem(limits.MOST, name, 1000)


def test_a_file_is_read_up_to_its_limit_and_refused_beyond_it_by_name(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 1000)
    assert limits.read(file, "cassette") == b"x" * 1000
    file.write_bytes(b"x" * 1001)
    with pytest.raises(limits.TooLarge, match="is larger than 1000 bytes, the most that is read of a cassette"):
        limits.read(file, "cassette")
    with pytest.raises(
        InputError, match=r"file is larger than 1000 bytes, the most that is read of a text file; split"
    ):
        read_text(file)


def test_a_pipe_without_an_end_is_refused_and_one_that_was_named_is_read_to_the_limit(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="it is no plain file"):
        limits.read(pipe, "cassette")
    keeper = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    os.write(keeper, b"x" * 2000)
    with pytest.raises(limits.TooLarge):
        limits.read(pipe, "text file", pipes=True)
    os.close(keeper)
    with pytest.raises(OSError, match="it is no plain file"):
        limits.read(Path("/dev/null"), "text file", pipes=True)
    with pytest.raises(IsADirectoryError):
        limits.read(tmp_path, "cassette")


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw)],
    ids=["gzip", "zlib", "deflate"],
)
def test_what_comes_out_of_a_decompressor_is_counted(encoding: str, pack: object) -> None:
    assert callable(pack)
    assert limits.inflate(pack(b"x" * 1000), encoding, "body") == b"x" * 1000
    with pytest.raises(limits.TooLarge, match="is larger than 1000 bytes, the most that is read of a body"):
        limits.inflate(pack(b"x" * 1001), encoding, "body")
    with pytest.raises((EOFError, zlib.error)):
        limits.inflate(pack(b"x" * 500)[:-3], encoding, "body")


def test_members_of_one_gzip_count_together_and_what_follows_them_is_damage() -> None:
    one = gzip.compress(b"x" * 400)
    assert limits.inflate(one + one + b"\0\0", "gzip", "body") == b"x" * 800
    with pytest.raises(limits.TooLarge):
        limits.inflate(one * 3, "gzip", "body")
    with pytest.raises(zlib.error):
        limits.inflate(one + b"rest", "gzip", "body")


def test_large_limits_are_told_in_mebibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(limits.MOST, "body", 3 << 20)
    with pytest.raises(limits.TooLarge, match="larger than 3 MiB"):
        limits.check((3 << 20) + 1, "body")
