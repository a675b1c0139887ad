"""What every target has that a decorator registers: the user's function, where it stands, and its source."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from rollout_local.domain.target import TargetDefaults
from rollout_local.targets.source import source_of


class Decorated(TargetDefaults):
    """A target made of a function of the user's."""

    function: Callable[..., Any]

    def __call__(self, *arguments: object) -> Any:
        """The undecorated function."""
        return self.function(*arguments)

    @property
    def place(self) -> str:
        """`file:line` of the function, for messages."""
        code = getattr(self.function, "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(self.function)

    @property
    def source(self) -> str:
        """Source text of the function's module and of the user's modules that it imports."""
        return self._source[0]

    @property
    def source_hash(self) -> str:
        """`sha256:…` over the syntax trees of those modules."""
        return self._source[1]

    @cached_property
    def _source(self) -> tuple[str, str]:
        return source_of(self.function.__module__)
