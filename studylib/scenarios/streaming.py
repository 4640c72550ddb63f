"""Chunks of a signal in their order, the state going from each to the next: what a listening device does."""

import numpy as np

from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.runtimes import Session
from studylib.scenarios.base import Driven, Facts, Load, ring
from studylib.scenarios.loop import issue_queries


def drive(session: Session, samples: Samples, load: Load) -> Driven:
    """Chunk after chunk, the next one when the last is answered, each with the state that the last one left.

    A stream begins with a state of zeros and ends with the samples that are kept ready; then another begins. Raises `RefusedError` for
    a model without state, and for a file whose outputs lack it.
    """
    if not load.states:
        raise RefusedError("the model carries no state from query to query; the scenario 'streaming' is for models that do")
    chunks = [samples.batch(index, 1) for index in range(ring(samples, 1))]
    stream = Stream(session, chunks[0], load.states)
    values = issue_queries(stream, [(index == 0, chunk) for index, chunk in enumerate(chunks)], load.length)
    per_second = 1e9 * len(values) / float(values.sum())
    return Driven(values, Facts("loop", 1, completed_samples_per_s=per_second, chunk_s=load.chunk_s))


class Stream:
    """A session that keeps its state: what it answered under a state's name goes into the next query.

    ``states``: output to input. ``run((first, chunk))`` takes the inputs of one chunk and puts the state in place of those of that name.
    """

    def __init__(self, session: Session, chunk: dict[str, np.ndarray], states: dict[str, str]):
        missing = sorted(set(states.values()) - set(chunk))
        if missing:
            raise RefusedError(f"the file has no input {', '.join(missing)} for the state; it has {', '.join(chunk)}")
        self.session, self.clock, self._states = session, session.clock, states
        self._zero = {name: np.zeros_like(chunk[name]) for name in states.values()}
        self._state = self._zero

    def run(self, query: tuple[bool, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        first, chunk = query
        outputs = self.session.run(chunk | (self._zero if first else self._state))
        try:
            self._state = {name: outputs[output] for output, name in self._states.items()}
        except KeyError as error:
            raise RefusedError(f"the file has no output {error} for the state; it has {', '.join(outputs)}") from None
        return outputs
