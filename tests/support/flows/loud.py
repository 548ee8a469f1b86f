"""Flows that print and log, in every way there is."""

import logging
import os
import subprocess
import time

from crewai.flow import Flow, listen, start
from pydantic import BaseModel

log = logging.getLogger("loud")


class Amount(BaseModel):
    count: int = 0
    seconds: float = 0.0


class Loud(Flow[Amount]):
    """One line in each way."""

    @start()
    def speak(self) -> str:
        print("printed")  # noqa: T201  # this is what the test is about
        os.write(1, b"to the descriptor\n")
        subprocess.run(["sh", "-c", "echo by a child; echo aside >&2"], check=True)
        log.info("the key is %s", os.environ["OPENAI_API_KEY"])
        return "spoken"

    @listen(speak)
    def warn(self, said: str) -> str:
        try:
            int(said)
        except ValueError:
            log.exception("it went wrong")
        return said


class Flood(Flow[Amount]):
    """Prints numbers, and pauses between."""

    @start()
    def pour(self) -> int:
        for number in range(self.state.count):
            print(number)  # noqa: T201
            if self.state.seconds:
                time.sleep(self.state.seconds)
        return int(self.state.count)
