"""Where the promoted text goes: into an agent's body in a new version, or into a file of the user's.

Either way nothing but the text changes, and it is there completely or not at all.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from rollout_local.capabilities.loading import of_files
from rollout_local.capabilities.manifest import MANIFEST, with_version
from rollout_local.domain.identity import text_hash
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


def stage(file: Path, text: str) -> Path:
    """Write `text` beside `file`, on the disk, under a name that it decides. `land` lets it take the file's place.

    A file that ends in a line end keeps it, and a new one gets one.
    """
    staged, place, former = staged_beside(file, text), file.resolve(), held(file)
    text = normalised(text) + ("" if former is not None and not former.endswith("\n") else "\n")
    raw = text.replace("\n", "\r\n").encode() if former and "\r\n" in former else text.encode()
    try:
        with staged.open("wb") as output:
            output.write(raw)
            output.flush()
            os.fsync(output.fileno())
        staged.chmod(place.stat().st_mode & 0o777 if former is not None else 0o644)
    except OSError as error:
        msg = f"--to {file} cannot be written: {error.strerror or error}"
        raise InputError(msg) from error
    return staged


def staged_beside(file: Path, text: str) -> Path:
    """Where `text` waits to take the place of `file`: a name that a later process finds again."""
    return file.resolve().with_name(f".rollout-{text_hash(text)[7:23]}")


def land(staged: Path, file: Path) -> None:
    """Let a staged text take its file's place, at once; nothing where it has done so already."""
    place = file.resolve()
    with contextlib.suppress(FileNotFoundError):
        staged.replace(place)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
