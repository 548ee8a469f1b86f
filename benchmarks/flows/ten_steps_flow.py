"""Ten steps that do nothing, one after the other."""

from crewai.flow.flow import Flow, listen, start
from pydantic import BaseModel


class TenState(BaseModel):
    done: int = 0


class TenStepsFlow(Flow[TenState]):
    """Each step counts."""

    suppress_flow_events: bool = True

    @start()
    def one(self) -> int:
        return self.count()

    @listen(one)
    def two(self) -> int:
        return self.count()

    @listen(two)
    def three(self) -> int:
        return self.count()

    @listen(three)
    def four(self) -> int:
        return self.count()

    @listen(four)
    def five(self) -> int:
        return self.count()

    @listen(five)
    def six(self) -> int:
        return self.count()

    @listen(six)
    def seven(self) -> int:
        return self.count()

    @listen(seven)
    def eight(self) -> int:
        return self.count()

    @listen(eight)
    def nine(self) -> int:
        return self.count()

    @listen(nine)
    def ten(self) -> int:
        return self.count()

    def count(self) -> int:
        self.state.done += 1
        return int(self.state.done)
