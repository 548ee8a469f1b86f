"""What the poem flow takes and gives."""

from pydantic import BaseModel, ConfigDict, Field


class PoemFlowRequest(BaseModel):
    """Request parameters of the poem flow."""

    model_config = ConfigDict(extra="forbid")

    sentence_count: int | None = Field(
        default=None,
        ge=1,
        le=20,
        description="Sentences of the poem; without it the flow chooses 1 to 5.",
        examples=[3],
    )


class PoemFlowResult(BaseModel):
    """Result of the poem flow."""

    sentence_count: int
    poem: str
