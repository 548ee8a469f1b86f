"""Keeping a run within its budget."""

import threading
from collections.abc import Callable
from typing import Any, Final

from crewserve.crew.environment import redacted
from crewserve.crew.events import STEP
from crewserve.crew.stopping import Stop
from crewserve.crew.used import load_prices, to_use
from crewserve.crew.uses import MODEL_CALL, TOOL_CALL, use_of
from crewserve.crew.wire import Message
from crewserve.domain.budget import Budget
from crewserve.domain.pricing import price_of
from crewserve.domain.usage import Usage

Exceed = Callable[[str, str | None], None]
"""Says, from any thread, why the run ends, and in which step."""

_BEGINNINGS: Final = frozenset({MODEL_CALL, TOOL_CALL})


class Meter:
    """Stands before whatever else takes events: what it refuses has not happened.

    That a call begins is told before it is made, in whichever thread makes it, and what is raised
    there ends it. Hooks would not be enough: a thread of a user's own has none.
    """

    def __init__(self, task: Message, stop: Stop, exceed: Exceed) -> None:
        self._budget = Budget(**task["budget"])
        self._used = Usage(**task["used"])
        self._prices = load_prices(task["prices"])
        self._untold = ""
        """A model whose tokens its provider has not told."""
        self._stop = stop
        self._exceed = exceed
        self._lock = threading.Lock()

    def take(self, source: Any, event: Any) -> None:
        """Raises: FlowStopped, when there is no room for the call that *event* begins."""
        told = use_of(source, event)
        if told is None:
            return
        use = to_use(told, self._prices)
        with self._lock:
            if event.type in _BEGINNINGS:
                self._stop.check()
                self._allow(event.type, use.model)
            elif "untold" in told:
                self._untold = use.model
            self._used += use.usage

    def _allow(self, kind: str, model: str) -> None:
        is_tool = kind == TOOL_CALL
        refusal = self._refuses_tool() if is_tool else self._refuses_model(model)
        if refusal is not None:
            self._exceed(redacted(refusal), STEP.get())
            self._stop.request()
            self._stop.check()

    def _refuses_tool(self) -> str | None:
        return self._budget.refuses_tool_call(self._used)

    def _refuses_model(self, model: str) -> str | None:
        budget = self._budget
        if budget.usd is not None and price_of(model, self._prices) is None:
            return (
                f"The model {model} has no price, so the execution cannot be kept within its "
                "budget in dollars; add it to CREWSERVE_PRICES"
            )
        if budget.tokens is not None and self._untold:
            return (
                f"The provider of {self._untold} does not tell how many tokens it used, so the "
                "execution cannot be kept within its budget of tokens"
            )
        return budget.refuses_model_call(self._used)
