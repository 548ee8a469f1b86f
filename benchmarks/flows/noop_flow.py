"""A flow that does nothing, or sleeps: what is left is what the server costs."""

import time

from crewai.flow.flow import Flow, listen, start
from pydantic import BaseModel


class NoopState(BaseModel):
    seconds: float = 0.0
    begun_ns: int = 0
    outcome: str = ""


class NoopFlow(Flow[NoopState]):
    """Note when the first step began, sleep if asked to, end."""

    suppress_flow_events: bool = True

    @start()
    def begin(self) -> None:
        self.state.begun_ns = time.time_ns()
        if self.state.seconds:
            time.sleep(self.state.seconds)

    @listen(begin)
    def end(self) -> str:
        self.state.outcome = "done"
        return "done"
