"""Putting ourselves in a library's place: lazily, reversibly, and not at all where it has changed."""

from __future__ import annotations

import importlib
import sys
import types

import pytest

from rollout_local.errors import RecordingError
from rollout_local.recordings import clients, current, open_recording
from rollout_local.recordings.clients.hooks import Client, Hooks, Patch, missing_names

SOURCE = "class Door:\n    def send(self, what):\n        return what\n"


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library on disk, not yet imported."""
    package = tmp_path / "somelib"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "doors.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "somelib"]:
        del sys.modules[name]


def _loud(module):
    yield Patch(module.Door, "send", lambda original: lambda door, what: original(door, what).upper())
    yield Patch(module, "extra", lambda _: "new")


CLIENT = Client("some", "somelib.doors", ("Door.send",), _loud)


def test_a_library_imported_later_is_covered_and_given_back(library):
    hooks = Hooks([CLIENT])
    hooks.install()
    try:
        doors = importlib.import_module("somelib.doors")
        assert doors.Door().send("hi") == "HI"
        assert doors.extra == "new"
        assert type(doors.__spec__.loader).__name__ == "SourceFileLoader"
        assert doors.__loader__ is doors.__spec__.loader
    finally:
        hooks.remove()
    assert doors.Door().send("hi") == "hi"
    assert not hasattr(doors, "extra")
    assert hooks not in sys.meta_path


def test_a_library_imported_before_is_covered(library):
    doors = importlib.import_module("somelib.doors")
    hooks = Hooks([CLIENT])
    hooks.install()
    assert doors.Door().send("hi") == "HI"
    hooks.remove()
    hooks.remove()
    assert doors.Door().send("hi") == "hi"


def test_what_someone_else_put_in_place_meanwhile_stays(library):
    doors = importlib.import_module("somelib.doors")
    hooks = Hooks([CLIENT])
    hooks.install()
    doors.Door.send = lambda door, what: "theirs"
    hooks.remove()
    assert doors.Door().send("hi") == "theirs"


def test_a_name_that_is_gone_is_found_without_importing_the_library(library):
    missing_names(CLIENT)
    gone = Client("some", "somelib.doors", ("Door.knock",), _loud)
    with pytest.raises(RecordingError, match=r"somelib has no somelib.doors:Door.knock any more"):
        missing_names(gone)
    with pytest.raises(RecordingError, match=r"Gate.send"):
        missing_names(Client("some", "somelib.doors", ("Gate.send",), _loud))
    with pytest.raises(RecordingError, match=r"somelib.gates"):
        missing_names(Client("some", "somelib.gates", ("Door.send",), _loud))
    assert "somelib" not in sys.modules


def test_a_library_that_is_not_installed_needs_nothing():
    missing_names(Client("none", "no_such_library.doors", ("Door.send",), _loud))


def test_importing_a_changed_library_fails_closed(library, monkeypatch):
    hooks = Hooks([Client("some", "somelib.doors", ("Door.knock",), _loud)])
    hooks.install()
    try:
        with pytest.raises(RecordingError, match=r"Door.knock"):
            importlib.import_module("somelib.doors")
    finally:
        hooks.remove()


def test_opening_fails_closed_where_a_private_name_is_gone(monkeypatch, path):
    import httpx._transports.default as module

    class Renamed:
        pass

    monkeypatch.setattr(module, "AsyncHTTPTransport", Renamed)
    with pytest.raises(RecordingError, match=r"AsyncHTTPTransport.handle_async_request"), open_recording(path):
        pass
    assert not path.exists()
    assert current.recording() is None


@pytest.mark.parametrize("client", clients.CLIENTS, ids=lambda client: client.module)
def test_every_name_in_the_table_is_there(client):
    module = importlib.import_module(client.module)
    missing_names(client)
    saved = sys.modules.pop(client.module)
    try:
        missing_names(client)  # from the source
    finally:
        sys.modules[client.module] = saved
    assert module is saved


def test_dspys_caches_are_off_in_a_recording_and_back_afterwards(path):
    import dspy

    before = dspy.cache
    with open_recording(path):
        assert dspy.cache is not before
        assert not dspy.cache.enable_disk_cache
        assert not dspy.cache.enable_memory_cache
    assert dspy.cache is before


def test_a_cache_that_was_not_built_yet_is_not_built(path, monkeypatch):
    import dspy

    monkeypatch.delitem(vars(dspy), "cache", raising=False)
    with open_recording(path):
        assert "cache" in vars(dspy)
    assert "cache" not in vars(dspy)


def test_a_litellm_that_sends_completions_through_rust_is_refused():
    from rollout_local.recordings.clients import litellm_routes

    def catalog(decided: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(
            Route=types.SimpleNamespace(CHAT_COMPLETIONS=1, EMBEDDINGS=2, RESPONSES=3),
            RouteContext=lambda route: route,
            decision=lambda route: types.SimpleNamespace(name=decided),
        )

    assert list(litellm_routes.patches(catalog("PYTHON"))) == []
    with pytest.raises(RecordingError, match="chat_completions through Rust"):
        list(litellm_routes.patches(catalog("RUST_REQUIRED")))


def test_the_installed_litellm_sends_completions_through_python(path):
    import litellm.rust_bridge.catalog

    with open_recording(path):
        assert litellm.rust_bridge.catalog.RULES


def test_a_module_whose_spec_nobody_knows_is_left_to_importlib():
    hooks = Hooks([Client("none", "no_such_library.doors", (), _loud)])
    assert hooks.find_spec("no_such_library.doors", [], None) is None
    assert hooks.find_spec("something.else", None) is None


def test_the_loader_passes_on_what_it_does_not_know():
    from rollout_local.recordings.clients.hooks import _Loader

    inner = types.SimpleNamespace(get_data=lambda name: name, exec_module=lambda module: None)
    loader = _Loader(inner, lambda module: None)
    assert loader.get_data("x") == "x"
    bare = types.ModuleType("bare")
    loader.exec_module(bare)
    assert bare.__loader__ is inner
