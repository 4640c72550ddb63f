"""The queue of the ``server`` scenario: queries wait here, and threads of its own answer them."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from studylib.models.zoo import Samples
from studylib.runtimes import Session
from studylib.scenarios.base import in_words


class Answering:
    """Answers queries of one sample in the order of their arrival, up to ``batch_size`` that wait together.

    One thread for each session that may be asked at once (`Session.beside`): of LiteRT or OpenVINO one, which answers one query at a
    time; of a server as many as it has clients. ``done(tickets)`` is called for every query, also for one that failed; ``asked_ns`` and
    ``ended_ns`` hold when each was asked and answered, by ticket.
    """

    def __init__(self, session: Session, samples: Samples, batch_size: int, clock: Callable[[], int], done: Callable[[list], None]):
        self.samples, self.batch_size, self.clock, self.done = samples, batch_size, clock, done
        self.ended_ns: dict[int, int] = {}
        self.asked_ns: dict[int, int] = {}
        self.errors: list[str] = []
        self._queue: SimpleQueue = SimpleQueue()
        self._threads = [threading.Thread(target=self._answer, args=(one,), daemon=True) for one in session.beside()]

    def __enter__(self) -> "Answering":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        """Wait until everything that was put is answered."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def put(self, ticket: int, index: int) -> None:
        """Let the sample ``index`` wait for its answer."""
        self._queue.put((ticket, index))

    def _answer(self, session: Session) -> None:
        last = False
        while not last:
            waiting, last = self._waiting()
            if not waiting:
                continue
            tickets, indices = zip(*waiting, strict=True)
            self.asked_ns.update(dict.fromkeys(tickets, self.clock()))
            try:
                session.run(self.samples.gathered(indices))
            except Exception as error:  # whatever a runtime raises is this query's answer: the others go on
                self.errors += [in_words(error)] * len(tickets)
            else:
                self.ended_ns.update(dict.fromkeys(tickets, self.clock()))
            finally:
                self.done(list(tickets))

    def _waiting(self) -> tuple[list[tuple[int, int]], bool]:
        """What waits, at least one query, and whether it was the last."""
        waiting = [self._queue.get()]
        while waiting[-1] is not None and len(waiting) < self.batch_size:
            try:
                waiting.append(self._queue.get_nowait())
            except Empty:
                break
        return [query for query in waiting if query], waiting[-1] is None
