"""The name `mv37.rollout` where the hosted SDK is not installed: it leads to this package.

The finder stands last in `sys.meta_path`, so that a real `mv37` wins from wherever it can be imported.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE, NAME = "mv37", "mv37.rollout"


class StandIn:
    """Finds and loads `mv37` and `mv37.rollout` where nobody else did."""

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG004
        """A spec for the two names, None for any other."""
        return ModuleSpec(fullname, StandIn, is_package=fullname == PACKAGE) if fullname in (PACKAGE, NAME) else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """An empty module, as Python makes it."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """`mv37` stays empty; `mv37.rollout` is `rollout_local` itself."""
        if module.__name__ == NAME:
            sys.modules[NAME] = importlib.import_module("rollout_local")


def stand_in_for_hosted_sdk() -> None:
    """Let `import mv37.rollout` find this package, unless the real one is installed."""
    if StandIn not in sys.meta_path:
        sys.meta_path.append(StandIn)
