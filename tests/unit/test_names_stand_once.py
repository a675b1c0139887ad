"""A name means one thing: module names within a layer, class names in the whole package."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rollout_local"


def modules() -> list[Path]:
    starter = PACKAGE / "cli" / "starter"
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not path.is_relative_to(starter)]


def layer_of() -> dict[str, int]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return {room: number for number, layer in enumerate(layers) for room in re.findall(r"\w+", layer)}


def test_no_module_name_stands_twice_within_a_layer() -> None:
    layers, found = layer_of(), defaultdict(set)
    for path in modules():
        room, *below = path.relative_to(PACKAGE).with_suffix("").parts
        if below and below[-1] != "__init__":
            found[(layers[room], below[-1])].add(room)
    assert not {name: rooms for (_, name), rooms in found.items() if len(rooms) > 1}


def test_no_public_class_name_stands_in_two_packages() -> None:
    found = defaultdict(set)
    for path in modules():
        room = path.relative_to(PACKAGE).parts[0]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].add(room)
    assert not {name: rooms for name, rooms in found.items() if len(rooms) > 1}
