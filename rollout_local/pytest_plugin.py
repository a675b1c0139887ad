"""A pytest plugin: tests replay what they recorded once, and record only when they are told to.

    def test_it_answers(rollout_recording): ...            # recordings/<module>/<test>.yaml, beside the test's file

    @pytest.mark.rollout_recording("refund.yaml", ignore_fields=["user"])
    def test_refund(): ...                                 # refund.yaml beside the test's file; no argument needed

Invariant: without `--rollout-record` a test that has a recording sends nothing, and passes only if it asked for all
that the recording holds, and for nothing else. pytest loads this module in every run of its environment, so it
imports nothing heavy: the rest comes with the first test that has a recording.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rollout_local.errors import RecordingError, RecordingMiss
from rollout_local.targets.hosted import stand_in_for_hosted_sdk

if TYPE_CHECKING:
    from rollout_local.recordings import Recording

NAME = "rollout_recording"
FLAG = "--rollout-record"
MODES = ("none", "new_episodes", "once", "all")
_SHOWN = 20
_LONGEST = 120
_UNFIT = re.compile(r"[^\w.,=+@\[\]-]+")
_passed = pytest.StashKey[bool]()


class _NotPassedError(Exception):
    """Ends a recording's block as the failed test ended: `all` then keeps the file that was there before."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--rollout-record`."""
    parser.getgroup("rollout").addoption(
        FLAG,
        choices=MODES,
        default="none",
        help="What tests with a recording may send: none (the default) replays; new_episodes records what is missing; "
        "once records where there is no file; all records anew.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; `import mv37.rollout` works in tests from here on."""
    config.addinivalue_line(
        "markers",
        f"{NAME}(file, ignore_fields=()): replay this recording, a path beside the test's file, or record it with "
        f"{FLAG}; ignore_fields do not tell two requests apart.",
    )
    stand_in_for_hosted_sdk()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether the test passed; say beside a miss what to do about it under pytest."""
    report = yield
    if call.when == "call":
        item.stash[_passed] = report.passed
    if call.excinfo is not None and call.excinfo.errisinstance(RecordingMiss):
        what = f"Record what is missing with {FLAG}=new_episodes, or leave out a volatile field: ignore_fields=[…]."
        report.sections.append((NAME, what))
    return report


@pytest.fixture(autouse=True)
def _rollout_recording_of_marker(request: pytest.FixtureRequest) -> None:
    """A test with the marker has its recording, whether or not it names the fixture."""
    if request.node.get_closest_marker(NAME) is not None:
        request.getfixturevalue(NAME)


@pytest.fixture
def rollout_recording(request: pytest.FixtureRequest) -> Iterator[Recording]:
    """The test's recording, open: replayed, or recorded as `--rollout-record` says."""
    from rollout_local.recordings.public import recording

    node, mode = request.node, request.config.getoption(FLAG)
    path, ignore_fields = _wanted(node)
    if mode == "none" and not path.exists():
        pytest.fail(f"{path}: there is no such recording; make it with {FLAG}=new_episodes.", pytrace=False)
    node.stash[_passed] = False
    with _sentences(), suppress(_NotPassedError), recording(path, mode, ignore_fields=ignore_fields) as opened:
        yield opened
        if not node.stash[_passed]:
            raise _NotPassedError
        _check(opened, mode)


def _wanted(node: pytest.Item) -> tuple[Path, Sequence[str]]:
    """The file of a test's recording, and the fields that it ignores."""
    marker = node.get_closest_marker(NAME)
    try:
        file, ignore_fields = _marked(*marker.args, **marker.kwargs) if marker else (None, ())
    except TypeError:
        said = f"@pytest.mark.{NAME} takes a file and ignore_fields=[…], nothing else."
        raise pytest.fail.Exception(said, pytrace=False) from None
    beside = node.path.parent
    return (beside / file if file else beside / "recordings" / node.path.stem / f"{_name(node)}.yaml"), ignore_fields


def _marked(file: str | None = None, *, ignore_fields: Sequence[str] = ()) -> tuple[str | None, Sequence[str]]:
    return file, ignore_fields


def _name(node: pytest.Item) -> str:
    """Classes, function and parameters as a file's name; a hash tells apart what no longer differs."""
    full = ".".join([*(one.name for one in node.listchain() if isinstance(one, pytest.Class)), node.name])
    name = _UNFIT.sub("-", full).encode()[:_LONGEST].decode(errors="ignore")
    return name if name == full else f"{name}-{blake2b(full.encode(), digest_size=4).hexdigest()}"


@contextmanager
def _sentences() -> Iterator[None]:
    """A recording that cannot be used fails its test with a sentence, in pytest's words."""
    try:
        yield
    except RecordingError as error:
        said = str(error).replace("--record-mode ", f"{FLAG}=")
        raise pytest.fail.Exception(said, pytrace=False) from None


def _check(opened: Recording, mode: str) -> None:
    """A test that passed must have got every answer it asked for, and asked for all that were recorded."""
    stats = opened.stats()
    if stats.missed:
        what = f"{stats.missed} requests were not in the recording, and the test passed without an answer to them"
        pytest.fail(f"{opened.path}: {what}. Record them with {FLAG}=new_episodes.", pytrace=False)
    if mode == "none" and stats.unplayed:
        pytest.fail(_leftover(opened, stats.unplayed), pytrace=False)


def _leftover(opened: Recording, count: int) -> str:
    rows = [f"  line {one.line}: {one.method} {one.url}" for one in opened.unplayed(_SHOWN)]
    if count > _SHOWN:
        rows.append(f"  … and {count - _SHOWN} more")
    head = f"{opened.path}: the test passed, but did not ask for {count} of the recorded interactions:"
    return "\n".join([head, *rows, f"If it need not any more, record it anew with {FLAG}=all."])
