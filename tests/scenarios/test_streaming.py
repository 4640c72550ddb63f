"""Streams: chunks in their order, and the state of each in the next."""

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.models.zoo import MODELS, Samples
from studylib.runtimes import Session
from studylib.scenarios import Load, RunLength, drive


class Adder(Session):
    """Its state is the sum of all that it heard."""

    def __init__(self):
        self.heard, self.states = [], []

    def run(self, inputs):
        self.heard.append(float(inputs["x"][0, 0]))
        self.states.append(float(inputs["state"][0, 0]))
        return {"y": inputs["x"], "new_state": inputs["state"] + inputs["x"][:, :1]}

    def placement(self):
        return "adder"


SAMPLES = Samples({"x": np.arange(1, 13, dtype=np.float32).reshape(6, 2), "state": np.full((6, 1), 99, np.float32)}, None)
LOAD = Load("streaming", 1, RunLength(14, 0, 1), states={"new_state": "state"}, chunk_s=0.5)


def test_chunks_come_in_order_with_the_state_of_the_last():
    session = Adder()
    driven = drive(session, SAMPLES, LOAD)
    assert session.heard[:8] == [1, 3, 5, 7, 9, 11, 1, 3]
    # The state that came with the samples is never used, and the seventh chunk begins another stream.
    assert session.states[:8] == [0, 1, 4, 9, 16, 25, 0, 1]
    assert len(driven.values_ns) == 14
    assert driven.facts.chunk_s == 0.5


def test_a_model_without_state_is_refused():
    with pytest.raises(RefusedError, match="carries no state from query to query"):
        drive(Adder(), SAMPLES, Load("streaming", 1, RunLength(1, 0, 1)))


@pytest.mark.parametrize(
    ("states", "words"),
    [({"new_state": "memory"}, "has no input memory for the state; it has x, state"), ({"old": "state"}, "no output 'old' for the state")],
)
def test_a_file_without_the_state_is_refused(states, words):
    with pytest.raises(RefusedError, match=words):
        drive(Adder(), SAMPLES, Load("streaming", 1, RunLength(2, 0, 1), states=states))


def test_loadgen_has_no_such_scenario_and_the_facts_say_so():
    facts = drive(Adder(), SAMPLES, LOAD, "loadgen").facts
    assert (facts.driver, facts.driver_reason) == ("loop", "LoadGen has no scenario 'streaming'")


def test_the_zoo_says_what_a_stream_hands_on():
    streaming = MODELS["deepspeech_small_streaming"]
    assert streaming.stream["chunk_s"] == pytest.approx(0.32)
    assert set(streaming.stream["states"].values()) <= set(streaming.inputs)
    assert MODELS["deepspeech_small"].stream is None


@pytest.mark.slow
def test_a_stream_says_what_the_whole_window_says():
    """Four chunks through the streaming model are the 64 frames of the other, which has the same weights."""
    from studylib.scenarios.streaming import Stream

    whole, chunked = MODELS["deepspeech_small"], MODELS["deepspeech_small_streaming"]
    features = whole.samples("test", 1, 5).inputs["features"]
    expected = np.asarray(whole.build(5)(features))
    model = chunked.build(5)

    class Keras(Session):
        def run(self, inputs):
            return {name: np.asarray(values) for name, values in model([inputs[name] for name in chunked.inputs]).items()}

        def placement(self):
            return "keras"

    first = {"features": features[:, :16], **{name: np.ones((1, 512), np.float32) for name in ("state_h", "state_c")}}
    stream = Stream(Keras(), first, chunked.stream["states"])
    logits = [stream.run((start == 0, first | {"features": features[:, start : start + 16]}))["logits"] for start in range(0, 64, 16)]
    assert np.allclose(np.concatenate(logits, axis=1), expected, atol=1e-3)
