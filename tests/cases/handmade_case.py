"""A case whose ways do as they are told: for tests of the process in which ways take turns."""

import os
import signal
import time

from studylib.cases.base import Case, Took
from studylib.errors import RefusedError


class Handmade(Case):
    name = "handmade"
    question = "How long does nothing take?"

    def run(self, wishes, write):
        raise NotImplementedError

    def opened(self, setup: dict, told: dict):
        """Does what ``setup`` says: refuse, kill itself in a round, take memory, sleep, or answer."""
        if "refuses" in setup:
            raise RefusedError(setup["refuses"])

        def took(number: int) -> Took:
            if number == setup.get("dies in"):
                os.kill(os.getpid(), signal.SIGKILL)
            if number == setup.get("fails in"):
                raise ValueError("no such picture")
            if number == setup.get("hangs in"):
                time.sleep(3600)
            taken = bytearray(setup.get("bytes", 0))
            return Took([number + 1, len(taken)], 5, {"only": [1, 2, 3]}, [[number, setup.get("answer")]])

        return took
