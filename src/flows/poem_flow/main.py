"""The poem flow: choose a length, write the poem, save it."""

from pathlib import Path
from random import randint

from crewai.flow import Flow, listen, start
from pydantic import BaseModel, Field

from flows.poem_flow.crews.poem_crew.poem_crew import PoemCrew

POEM_FILE = Path("poem.txt")
"""Relative to the working directory, of which the server gives each execution its own."""


class PoemState(BaseModel):
    sentence_count: int | None = Field(default=None, ge=1, le=20)
    """How many sentences the poem shall have; chosen at random when not given."""
    poem: str = ""


class PoemFlow(Flow[PoemState]):
    """Write a short poem of a given or random number of sentences."""

    # A poem needs no memory, and CrewAI would load a vector database for one.
    _skip_auto_memory = True

    @start()
    def generate_sentence_count(self) -> int:
        """Keep the given number of sentences, or choose one from 1 to 5."""
        chosen = randint(1, 5)  # noqa: S311 - the length of a poem is no secret
        count: int = self.state.sentence_count or chosen
        self.state.sentence_count = count
        return count

    @listen(generate_sentence_count)
    def generate_poem(self, sentence_count: int) -> str:
        """Let the crew write the poem."""
        output = PoemCrew().crew().kickoff(inputs={"sentence_count": sentence_count})
        poem = str(output).strip()
        self.state.poem = poem
        return poem

    @listen(generate_poem)
    def save_poem(self, poem: str) -> str:
        """Write the poem to poem.txt and return it."""
        POEM_FILE.write_text(f"{poem}\n", encoding="utf-8")
        return poem


def kickoff() -> None:
    PoemFlow().kickoff()


def plot() -> None:
    PoemFlow().plot("poem_flow.html")


if __name__ == "__main__":
    kickoff()
