"""Who gets which answer: scopes, tries, modes, misses."""

from __future__ import annotations

import asyncio
import logging
import re
import shlex
import threading

import httpx
import pytest

from rollout_local.errors import Paused, RecordingError, RecordingMiss
from rollout_local.recordings import Exchange, RecordMode, open_recording, scope, show, unrecorded
from rollout_local.recordings.exchange import Answer, Failure


def answers(ask, *bodies):
    return [ask(body) for body in bodies]


def test_a_replay_gives_the_recorded_answers_and_sends_nothing(ask, path, provider):
    with open_recording(path) as recording:
        recorded = answers(ask, {"a": 1}, {"a": 2}, {"a": 1})
        assert recording.stats().recorded == 3
    with open_recording(path, RecordMode.NONE, strict=True) as recording:
        assert answers(ask, {"a": 2}, {"a": 1}, {"a": 1}) == [recorded[1], recorded[0], recorded[2]]
        assert recording.stats().replayed == 3
        assert recording.blocked == []
    assert provider.count == 3


def test_new_episodes_pays_only_for_what_is_missing(ask, path, provider):
    with open_recording(path):
        first = ask({"a": 1})
    with open_recording(path) as recording:
        assert ask({"a": 1}) == first
        ask({"a": 2})
        assert (recording.stats().replayed, recording.stats().recorded) == (1, 1)
    assert provider.count == 2
    assert [item.scope for item in show(path).interactions] == ["", ""]


def test_an_answer_is_served_once_and_then_asked_again(ask, path, provider):
    with open_recording(path):
        ask({"a": 1})
    with open_recording(path):
        ask({"a": 1})
        assert ask({"a": 1})["n"] == 2
        assert ask({"a": 1})["n"] == 3


def test_identical_requests_in_two_scopes_keep_their_answers_in_any_order(ask, path):
    with open_recording(path):
        with scope("one"):
            first = ask({"a": 1})
        with scope("two"):
            second = ask({"a": 1})
    with open_recording(path, "none", strict=True):
        with scope("two"):
            assert ask({"a": 1}) == second
        with scope("one"):
            assert ask({"a": 1}) == first


def test_scopes_nest_and_end(ask, path):
    told = []
    with open_recording(path, sink=lambda one: told.append(one.scope)):
        ask({"a": 0})
        with scope("outer"):
            ask({"a": 1})
            with scope("inner"):
                ask({"a": 2})
            ask({"a": 3})
        ask({"a": 4})
    assert told == ["", "outer", "inner", "outer", ""]


