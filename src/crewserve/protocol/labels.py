"""Tags and metadata in the query of a request."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from crewserve.domain.labels import MAX_LABELS, MAX_TAG, MAX_VALUE, Labels, read_value

_PREFIX: Final = "metadata."
_NAME: Final = rf"[A-Za-z0-9_.-]{{1,{MAX_TAG}}}"
_PRINTABLE: Final = r"[^\x00-\x1f\x7f]"

Tag = Annotated[str, StringConstraints(pattern=rf"^{_PRINTABLE}{{1,{MAX_TAG}}}$")]
_Text = Annotated[str, StringConstraints(pattern=rf"^{_PRINTABLE}{{0,{MAX_VALUE}}}$")]
_Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(pattern=f"^{_NAME}$")],
        Annotated[_Text, AfterValidator(read_value)],
    ],
    WithJsonSchema(
        {
            "type": "object",
            "patternProperties": {
                rf"^metadata\.{_NAME}$": {
                    "type": ["string", "boolean", "number", "null"],  # texts in a query, all
                    "pattern": rf"^{_PRINTABLE}{{0,{MAX_VALUE}}}$",
                }
            },
            "additionalProperties": False,
            "maxProperties": MAX_LABELS,
        }
    ),
]


class LabelQuery(BaseModel):
    """Each ``metadata.NAME`` is a parameter of its own; anything else unknown is refused."""

    model_config = ConfigDict(extra="forbid")

    tag: list[Tag] = Field([], max_length=MAX_LABELS, examples=[["nightly"]])
    metadata: _Metadata = Field(
        {},
        max_length=MAX_LABELS,
        description="`metadata.customer=acme`, for each name. A number, `true` and `false` are "
        'what they look like, and a text in quotes: `metadata.zip="10115"`.',
    )

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        found = {
            name.removeprefix(_PREFIX): data[name] for name in data if name.startswith(_PREFIX)
        }
        if not found:
            return data
        rest = {name: value for name, value in data.items() if not name.startswith(_PREFIX)}
        return {**rest, "metadata": found}

    @property
    def labels(self) -> Labels:
        """As executions have them."""
        return Labels(tags=tuple(dict.fromkeys(self.tag)), metadata=self.metadata)
