"""Processes for what has to run in one of its own."""

from tests.children import nursery

__all__ = ["nursery"]