def test_a_scope_belongs_to_its_thread_and_its_task(ask, path, provider):
    told: list[tuple[str, str]] = []

    def note(one: Exchange) -> None:
        told.append((one.scope, one.request_body["a"]))

    def in_thread(name: str) -> None:
        with scope(name):
            barrier.wait()
            ask({"a": name})

    async def in_task(client: httpx.AsyncClient, name: str) -> None:
        with scope(name):
            await asyncio.sleep(0.01)
            await client.post(provider.url, json={"a": name})

    async def tasks() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            await asyncio.gather(*(in_task(client, f"task{n}") for n in range(5)))

    barrier = threading.Barrier(5)
    with open_recording(path, sink=note):
        threads = [threading.Thread(target=in_thread, args=(f"thread{n}",)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        asyncio.run(tasks())
    assert sorted(told) == sorted((name, name) for name in [f"{k}{n}" for k in ("thread", "task") for n in range(5)])


def test_a_scope_may_take_another_scopes_answer_and_it_is_counted(ask, path):
    with open_recording(path), scope("recorded"):
        first = ask({"a": 1})
    with open_recording(path, "none") as recording, scope("other"):
        assert ask({"a": 1}) == first
        assert recording.stats().from_other_scope == 1


def test_strict_lends_another_scopes_answer_and_leaves_it_to_that_scope(make, path, ask):
    """Three threads each asked for a token, since none had one yet; a replay on one thread asks once, or five times."""
    make.write(path, *(make.item({"token": 1}, n, scope=f"s{n}") for n in (1, 2, 2, 3)))
    for others in (0, 4):
        with open_recording(path, "none", strict=True) as recording:
            for number in range(others):
                with scope(f"other{number}"):
                    assert ask({"token": 1}) == 1
            thread = threading.Thread(target=ask, args=({"token": 1},))
            thread.start()
            thread.join()
            with scope("s2"):
                assert [ask({"token": 1}) for _ in range(4)] == [2, 2, 2, 2]
            assert recording.stats().from_other_scope == others + 1
            assert recording.stats().unplayed == 0


def test_a_failure_is_lent_only_where_there_is_no_answer(make, path, ask):
    failed = make.item({"token": 1}, scope="s1", status=429)
    make.write(path, failed, make.item({"token": 1}, "token", scope="s2"))
    with open_recording(path, "none", strict=True), scope("other"):
        assert ask({"token": 1}) == "token"


def test_a_request_of_a_trial_that_was_begun_anew_is_told_of(make, path, ask):
    with open_recording(path), scope("s"):
        ask({"a": 1})
        with scope("s", restart=True):
            ask({"a": 2})
    with (
        pytest.raises(RecordingMiss, match="1 in all, in a trial that was then begun anew"),
        open_recording(path, "none"),
    ):
        ask({"a": 1})


def test_a_continued_recording_does_not_take_what_another_scope_may_yet_ask_for(ask, path, provider):
    with open_recording(path):
        with scope("one"):
            first = ask({"a": 1})
        common = ask({"b": 1})
    with open_recording(path) as recording:
        with scope("two"):
            assert ask({"a": 1})["n"] == 3
            assert ask({"b": 1}) == common  # recorded outside any scope: everybody's
        with scope("one"):
            assert ask({"a": 1}) == first
        assert recording.stats().from_other_scope == 0


def test_strict_lets_a_scope_take_what_was_recorded_outside_any(ask, path):
    with open_recording(path):
        first = ask({"a": 1})
    with open_recording(path, "none", strict=True), scope("s"):
        assert ask({"a": 1}) == first


def test_other_scopes_are_used_up_in_the_order_of_the_file(make, path, ask):
    make.write(path, *(make.item({"a": 1}, number, scope=f"s{number}") for number in range(3)))
    with open_recording(path, "none") as recording:
        assert [ask({"a": 1}) for _ in range(3)] == [0, 1, 2]
        assert recording.stats().from_other_scope == 3
        assert ask({"a": 1}) == 0


def test_a_scope_that_starts_anew_voids_what_it_had(ask, path, provider):
    with open_recording(path):
        with scope("trial"):
            ask({"a": 1})
            ask({"a": 2})
        with scope("trial", restart=True):
            again = ask({"a": 1})
    assert [item.attempt for item in show(path).interactions] == [1, 1, 2]
    with open_recording(path, "none", strict=True), scope("trial"):
        assert ask({"a": 1}) == again
        with pytest.raises(RecordingMiss):
            ask({"a": 2})


def test_a_scope_that_starts_anew_in_a_continued_recording_is_not_served_its_old_answers(ask, path, provider):
    with open_recording(path), scope("trial"):
        ask({"a": 1})
        ask({"a": 2})
    with open_recording(path):
        with scope("trial", restart=True):
            assert ask({"a": 1})["n"] == 3
        with scope("trial"):
            assert ask({"a": 2})["n"] == 4
    assert [item.attempt for item in show(path).interactions] == [1, 1, 2, 2]


def test_a_scope_that_starts_anew_in_replay_is_played_again(ask, path):
    with open_recording(path), scope("trial"):
        recorded = answers(ask, {"a": 1}, {"a": 2})
    with open_recording(path, "none", strict=True):
        with scope("trial"):
            assert ask({"a": 1}) == recorded[0]
        with scope("trial", restart=True):
            assert answers(ask, {"a": 1}, {"a": 2}) == recorded
        with scope("never asked", restart=True):
            pass


def test_a_restart_without_a_recording_is_just_a_scope():
    with scope("x", restart=True):
        pass


def test_a_restart_of_a_new_scope_is_its_first_try(ask, path):
    with open_recording(path), scope("new", restart=True):
        ask({"a": 1})
    assert show(path).interactions[0].attempt == 1


def test_a_retried_429_is_kept_in_the_file_and_not_played(ask, path, provider):
    provider.script["/v1/chat"] = [(429, {"retry-after": "7"}, b"{}"), (500, {}, b"{}"), (200, {}, b'"done"')]
    waits = []
    with open_recording(path, sink=lambda one: waits.append(one.retry_after)):
        assert [ask.post({"a": 1}).status_code for _ in range(3)] == [429, 500, 200]
    assert waits == [7.0, None, None]
    assert [item.answer.outcome for item in show(path).interactions] == [429, 500, 200]
    with open_recording(path, "none", strict=True):
        assert ask({"a": 1}) == "done"


def test_a_failure_that_no_answer_followed_is_played_in_replay_and_asked_again_in_recording(ask, path, provider):
    provider.script["/v1/chat"] = [(503, {}, b"{}"), (200, {}, b'"done"')]
    with open_recording(path):
        assert ask.post({"a": 1}).status_code == 503
    with open_recording(path, "none", strict=True):
        assert ask.post({"a": 1}).status_code == 503
    with open_recording(path):
        assert ask({"a": 1}) == "done"
    with open_recording(path, "none", strict=True):
        assert ask({"a": 1}) == "done"


def test_a_timeout_is_recorded_and_replayed_as_the_same_exception(ask, path, provider):
    provider.script["/v1/chat"] = [lambda handler: handler.hang()]
    told = []
    with open_recording(path, sink=told.append), pytest.raises(httpx.ReadTimeout):
        ask.post({"a": 1}, timeout=0.1)
    provider.go_on.set()
    assert (told[0].status, told[0].error) == (None, "timeout")
    with open_recording(path, "none", sink=told.append), pytest.raises(httpx.ReadTimeout) as raised:
        ask.post({"a": 1})
    assert raised.value.request.method == "POST"
    assert (told[1].error, told[1].replayed) == ("timeout", True)


def test_a_miss_tells_key_scope_nearest_and_difference(ask, path, make):
    long = "Read the request and decide how urgent it is. " * 40
    make.write(
        path,
        *(make.item({"model": "m", "temperature": 0.7, "text": f"{long}case {n}", "tools": []}, n) for n in range(50)),
        versions={"dspy": "3.4.0", "litellm": "1"},
    )
    versions = {"dspy": "3.4.1", "litellm": "1"}
    with open_recording(path, "none", versions=versions), scope("run/7"), pytest.raises(RecordingMiss) as raised:
        ask({"model": "m", "temperature": 1.0, "text": f"{long}case 31", "extra": [1]})
    told = str(raised.value)
    assert "scope run/7, key " in told
    assert "line 35" in told
    assert "body.temperature: recorded 0.7, asked 1" in told
    assert "body.extra: recorded nothing, asked [1]" in told
    assert "body.tools: recorded [], asked nothing" in told
    assert "dspy 3.4.0 (now 3.4.1)" in told
    assert "body.text" not in told


def test_a_miss_shows_where_two_texts_part(ask, path, make):
    make.write(path, make.item({"q": ["x" * 300 + "old" + "y" * 300]}))
    with pytest.raises(RecordingMiss) as raised, open_recording(path, "none"):
        ask({"q": ["x" * 300 + "new" + "y" * 300]})
    assert "body.q[0]: recorded …'" + "x" * 60 + "old" in str(raised.value)
    assert len(str(raised.value)) < 900


def test_a_miss_says_what_it_is_that_changes_each_time_and_how_that_is_mended(ask, path):
    def asked(number: int) -> dict[str, object]:
        content = f"It is 2026-11-{number} 10:{number} UTC. Ticket: my parcel is late."
        trace = f"5f0c9a52-6d5e-4d1b-9a0b-1c5d2f6a77{number}"
        return {"messages": [{"role": "system", "content": content}], "user": trace, "at": 1790000000 + number}

    with open_recording(path):
        answer = ask(asked(11))
    with pytest.raises(RecordingMiss) as raised, open_recording(path, "none"):
        ask(asked(12))
    said = str(raised.value)
    flags = [shlex.split(flag)[0] for flag in re.findall(r"\(--ignore-field (.*?)\)(?= and |: it changes)", said)]
    assert "What differs is a date and time in messages.0.content (--ignore-field 'messages.0.content~" in said
    assert "a UUID in user (--ignore-field /user) and a Unix time in at (--ignore-field /at)" in said
    with open_recording(path, "none", ignore_fields=flags, strict=True):
        assert ask(asked(12)) == answer
        with pytest.raises(RecordingMiss):
            ask({**asked(12), "temperature": 1})


def test_a_miss_does_not_take_another_task_for_what_changes(ask, path):
    with open_recording(path):
        ask({"q": "the parcel 41 of 2026-01-02 is late"})
    for question in ("the parcel 42 of 2026-01-02 is late", "the parcel 41 of 2026-01-03 is lost"):
        with pytest.raises(RecordingMiss) as raised, open_recording(path, "none"):
            ask({"q": question})
        assert "What differs" not in str(raised.value)


def test_a_miss_lists_no_more_than_a_dozen_differences(ask, path, make):
    make.write(path, make.item({f"f{n}": n for n in range(40)}))
    with pytest.raises(RecordingMiss, match="and 28 more differences"), open_recording(path, "none"):
        ask({f"f{n}": n + 1 for n in range(40)})


def test_a_miss_of_something_wholly_different_shows_something(ask, path, make):
    make.write(path, make.item({"q": "apples"}, url="http://h/other"), make.item({"q": "p" * 9000}))
    with pytest.raises(RecordingMiss, match="Nearest recorded request") as raised, open_recording(path, "none"):
        ask.client.get("http://h/nothing/like/it?x=1")
    assert "method: recorded 'POST', asked 'GET'" in str(raised.value).replace("…", "")


def test_a_miss_in_an_empty_recording_says_so(ask, path):
    with open_recording(path):
        pass
    with pytest.raises(RecordingMiss, match="holds no interactions"), open_recording(path, "none"):
        ask({"a": 1})


def test_a_miss_compares_only_so_much_text(ask, path, make):
    make.write(path, *(make.item({"n": n, "q": f"word{n} " * 20_000}, scope="s") for n in range(8)))
    with pytest.raises(RecordingMiss, match="Nearest"), open_recording(path, "none"), scope("s"):
        ask({"n": 0, "q": "other"})


def test_a_miss_passes_through_every_except_exception(ask, path, provider):
    with open_recording(path):
        ask({"a": 1})

    async def alone() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                await client.post(provider.url, json={"a": 2})
            except Exception:  # noqa: BLE001
                raise AssertionError from None

    for _ in range(2):
        with pytest.raises(RecordingMiss), open_recording(path, "none"):
            asyncio.run(alone())


def test_what_was_not_asked_for_is_listed_warned_of_and_an_error_when_strict(ask, path, caplog):
    with open_recording(path), scope("s"):
        for number in range(23):
            ask({"a": number})
    with caplog.at_level(logging.WARNING), open_recording(path, "none") as recording, scope("s"):
        ask({"a": 1})
        assert [one.line for one in recording.unplayed()][:2] == [4, 6]
        assert recording.stats().unplayed == 22
    assert "22 recorded interactions were not asked for" in caplog.text
    assert "line 4: POST" in caplog.text
    assert "and 2 more" in caplog.text
    with pytest.raises(RecordingError, match="23 recorded"), open_recording(path, "none", strict=True):
        pass
    with pytest.raises(ZeroDivisionError), open_recording(path, "none", strict=True):
        raise ZeroDivisionError


def test_without_a_file_nothing_is_written_but_the_sink_is_told(ask, tmp_path, provider):
    told: list[Exchange] = []
    with open_recording(None, sink=told.append) as recording:
        ask({"a": 1})
        assert recording.path is None
        assert recording.unplayed() == []
        recording.restart("x")
    assert list(tmp_path.iterdir()) == []
    assert (told[0].status, told[0].replayed, told[0].response_body["n"]) == (200, False, 1)


def test_an_exchange_tells_what_was_asked_and_answered(ask, path, provider):
    told: list[Exchange] = []
    provider.script["/text"] = [(200, {"content-type": "text/plain", "retry-after-ms": "1500"}, b"{just text")]
    provider.script["/date"] = [(503, {"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"}, b"")]
    provider.script["/odd"] = [(503, {"retry-after": "soon"}, b"[1]")]
    with open_recording(path, sink=told.append), scope("here"):
        ask({"model": "m", "q": 1})
        ask.client.get(provider.url + "/text?key=sekret-1234567")
        ask.client.get(provider.url + "/date")
        ask.client.get(provider.url + "/odd")
    chat, text, date, odd = told
    assert (chat.scope, chat.method, chat.request_body, chat.status) == ("here", "POST", {"model": "m", "q": 1}, 200)
    assert chat.duration > 0
    assert chat.key != chat.question
    assert (text.request_body, text.response_body, text.retry_after) == (None, "{just text", 1.5)
    assert text.url.endswith("/text?key=REDACTED")
    assert date.response_body is None
    assert date.retry_after > 1e9
    assert (odd.response_body, odd.retry_after) == ([1], None)
    again: list[Exchange] = []
    with open_recording(path, "none", sink=again.append), scope("here"):
        ask({"model": "m", "q": 1})
    assert again[0].replayed
    assert (again[0].key, again[0].question) == (chat.key, chat.question)


def test_requests_under_way_are_counted_in_their_scope(ask, path, provider):
    provider.script["/v1/chat"] = [lambda handler: (handler.provider.go_on.wait(10), handler.send(200, {}, b"{}"))]
    with open_recording(path) as recording:

        def work() -> None:
            with scope("s"):
                ask({"a": 1})

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        while provider.count < 3:
            threading.Event().wait(0.005)
        assert (recording.in_flight("s"), recording.in_flight("other")) == (3, 0)
        provider.go_on.set()
        for thread in threads:
            thread.join()
        assert recording.in_flight("s") == 0


def test_the_gate_stops_real_requests_and_not_replayed_ones(ask, path, provider):
    class Stop(BaseException):
        pass

    def gate(scope: str, body: object, url: str) -> None:
        raise Stop

    with open_recording(path):
        ask({"a": 1})
    with open_recording(path, gate=gate) as recording:
        ask({"a": 1})
        with pytest.raises(Stop):
            ask({"a": 2})
        assert recording.in_flight("") == 0
    with open_recording(path, gate=lambda scope, body, url: None):
        ask({"a": 2})
    assert provider.count == 2


def test_what_the_sink_raises_reaches_the_caller_and_the_answer_is_kept(ask, path):
    class Enough(BaseException):
        pass

    def sink(_: Exchange) -> None:
        raise Enough

    with open_recording(path, sink=sink) as recording:
        with pytest.raises(Enough):
            ask({"a": 1})
        assert recording.in_flight("") == 0
    with open_recording(path, "none", sink=sink) as recording:
        with pytest.raises(Enough):
            ask({"a": 1})
        assert recording.in_flight("") == 0
    assert len(show(path).interactions) == 1


def test_one_recording_is_open_at_a_time_and_the_next_may_follow(ask, path, tmp_path):
    with open_recording(path):
        with pytest.raises(RecordingError, match="open already"), open_recording(tmp_path / "second.yaml"):
            pass
        ask({"a": 1})
    with open_recording(tmp_path / "second.yaml"):
        pass


def test_nothing_is_recorded_after_the_block_or_in_an_unrecorded_one(ask, path, provider):
    with open_recording(path), unrecorded():
        ask({"a": 1})
    ask({"a": 2})
    assert provider.count == 2
    assert show(path).interactions == []


def test_ignored_fields_match_and_a_replay_may_ignore_others(ask, path, provider):
    with open_recording(path, ignore_fields=["id"]):
        first = ask({"id": 1, "q": 1, "day": "mon"})
    with open_recording(path, ignore_fields=["id"]):
        assert ask({"id": 2, "q": 1, "day": "mon"}) == first
    with open_recording(path, "none", ignore_fields=["id", "day"], strict=True):
        assert ask({"id": 3, "q": 1, "day": "tue"}) == first
    with pytest.raises(RecordingError, match="--ignore-field id"), open_recording(path):
        pass


def test_the_lease_is_written_into_each_line(ask, path):
    with open_recording(path, lease="token-7"):
        ask({"a": 1})
    assert show(path).interactions[0].lease == "token-7"


def test_a_failure_of_another_client_is_replayed_as_the_own_kind(ask, path, make):
    make.write(
        path,
        make.item({"a": 1}, Answer(None, "timeout", (), b"", Failure("timeout", "aiohttp", "SocketTimeoutError", "x"))),
        make.item({"a": 2}, Answer(None, "connection", (), b"", Failure("connection", "lm15", "Gone", "x"))),
    )
    with open_recording(path, "none"):
        with pytest.raises(httpx.ReadTimeout):
            ask({"a": 1})
        with pytest.raises(httpx.ConnectError):
            ask({"a": 2})


def test_a_host_that_is_not_allowed_pauses_the_run(ask, path, provider):
    with open_recording(path, allow_hosts=["models.internal"]) as recording:
        ask({"a": 1})
        with pytest.raises(Paused, match=r"--allow-host api.example.com"):
            ask.client.get("http://api.example.com/v1")
        assert recording.blocked == ["api.example.com"]
        assert recording.in_flight("") == 0
