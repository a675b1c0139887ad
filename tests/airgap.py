"""`make airgap`: one archive that installs and replays on a machine that has no network at all.

In it: wheels of everything that is needed, by the versions in `experiments/constraints.txt`; the project with its
experiments and recordings; `install.sh`, which makes `.venv` from the wheels alone and replays the first experiment;
and `SHA256SUMS` over all of it, checked first. Wheels for another machine: `--platform manylinux_2_28_aarch64
--python 3.12`; what a target of yours needs besides: `--requirements FILE`. The same files give the same archive.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONSTRAINTS = Path("experiments/constraints.txt")
PROJECT = (
    "LICENSE", "Makefile", "README.md", "pyproject.toml", "rollout_local", "experiments", "recordings",
)  # fmt: skip
LEFT_OUT = re.compile(r"__pycache__|\.pyc$|(^|/)\.(?!gitignore)|\.db(-wal|-shm|\.lock)?$|\.egg-info")
DAY = 315_619_200
"""2 January 1980: wheels, which are zips, know no earlier time."""
EXTRA = "airgap-requirements.txt"

INSTALL = """\
#!/bin/sh
# Installs rollout-local from the wheels beside this script and replays an experiment. No network is used.
set -eu
cd "$(dirname "$0")"
find_python() {{
    for python in ${{PYTHON:-python{version} python3}}; do
        if "$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "{version}")' 2>/dev/null; then
            echo "$python"; return
        fi
    done
    echo "install.sh: the wheels here are for Python {version} ({name}); install it, or name it with PYTHON=" >&2
    exit 1
}}
python=$(find_python)
"$python" - <<'CHECK'
import hashlib, sys
for line in open("SHA256SUMS", encoding="utf-8"):
    digest, name = line.rstrip("\\n").split("  ", 1)
    with open(name, "rb") as file:
        if hashlib.sha256(file.read()).hexdigest() != digest:
            sys.exit(f"install.sh: {{name}} is damaged; copy the archive anew")
CHECK
unset PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_CONSTRAINT PIP_REQUIRE_VIRTUALENV
export PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1 PIP_FIND_LINKS="$PWD/wheels" PIP_DISABLE_PIP_VERSION_CHECK=1
test -x .venv/bin/python || "$python" -m venv .venv
.venv/bin/python -m pip install -q -c {constraints} {extra}-e .
touch .venv/installed
exec .venv/bin/rollout experiments reproduce experiments/facility-triage --report --quiet
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the archive and say where it is."""
    options = _options(arguments)
    version = options.python or f"{sys.version_info[0]}.{sys.version_info[1]}"
    name = options.platform or f"{platform.system().lower()}-{platform.machine()}"
    file = ROOT / "dist" / f"rollout-local-airgap-{name}-py{version}.tar.gz"
    with tempfile.TemporaryDirectory(prefix="airgap-") as scratch:
        wheels = Path(scratch) / "wheels"
        _download(wheels, options.platform, options.python, options.requirements)
        members = dict(_project_files()) | {f"wheels/{path.name}": path.read_bytes() for path in wheels.iterdir()}
    if options.requirements:
        members[EXTRA] = options.requirements.read_bytes()
    members["install.sh"] = INSTALL.format(
        version=version, name=name, constraints=CONSTRAINTS, extra=f"-r {EXTRA} " if options.requirements else ""
    ).encode()
    members["SHA256SUMS"] = "".join(f"{_sha256(data)}  {name}\n" for name, data in sorted(members.items())).encode()
    file.parent.mkdir(exist_ok=True)
    _write(file, file.name.removesuffix(".tar.gz"), members)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size >> 20} MB, {_count(members)}, {_sha256(file.read_bytes())}")
    print("On the other machine: tar xzf it, then ./install.sh in its folder.")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make airgap", description=__doc__)
    parser.add_argument("--platform", help="the other machine's wheel tag: manylinux_2_28_aarch64, macosx_14_0_arm64")
    parser.add_argument("--python", type=_version, help="the other machine's Python: 3.12")
    parser.add_argument("--requirements", type=Path, help="what your own target needs besides")
    return parser.parse_args(arguments)


def _version(text: str) -> str:
    if not re.fullmatch(r"3\.\d+", text):
        msg = f"a version such as 3.12, not {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return text


def _download(wheels: Path, tag: str | None, python: str | None, requirements: Path | None) -> None:
    """Wheels only: the other machine needs no compiler, and no build step of others runs there."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--only-binary", ":all:"]
    command += ["-d", str(wheels), "-c", str(ROOT / CONSTRAINTS), *_needed()]
    command += [part for one in tags(tag) for part in ("--platform", one)] if tag else []
    command += ["--python-version", python, "--implementation", "cp"] if python else []
    command += ["-r", str(requirements)] if requirements else []
    if subprocess.run(command, check=False).returncode:
        sys.exit(
            f"make airgap: no wheel of a package for {tag or 'this platform'}, Python {python or 'here'} (see above)"
        )


def tags(tag: str) -> list[str]:
    """A manylinux tag and the older ones that run wherever it does; pip does not know them by itself."""
    match = re.fullmatch(r"manylinux_2_(\d+)_(\w+)", tag)
    if match is None:
        return [tag]
    newest, machine = int(match[1]), match[2]
    old = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
    found = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)]
    return found + [f"{name}_{machine}" for minor, name in old.items() if minor <= newest]


def _needed() -> list[str]:
    """What the project needs to be built and to run."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    return [*project["build-system"]["requires"], *project["project"]["dependencies"]]


def _project_files() -> Iterator[tuple[str, bytes]]:
    for name in PROJECT:
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            inside = file.relative_to(ROOT).as_posix()
            if file.is_file() and not LEFT_OUT.search(inside):
                yield inside, file.read_bytes()


def _write(file: Path, folder: str, members: dict[str, bytes]) -> None:
    """Sorted, of one date, unowned. Wheels are compressed already; the level does for the rest."""
    with (
        file.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in sorted(members.items()):
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size, info.mtime, info.mode = len(data), DAY, 0o755 if name == "install.sh" else 0o644
            archive.addfile(info, io.BytesIO(data))


def _count(members: dict[str, bytes]) -> str:
    wheels = sum(name.startswith("wheels/") for name in members)
    return f"{wheels} wheels and {len(members) - wheels} files"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
