"""So many clients at once, each with its next query when the last is answered: what a closed loop shows, and what it hides.

While a server stands still nobody asks, so that a stall counts as one slow answer for each client. How long users would wait is what the
``server`` scenario measures.
"""

import threading
import time
from dataclasses import replace

import numpy as np

from studylib.models.zoo import Samples
from studylib.runtimes import Session
from studylib.scenarios.base import Driven, Facts, Load, in_words, ring
from studylib.scenarios.loop import issue_queries


def drive(session: Session, samples: Samples, load: Load) -> Driven:
    """Each session that may be asked at once (`Session.beside`) is asked until the length is used; the values are all of theirs."""
    sessions, size = session.beside(), load.batch_size
    batches = [samples.batch(start * size, size) for start in range(ring(samples, size))]
    length = replace(load.length, min_values=-(-load.length.min_values // len(sessions)))
    values: list[np.ndarray] = []
    errors: list[str] = []

    def ask(place: int) -> None:
        turned = batches[place % len(batches) :] + batches[: place % len(batches)]
        try:
            values.append(issue_queries(sessions[place], turned, length))
        except Exception as error:  # whatever a server answers ends this client: the row says so
            errors.append(in_words(error))

    began = time.perf_counter_ns()
    threads = [threading.Thread(target=ask, args=(place,), daemon=True) for place in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = (time.perf_counter_ns() - began) / 1e9
    every = np.concatenate(values) if values else np.zeros(0, np.int64)
    told = {"failed_queries": len(errors), "first_error": errors[0] if errors else ""}
    return Driven(every, Facts("loop", size, completed_samples_per_s=size * len(every) / seconds, **told))
