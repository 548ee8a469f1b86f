"""A flow that tells, and a model that streams, without a model: events say when they were made."""

import time

from crewai.events import crewai_event_bus
from crewai.events.base_events import BaseEvent
from crewai.events.types.llm_events import (
    LLMCallCompletedEvent,
    LLMCallType,
    LLMStreamChunkEvent,
)
from crewai.flow.flow import Flow, start
from pydantic import BaseModel


class Told(BaseEvent):
    type: str = "told"
    made: float


class TellingState(BaseModel):
    events: int = 0
    tokens: int = 0
    pause: float = 0.05


class TellingFlow(Flow[TellingState]):
    """So many events or tokens, with a pause after each."""

    @start()
    def tell(self) -> None:
        for _ in range(self.state.events):
            crewai_event_bus.emit(self, Told(made=time.time()))
            time.sleep(self.state.pause)
        for _ in range(self.state.tokens):
            chunk = f" {time.time()}"
            crewai_event_bus.emit(self, LLMStreamChunkEvent(call_id="c", model="m", chunk=chunk))
            time.sleep(self.state.pause)
        end = LLMCallCompletedEvent(
            call_id="c", model="m", response="", call_type=LLMCallType.LLM_CALL
        )
        crewai_event_bus.emit(self, end)
