"""`@optimize` and the registry of targets; importing a module is what registers its targets.

A module written for the hosted SDK says `import mv37.rollout as rollout`. Where that package is absent, the
name leads here; where it is present, what it lacks is ours (`hosted`), and a registry of its own is read as well.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from pydantic import ValidationError

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import AgentResult, Candidate, Target, TargetDefaults, TargetKind, as_result
from rollout_local.errors import InputError, ModuleMissing, NotFound
from rollout_local.library_code import is_library_code
from rollout_local.targets.decorated import Decorated
from rollout_local.targets.function import FunctionTarget, TargetFunction
from rollout_local.targets.hosted import advice_on_unlisted, forget_stand_in, hosted_sdk
from rollout_local.targets.program import ProgramTarget
from rollout_local.targets.program_metric import Metric
from rollout_local.targets.source import source_of
from rollout_local.targets.started_module import MAIN, is_guarded, is_started, name_of

OURS = str(Path(__file__).parent.parent)
"""Frames in this package are not where the user's mistake is."""

_targets: dict[str, Target] = {}


def raised_by_us(error: BaseException) -> bool:
    """Whether our own code raised it, as a request of the target's was made; a target may raise our classes too."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_code.co_filename.startswith(OURS)


def optimize(
    *, id: str, baseline: str | dict[str, str], kind: str = "prompt", description: str = ""
) -> Callable[[TargetFunction], FunctionTarget]:
    """Register a function `(task, candidate) -> AgentResult | str | dict` as a target.

    `kind` is one of `prompt`, `tool_description`, `router_prompt`, `retrieval_prompt`, `agent`; `baseline` is
    the text that the search starts from. The decorated name stays callable. Raises `InputError` for an
    unknown kind, an empty baseline, or an id that is taken, naming both places.
    """

    def register(function: TargetFunction) -> FunctionTarget:
        target = FunctionTarget(
            function,
            id=_valid_id(id),
            kind=_kind(kind, id),
            description=description,
            baseline=_baseline(baseline, id),
        )
        _add(target)
        return target

    return register


def optimize_program(
    *,
    id: str,
    metric: Metric | None = None,
    kind: str = "prompt",
    description: str = "",
    example: Callable[[Task], object] | None = None,
    examples: object = None,
) -> Callable[[Callable[[], object]], ProgramTarget]:
    """Register a function that returns a `dspy.Module` as a target; its predictors' instructions are optimized.

    `metric` takes DSPy's two, three or five arguments and returns a Prediction (or dict) with `score` in [0, 1] and
    `feedback`, or a number;
    without one, `--verifier` grades. `example` makes a `dspy.Example` of a task; `examples` is a list of
    `dspy.Example`, a dict of lists by split, or a function that returns either, used where no dataset is given.
    """

    def register(function: Callable[[], object]) -> ProgramTarget:
        target = ProgramTarget(
            function,
            id=_valid_id(id),
            metric=metric,
            kind=_kind(kind, id),
            description=description,
            example=example,
            examples=examples,
        )
        _add(target)
        return target

    return register


def program_named(name: str, modules: Iterable[str]) -> ProgramTarget | None:
    """The undecorated function, class or program called `name` in one of the imported modules, as a target."""
    for module in modules:
        found = getattr(sys.modules.get(module), name, None)
        if found is not None and (callable(found) or hasattr(found, "named_predictors")):
            return ProgramTarget(_builder(found, module), id=name, metric=getattr(sys.modules[module], "metric", None))
    return None


def _builder(found: Any, module: str) -> Callable[[], object]:
    if not isinstance(found, type) and hasattr(found, "named_predictors"):  # a program, not what makes one

        def build() -> object:
            return found.deepcopy()

        build.__module__ = module
        return build
    return cast("Callable[[], Any]", found)


def list_optimization_targets() -> list[Target]:
    """Every registered target, by id; the hosted SDK's own registry included where that package is there."""
    return [target for _, target in sorted({**_hosted_targets(), **_targets}.items())]


