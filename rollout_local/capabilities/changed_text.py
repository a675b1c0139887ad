"""Where the promoted text goes: into an agent's body in a new version, or into a file of the user's.

Either way nothing but the text changes, and it is there completely or not at all.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rollout_local.capabilities.loading import of_files
from rollout_local.capabilities.manifest import MANIFEST, with_version
from rollout_local.errors import InputError, Refused
from rollout_local.targets.agent_files import Capability, normalised, with_body

_MARK = b"\xef\xbb\xbf"


def next_version(source: Capability, agent: str, text: str, version: str) -> Capability:
    """`source` with the agent's body and its own version replaced, every other byte as it was.

    Raises `Refused` for a text that would not be read back as the body.
    """
    path = source.agent(agent).path
    raw = source.files[MANIFEST]
    mark = _MARK if raw.startswith(_MARK) else b""
    manifest = mark + with_version(raw.decode("utf-8-sig"), version).encode("utf-8")
    files = {**source.files, path: with_body(source.files[path], text), MANIFEST: manifest}
    try:
        made = of_files(files, source.executable, f"{source.name}@{version}").capability
    except InputError:
        made = None
    if made is None or made.version != version or made.agent(agent).body != normalised(text):
        msg = f"the text would not be read back as the body of {path}: it begins like front matter"
        raise Refused(msg)
    return made


def held(file: Path) -> str | None:
    """The text of a file, None where there is no file; `InputError` where it cannot be a text."""
    try:
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        msg = f"--to {file} cannot be read as a text ({error}); give the file of the prompt"
        raise InputError(msg) from error


def same(one: str | None, other: str) -> bool:
    """Equal texts, but for space at the end and the kind of line ends."""
    return one is not None and normalised(one) == normalised(other)


@contextlib.contextmanager
def replacing(file: Path, text: str) -> Iterator[None]:
    """Stage `text` beside `file`; it takes the file's place at the end of the block, at once, unless that raised.

    A file that ends in a line end keeps it, and a new one gets one.
    """
    place = file.resolve()
    former = held(file)
    text = normalised(text) + ("" if former is not None and not former.endswith("\n") else "\n")
    raw = text.replace("\n", "\r\n").encode() if former and "\r\n" in former else text.encode()
    try:
        handle, staged = tempfile.mkstemp(dir=place.parent, prefix=".rollout-")
    except OSError as error:
        msg = f"--to {file} cannot be written: {error.strerror or error}"
        raise InputError(msg) from error
    try:
        with os.fdopen(handle, "wb") as output:
            output.write(raw)
            output.flush()
            os.fsync(handle)
        Path(staged).chmod(place.stat().st_mode & 0o777 if former is not None else 0o644)
        yield
        Path(staged).replace(place)
    finally:
        Path(staged).unlink(missing_ok=True)
