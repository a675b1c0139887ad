"""What differs from one day to the next is named, and the `--ignore-field` that is offered makes two requests one."""

from __future__ import annotations

import re
import shlex

import pytest

from rollout_local.recordings.identity import Reader
from rollout_local.recordings.ignored import parse
from rollout_local.recordings.volatile import differing, volatile
from rollout_local.redaction import Redactor

HEADERS = (("content-type", "application/json"),)
DAYS = {
    "ISO": ("It is 2026-11-29.", "It is 2026-12-01."),
    "ISO with time": ("Now: 2026-11-29T21:05:00Z", "Now: 2026-12-01T07:15:31Z"),
    "dots": ("Heute ist der 29.11.2026.", "Heute ist der 01.12.2026."),
    "slashes": ("Today is 11/29/2026, 9:05 PM.", "Today is 12/1/2026, 10:15 AM."),
    "words": ("It is November 29, 2026.", "It is December 1, 2026."),
    "words with a time": ("Nov 29, 2026 at 9:05 PM", "Dec 1, 2026 at 10:05 AM"),
    "a weekday alone": ("Today is Sunday.", "Today is Tuesday."),
    "weekday, date and time": ("Sunday, November 29, 2026 at 9:05 PM", "Tuesday, December 1, 2026 at 7:05 AM"),
    "a stamp beside an epoch": ("2026-11-29T21:05:00Z (1796072700)", "2026-12-01T07:15:31Z (1796195731)"),
}


def asked(text: str, reader: Reader | None = None):  # type: ignore[no-untyped-def]
    reader = reader or Reader(Redactor({}))
    body = f'{{"model": "m", "messages": [{{"role": "user", "content": {text!r}}}]}}'.replace("'", '"').encode()
    return reader.name("POST", "http://127.0.0.1/v1/chat/completions", HEADERS, body, "application/json")


@pytest.mark.parametrize("name", DAYS)
def test_a_day_is_named_however_it_is_written_and_the_offered_flag_mends_it(name: str) -> None:
    before, now = DAYS[name]
    found = volatile(asked(before), asked(now))
    assert found, name
    assert all(one.what != "a number" for one in found)
    told = "\n".join(map(str, found))
    flags = [shlex.split(flag)[0] for flag in re.findall(r"--ignore-field (.+?)\)$", told, re.MULTILINE)]
    assert flags == [one.ignore for one in found]
    reader = Reader(Redactor({}), ignore=flags)
    assert asked(before, reader).key == asked(now, reader).key


def test_what_is_of_no_known_kind_is_told_by_its_place() -> None:
    one, other = asked("Answer kindly."), asked("Answer at once.")
    assert volatile(one, other) == []
    places = list(differing(one.content, other.content))
    assert places == ["messages.0.content"]
    parse(places)
    reader = Reader(Redactor({}), ignore=places)
    assert asked("Answer kindly.", reader).key == asked("Answer at once.", reader).key
    assert list(differing({"a": 1, "b": [1, 2]}, {"a": 2, "b": [1]})) == ["/a", "/b"]
    assert list(differing("one", "other")) == []
