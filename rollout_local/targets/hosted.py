"""The name `mv37.rollout`, whole: what an installed SDK brings is its own, and what it lacks of our names is ours.

Invariant: an attribute that the installed module has, in whatever version, is never replaced; a public name of
`rollout_local` that it lacks leads here; and where there is no such module at all, the name is this package. It makes
no difference whether the SDK was imported before this package or after it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE, NAME, OURS = "mv37", "mv37.rollout", "rollout_local"
_asking = threading.local()


class Completed(ModuleType):
    """A module that has our public names, too: they are looked for last, after all that it finds for itself."""

    def __getattr__(self, name: str) -> object:
        of_its_class = getattr(super(), "__getattr__", None)
        try:
            if of_its_class is not None:
                return of_its_class(name)
        except AttributeError:
            if name not in importlib.import_module(OURS).PUBLIC:
                raise
        ours = importlib.import_module(OURS)
        if name in ours.PUBLIC and not _is_submodule(self, name):
            return getattr(ours, name)
        msg = f"module {self.__name__!r} has no attribute {name!r}"
        raise AttributeError(msg, name=name, obj=self)

    @property
    def __all__(self) -> list[str]:
        """What `from mv37.rollout import *` gives: the names of the SDK, then those of ours that it lacks."""
        own = vars(self).get("__all__", [name for name in vars(self) if not name.startswith("_")])
        return list(dict.fromkeys([*own, *importlib.import_module(OURS).PUBLIC]))


def _is_submodule(module: ModuleType, name: str) -> bool:
    """Whether the SDK has a module of this name, which `from mv37.rollout import name` imports where it is unknown."""
    if not hasattr(module, "__path__"):
        return False
    try:
        return importlib.util.find_spec(f"{module.__name__}.{name}") is not None
    except (ImportError, ValueError):
        return False


class Completing:
    """Loads the SDK's module with its own loader, then completes it; a folder without `__init__.py` has no loader."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> object:
        """Whatever else a loader can do, the SDK's own does."""
        return getattr(vars(self).get("_loader"), name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The module as its own loader makes it."""
        created: ModuleType | None = self._loader.create_module(spec) if self._loader else None
        return created

    def exec_module(self, module: ModuleType) -> None:
        """Execute it under its own loader, so that its resources and its source are found as ever."""
        if self._loader is not None:
            module.__loader__ = self._loader
            if module.__spec__ is not None:
                module.__spec__.loader = self._loader
            self._loader.exec_module(module)
        complete(sys.modules.get(NAME, module))


class HostedModules:
    """Loads `mv37` and `mv37.rollout` where nobody else has them."""

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """An empty module, as Python makes it."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """`mv37` stays empty; `mv37.rollout` is `rollout_local` itself."""
        if module.__name__ == NAME:
            sys.modules[NAME] = importlib.import_module(OURS)


class Finder:
    """Stands first: finds the two names as the other finders do, and stands in where none of them does."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """A spec for the two names, None for any other."""
        if fullname not in (PACKAGE, NAME) or getattr(_asking, "now", False):
            return None
        spec = _found_by_others(fullname, path, target)
        if spec is None:
            return ModuleSpec(fullname, HostedModules, is_package=fullname == PACKAGE)  # type: ignore[arg-type]
        if fullname == NAME:
            spec.loader = Completing(spec.loader)  # type: ignore[assignment]
        return spec


def _found_by_others(fullname: str, path: Any, target: ModuleType | None) -> ModuleSpec | None:
    """One of the others may ask all finders in its turn: it gets no answer from this one then."""
    _asking.now = True
    try:
        found = (one.find_spec(fullname, path, target) for one in [*sys.meta_path] if hasattr(one, "find_spec"))
        return next((spec for spec in found if spec is not None), None)
    finally:
        _asking.now = False


def complete(module: Any) -> None:
    """Let the SDK's module have our public names where it lacks them."""
    if isinstance(module, ModuleType) and module.__name__ != OURS and not isinstance(module, Completed):
        kind = type(module)
        module.__class__ = Completed if kind is ModuleType else type(kind.__name__, (Completed, kind), {})


def hosted_sdk() -> ModuleType | None:
    """The hosted SDK's module, where it is there and was imported."""
    module = sys.modules.get(NAME)
    return None if module is sys.modules.get(OURS) else module


def advice_on_unlisted() -> str:
    """A clause for the message that a target is not registered: an SDK may have it, and list it to nobody."""
    own = vars(hosted_sdk() or ModuleType(NAME))
    if "optimize" not in own or "list_optimization_targets" in own:
        return ""
    return "; the installed mv37.rollout lists nobody what its own `optimize` decorates: use that of rollout_local"


def forget_stand_in() -> None:
    """Let the next import of the name look anew: another folder may have a module of this name."""
    if sys.modules.get(NAME) is sys.modules.get(OURS):
        for name in (NAME, PACKAGE):
            sys.modules.pop(name, None)


def stand_in_for_hosted_sdk() -> None:
    """Let `import mv37.rollout` find the SDK completed with our names, or this package where there is no SDK."""
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)
    complete(hosted_sdk())
