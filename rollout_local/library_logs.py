"""What DSPy and GEPA log while a run works is in its journal, once and in our words: their own lines are left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_LIBRARIES = ("dspy", "gepa")


@contextmanager
def library_logs_off() -> Iterator[None]:
    """In this block the libraries' loggers say what is critical alone."""
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
