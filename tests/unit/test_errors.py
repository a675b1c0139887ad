"""The drawing at the top of `errors` is the tree itself."""

import contextlib
import inspect
import re

import pytest

from rollout_local import errors

LINE = re.compile(r"^(?P<indent>[ │]*)(?:[├└]── )?(?P<name>[A-Z]\w+)(?: \((?P<base>\w+)\))?\s+(?P<code>\d(?= {2}))?")
CLASSES = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}


def drawn():
    """`(name, parent, exit code)` of every class in the drawing."""
    parents = {}
    for line in (errors.__doc__ or "").splitlines():
        found = LINE.match(line.removeprefix("    "))
        if not line.startswith("    ") or found is None:
            continue
        depth = line.index(found["name"])
        parents[depth] = found["name"]
        above = [name for at, name in parents.items() if at < depth]
        yield found["name"], found["base"] or (above[-1] if above else "Exception"), found["code"]


DRAWN = list(drawn())


def test_every_class_is_drawn_and_everything_drawn_is_a_class():
    assert sorted(name for name, _, _ in DRAWN) == sorted(CLASSES)


@pytest.mark.parametrize(("name", "parent", "code"), DRAWN)
def test_a_class_stands_where_it_is_drawn_with_its_exit_code(name, parent, code):
    assert [base.__name__ for base in CLASSES[name].__bases__] == [parent]
    if code is not None:
        assert CLASSES[name].exit_code == int(code)


@pytest.mark.parametrize("name", [name for name, kind in CLASSES.items() if issubclass(kind, errors.StopSearch)])
def test_what_stops_a_search_is_no_exception_that_others_catch(name):
    assert not issubclass(CLASSES[name], Exception)


def swallow_exceptions(error):
    """What DSPy and GEPA do."""
    with contextlib.suppress(Exception):
        raise error


@pytest.mark.parametrize("name", [name for name, kind in CLASSES.items() if issubclass(kind, errors.StopSearch)])
def test_what_stops_a_search_comes_through_with_its_words(name):
    with pytest.raises(CLASSES[name], match="over"):
        swallow_exceptions(CLASSES[name]("over"))


def test_a_provider_error_says_how_and_how_long_to_wait():
    error = errors.ProviderError("slow down", kind="rate_limit", retry_after=2.5)
    assert (str(error), error.kind, error.retry_after) == ("slow down", "rate_limit", 2.5)
    assert errors.ProviderError("gone", kind="connection").retry_after is None


def test_a_pause_says_why_and_whether_the_user_asked_for_it():
    assert (errors.Paused("later").reason, errors.Paused("later").interrupted) == (None, False)
    pause = errors.Paused("Ctrl-C", reason="error", interrupted=True)
    assert (str(pause), pause.reason, pause.interrupted) == ("Ctrl-C", "error", True)
    assert (pause.exit_code, errors.Paused("later").exit_code) == (130, 3)