def get_optimization_target(id: str) -> Target:
    """The target registered under `id`; raises `NotFound` naming the ids there are."""
    for target in list_optimization_targets():
        if target.id == id:
            return target
    known = ", ".join(target.id for target in list_optimization_targets()) or "none"
    msg = f"no target {id!r} is registered (registered: {known}); check the id and --module{advice_on_unlisted()}"
    raise NotFound(msg)


def modules_of(id: str, folder: Path) -> list[str]:
    """The module that registered a target, where a process in `folder` would import the same file by that name.

    Of a script that would do all its work again when it is imported there is none.
    """
    target = _targets.get(id)
    if not isinstance(target, Decorated):
        return []
    module = sys.modules.get(target.function.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None or (module.__name__ == MAIN and not is_guarded(Path(file))):
        return []
    name = name_of(module)
    place = folder.resolve().joinpath(*name.split("."))
    there = [str(place.with_suffix(".py")), str(place / "__init__.py")]
    return [name] if str(Path(file).resolve()) in there else []


def clear_optimization_targets() -> None:
    """Forget every target that was registered here."""
    _targets.clear()


def load_modules(names: Iterable[str], folder: Path) -> None:
    """Import the modules that register the targets; `folder` becomes importable.

    Two folders may each have a `target.py`: what another folder's modules brought in is forgotten first. Raises
    `InputError` naming the module that is missing, or the file and line at which it raised.
    """
    names, home = list(names), str(folder.resolve())
    if names:
        if _home and _home[0] != home:
            _forget(_home.pop())
        _home[:] = [home]
    if home not in sys.path:
        sys.path.insert(0, home)
    for name in names:
        _import(name, folder)


_registering: set[str] = set()
"""Modules that have registered a target."""
_importing: list[str] = []
"""Modules whose import is under way."""
_home: list[str] = []
"""The folder that modules were last loaded from, if any."""


def _forget(home: str) -> None:
    """Unload the user's modules that lie in a folder, and the targets that they registered."""
    gone = {name for name, module in sys.modules.items() if _lies_in(module, home)} - {"__main__"}
    for name in gone:
        del sys.modules[name]
    forget_stand_in()
    for target in [target for target in _targets.values() if isinstance(target, Decorated)]:
        if target.function.__module__ in gone:
            del _targets[target.id]
    while home in sys.path:
        sys.path.remove(home)
    importlib.invalidate_caches()


def _lies_in(module: object, home: str) -> bool:
    return any(
        isinstance(place, str) and not is_library_code(place) and Path(place).resolve().is_relative_to(home)
        for place in _places_of(module)
    )


def _places_of(module: object) -> list[object]:
    """The file of a module, or the folders of a namespace package."""
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return [file]
    try:
        return [*getattr(module, "__path__", ())]
    except KeyError:  # Python looks the folders up in the package above it, which somebody has unloaded
        return []


def _import(name: str, folder: Path) -> None:
    if name.endswith(".py") or "/" in name:
        dotted = ".".join(part for part in Path(name.removesuffix(".py")).parts if part not in ("/", ".", ".."))
        msg = f"--module {name} is a file; give the module's name, as in `import {dotted}`: --module {dotted}"
        raise InputError(msg)
    if is_started(name) and _registered_by(MAIN):
        return
    _importing.append(name)
    try:
        module = importlib.import_module(name)
        if name in _registering and not _registered_by(name):  # the registry was cleared since
            importlib.reload(module)
    except ModuleNotFoundError as error:
        if error.name is None:
            raise _raised(name, error) from error
        if name == error.name or name.startswith(error.name + "."):
            msg = f"there is no module {name!r} in {folder} or on the path; give --module as in `import {name}`"
            raise ModuleMissing(msg) from error
        msg = f"module {name!r} needs {error.name!r}, which is not installed ({_place_of(error)})"
        raise InputError(msg) from error
    except (Exception, SystemExit) as error:  # user code may raise anything while it is imported
        raise _raised(name, error) from error
    finally:
        _importing.pop()


def require_no_import(what: str) -> None:
    """Refuse what must not be done while a module of the user's is imported for its targets."""
    if _importing:
        msg = f'{what} is called while {_importing[-1]!r} is imported; put it under `if __name__ == "__main__":`'
        raise InputError(msg)


def _registered_by(name: str) -> bool:
    return any(isinstance(target, Decorated) and target.function.__module__ == name for target in _targets.values())


def _raised(name: str, error: BaseException) -> InputError:
    return InputError(f"module {name!r} raised on import at {_place_of(error)}: {type(error).__name__}: {error}")


def _place_of(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(("<", OURS))]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"


def _add(target: FunctionTarget | ProgramTarget) -> None:
    taken = _targets.get(target.id)
    if isinstance(taken, Decorated) and taken.place != target.place:
        msg = f"two targets have the id {target.id!r}: {taken.place} and {target.place}; give one of them another id"
        raise InputError(msg)
    _targets[target.id] = target
    _registering.add(target.function.__module__)


def _valid_id(id: str) -> str:
    if isinstance(id, str) and id and id == id.strip() and id.isprintable():
        return id
    msg = f"a target's id must be a non-empty name without surrounding spaces, not {id!r}"
    raise InputError(msg)


def _kind(kind: str, id: str) -> TargetKind:
    try:
        return TargetKind(kind)
    except ValueError:
        msg = f"target {id!r}: unknown kind {kind!r}; use one of {', '.join(TargetKind)}"
        raise InputError(msg) from None


def _baseline(baseline: str | dict[str, str], id: str) -> Candidate:
    try:
        candidate = Candidate(text=baseline) if isinstance(baseline, str) else Candidate(components=baseline)  # type: ignore[call-arg]
    except ValidationError:
        msg = f"target {id!r}: the baseline must be a text, or a dict of texts by name, not {baseline!r}"
        raise InputError(msg) from None
    for name, text in candidate.components.items():
        if not text.strip():
            msg = f"target {id!r}: the baseline ({name}) is empty; GEPA needs a text to start from"
            raise InputError(msg)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            msg = f"target {id!r}: the baseline ({name}) has a character at {error.start} that UTF-8 cannot write"
            raise InputError(msg) from None
    return candidate


class HostedTarget(TargetDefaults):
    """A target from the registry of the hosted SDK, run through its own classes."""

    def __init__(self, hosted: Any, sdk: ModuleType) -> None:
        self._hosted = hosted
        self._sdk = sdk
        self.id: str = hosted.id
        self.kind = _kind(str(getattr(hosted, "kind", "prompt")), self.id)
        self.description: str = getattr(hosted, "description", None) or ""
        self.baseline = _baseline(hosted.baseline, self.id)
        function = getattr(hosted, "fn", None) or getattr(hosted, "function", None) or type(hosted)
        self.source, self.source_hash = source_of(function.__module__)

    def run(self, task: Task, candidate: Candidate) -> AgentResult:
        """Execute once through the hosted SDK's own `run`."""
        theirs = self._sdk.Task(**task.model_dump(exclude_none=True, exclude={"expected_output"}))
        return as_result(self._hosted.run(theirs, self._sdk.Candidate(text=candidate.text)))


def _hosted_targets() -> dict[str, Target]:
    sdk = hosted_sdk()
    listed = getattr(sdk, "list_optimization_targets", list_optimization_targets)
    if sdk is None or listed is list_optimization_targets:  # it has none of its own
        return {}
    try:
        return {target.id: HostedTarget(target, sdk) for target in listed()}
    except InputError:
        raise
    except Exception as error:  # another package's code, of any version
        said = f"{type(error).__name__}: {error}"
        msg = (
            f"the registry of the hosted SDK (mv37.rollout) cannot be read ({said}); use `import rollout_local` instead"
        )
        raise InputError(msg) from error
