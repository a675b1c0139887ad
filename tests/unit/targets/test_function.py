"""A decorated function as a target: sync, async, from many threads, whatever it raises."""

import asyncio
import contextvars
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import rollout_local as rollout
from rollout_local.errors import InputError, RecordingMiss
from rollout_local.targets.current_run import CurrentRun, current_run, running_in

TASK = rollout.Task(name="n", instruction="Hello there")


def target(function):
    return rollout.optimize(id="t", baseline="Be kind.")(function)


def run(function):
    made = target(function)
    return made.run(TASK, made.baseline)


@pytest.mark.parametrize(
    "returned", ["said", {"output": "said"}, rollout.AgentResult(output="said"), {"output": "said", "metadata": {}}]
)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_returns_any_of_the_three_shapes(returned, is_async):
    async def later(task, candidate):
        await asyncio.sleep(0)
        return returned

    assert run(later if is_async else lambda task, candidate: returned) == rollout.AgentResult(output="said")


def test_what_it_must_not_return_is_refused():
    with pytest.raises(InputError, match="the target returned nothing"):
        run(lambda task, candidate: None)


@pytest.mark.parametrize(
    "error", [ValueError("mine"), RecordingMiss("not recorded"), SystemExit(3), KeyboardInterrupt()]
)
@pytest.mark.parametrize("is_async", [False, True])
def test_whatever_it_raises_comes_through_unchanged_and_the_next_call_works(error, is_async):
    def now(task, candidate):
        raise error

    async def later(task, candidate):
        raise error

    async def fine(task, candidate):
        return "fine"

    with pytest.raises(type(error)) as raised:
        run(later if is_async else now)
    assert raised.value is error
    rollout.clear_optimization_targets()
    assert run(fine).output == "fine"


def test_a_function_may_return_an_awaitable_of_its_own():
    async def later():
        return "awaited"

    assert run(lambda task, candidate: later()).output == "awaited"


def test_async_calls_of_many_threads_share_one_loop(folder):
    """In a new process: the very first calls come at the same time."""
    said = folder.python(
        """
        import asyncio, threading
        from concurrent.futures import ThreadPoolExecutor
        import rollout_local as rollout

        together = threading.Barrier(8)

        @rollout.optimize(id="t", baseline="x")
        async def answer(task, candidate):
            return str(id(asyncio.get_running_loop()))

        def call(_):
            together.wait()
            return answer.run(rollout.Task(name="n"), answer.baseline).output

        with ThreadPoolExecutor(8) as pool:
            print(len(set(pool.map(call, range(8)))))
        """
    )
    assert said == "1\n"


def test_async_calls_of_many_threads_run_at_the_same_time():
    arrived = threading.Barrier(4)

    async def meet(task, candidate):
        await asyncio.get_running_loop().run_in_executor(None, arrived.wait, 10)
        return "met"

    made = target(meet)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: made.run(TASK, made.baseline).output, range(4)))
    assert results == ["met"] * 4


def test_context_variables_reach_the_coroutine():
    whose = contextvars.ContextVar("whose")

    async def answer(task, candidate):
        return f"{whose.get()} {current_run().run_id} {current_run().task_model}"

    made = target(answer)

    def call(name):
        whose.set(name)
        with running_in(CurrentRun(run_id=f"opt_{name}", attempt=1, task_model="m")):
            return made.run(TASK, made.baseline).output

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, "abcd")) == [f"{name} opt_{name} m" for name in "abcd"]


def test_outside_a_run_there_is_no_current_run_and_blocks_nest():
    one, two = CurrentRun("opt_1", 1), CurrentRun("opt_2", 2)
    assert current_run() is None
    with running_in(one):
        with running_in(two):
            assert current_run() is two
        assert current_run() is one
    assert current_run() is None


def test_an_async_client_made_once_is_used_over_calls_and_threads(folder, simulate):
    simulator = simulate()
    folder.write(
        "app.py",
        f"""
        from openai import AsyncOpenAI
        import rollout_local as rollout

        client = AsyncOpenAI(base_url={simulator.url!r}, api_key="sk-none", max_retries=0)

        @rollout.optimize(id="support", baseline="Answer.")
        async def answer(task, candidate):
            system = {{"role": "system", "content": candidate.text}}
            messages = [system, {{"role": "user", "content": task.instruction}}]
            reply = await client.chat.completions.create(model="sim-student", messages=messages)
            return reply.choices[0].message.content

        @rollout.optimize(id="close", baseline="Close.")
        async def close(task, candidate):
            await client.close()
            return "closed"
        """,
    )
    folder.load("app")
    made = rollout.get_optimization_target("support")
    tasks = [rollout.Task(name=f"t{i}", instruction=f"Message number {i}") for i in range(5)]
    first = [made.run(task, made.baseline).output for task in tasks]
    with ThreadPoolExecutor(5) as pool:
        for _ in range(3):
            assert list(pool.map(lambda task: made.run(task, made.baseline).output, tasks)) == first
    assert all(first)
    assert simulator.calls()["by_model"] == {"sim-student": 20}
    closer = rollout.get_optimization_target("close")
    assert closer.run(TASK, closer.baseline).output == "closed"


def test_a_target_knows_its_place_and_its_source(folder):
    file = folder.write(
        "app.py", "import rollout_local as r\n\n@r.optimize(id='p', baseline='x')\ndef f(t, c): return ''\n"
    )
    made = folder.load("app").f
    assert made.place == f"{file}:3"
    assert made.source == f"# --- app.py\n{file.read_text()}"
    assert made.source_hash.startswith("sha256:")
    assert inspect.isfunction(made.function)
