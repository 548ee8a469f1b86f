"""JSON that means nothing but itself: no key in it begins with ``$``.

Recorded states are JSON in which such keys say what a value was (``crew/codec.py``).
"""

from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler, StringConstraints, TypeAdapter
from typing_extensions import TypeAliasType

_Key = Annotated[str, StringConstraints(pattern=r"^([^$]|$)")]
_Object = Annotated[
    "dict[_Key, PlainValue]", Field(json_schema_extra={"additionalProperties": False})
]
PlainValue = TypeAliasType(
    "PlainValue", "bool | int | float | str | list[PlainValue] | _Object | None"
)
_OBJECT: TypeAdapter[Any] = TypeAdapter(_Object)


class _AsPlainObject:
    """How the document describes it. It is checked where its first such key can be named."""

    def __get_pydantic_json_schema__(self, _: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(_OBJECT.core_schema)


PlainObject = Annotated[dict[str, Any], _AsPlainObject()]
