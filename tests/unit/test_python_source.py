"""A tree that CPython could not make the first time."""

import ast

import pytest

from rollout_local import python_source


def failing(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    parse, left = ast.parse, [times]

    def sometimes(*given: object) -> ast.Module:
        if left[0]:
            left[0] -= 1
            msg = "AST constructor recursion depth mismatch (before=180, after=198)"
            raise SystemError(msg)
        tree = parse(*given)  # type: ignore[call-overload]
        assert isinstance(tree, ast.Module)
        return tree

    monkeypatch.setattr(ast, "parse", sometimes)


@pytest.mark.parametrize("times", [0, 1, python_source.TRIES - 1])
def test_it_is_made_again(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    failing(monkeypatch, times)
    assert ast.unparse(python_source.tree_of(b"x = 1")) == "x = 1"


def test_what_never_comes_to_an_end_is_raised_and_a_mistake_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SyntaxError):
        python_source.tree_of("x =", "a.py")
    failing(monkeypatch, python_source.TRIES)
    with pytest.raises(SystemError):
        python_source.tree_of("x = 1")
