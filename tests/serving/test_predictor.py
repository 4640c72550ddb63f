"""Answers in the order of their inputs whatever each takes, a bound on what waits, and cancellation."""

import asyncio
import random
import threading
import time

import numpy as np
import pytest

from studylib.errors import InputError
from studylib.runtimes import Session
from studylib.serving.predictor import Predictor, predictor


class Sleepy(Session):
    """Answers after a random time; counts how many answer at once."""

    at_once, most, asked = 0, 0, 0
    lock = threading.Lock()

    def run(self, inputs):
        with self.lock:
            Sleepy.at_once += 1
            Sleepy.asked += 1
            Sleepy.most = max(Sleepy.most, Sleepy.at_once)
        time.sleep(random.random() / 100)
        with self.lock:
            Sleepy.at_once -= 1
        if inputs["x"][0] < 0:
            raise ValueError("negative")
        return {"y": 2 * inputs["x"]}

    def placement(self):
        return "CPU"


@pytest.fixture(autouse=True)
def anew():
    Sleepy.at_once, Sleepy.most, Sleepy.asked = 0, 0, 0


def queries(count):
    return ({"x": np.array([number])} for number in range(count))


def test_a_batch_keeps_the_order_of_its_queries_under_random_delays():
    async def ask():
        async with Predictor([Sleepy() for _ in range(4)], waiting=3) as own:
            return await own.predict_batch(queries(200))

    found = asyncio.run(ask())
    assert [int(one["y"][0]) for one in found] == [2 * number for number in range(200)]
    assert 1 < Sleepy.most <= 4


def test_single_answers_come_as_they_are_ready():
    async def ask():
        async with Predictor([Sleepy(), Sleepy()]) as own:
            return await asyncio.gather(*(own.predict_async(query) for query in queries(20)))

    assert [int(one["y"][0]) for one in asyncio.run(ask())] == list(range(0, 40, 2))


def test_no_more_queries_are_drawn_than_may_wait():
    drawn = 0

    def endless():
        nonlocal drawn
        while True:
            drawn += 1
            yield {"x": np.array([drawn])}

    async def ask():
        async with Predictor([Sleepy()], waiting=4) as own:
            answers = own.answers(endless())
            first = [await anext(answers) for _ in range(3)]
            await answers.aclose()
            return first

    assert [int(one["y"][0]) for one in asyncio.run(ask())] == [2, 4, 6]
    assert drawn <= 3 + 5


def test_a_cancelled_query_that_has_not_begun_never_begins():
    async def ask():
        async with Predictor([Sleepy()], waiting=0) as own:
            first = asyncio.ensure_future(own.predict_async({"x": np.array([1])}))
            second = asyncio.ensure_future(own.predict_async({"x": np.array([2])}))
            await asyncio.sleep(0)
            second.cancel()
            found = await first
            with pytest.raises(asyncio.CancelledError):
                await second
            return found, int((await own.predict_async({"x": np.array([3])}))["y"][0])

    found, after = asyncio.run(ask())
    assert (int(found["y"][0]), after, Sleepy.asked) == (2, 6, 2)


def test_the_first_that_fails_ends_the_batch_and_the_pool_goes_on():
    async def ask():
        async with Predictor([Sleepy()]) as own:
            with pytest.raises(ValueError, match="negative"):
                await own.predict_batch([{"x": np.array([1])}, {"x": np.array([-1])}, {"x": np.array([2])}])
            return await own.predict_async({"x": np.array([5])})

    assert int(asyncio.run(ask())["y"][0]) == 10


def test_a_file_in_a_runtime(tmp_path):
    from studylib.models.zoo import MODELS, handmade

    path, samples = MODELS["handmade"].write(tmp_path, 0), MODELS["handmade"].samples("test", 5, 1)

    async def ask():
        async with predictor(path, "onnxruntime", threads=2, sessions=2) as own:
            return await own.predict_batch(samples.batch(place, 1) for place in range(5))

    found = np.concatenate([one["scores"] for one in asyncio.run(ask())])
    assert np.allclose(found, handmade.answer(samples.inputs["x"]), atol=1e-6)
    with pytest.raises(InputError, match="2 sessions need a thread each, and there are 1"):
        predictor(path, "onnxruntime", threads=1, sessions=2)
