"""What is checked of a body besides its model."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from crewserve.domain.errors import FieldError, InvalidInputs


def check_json(inputs: Mapping[str, Any]) -> None:
    """Refuse what Python's parser lets through but nobody could send on. Raises: InvalidInputs."""
    try:
        check_sendable(inputs)
    except ValueError as error:
        message = f"The inputs cannot be sent on as JSON: {error}"
        raise InvalidInputs([FieldError("", message, "json_invalid")]) from error


def check_sendable(value: Any) -> None:
    """NaN, infinities, half characters and huge numbers are not, nor is what is nested very deep.

    Raises ValueError.
    """
    try:
        json.dumps(value, allow_nan=False)
        to_json(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(str(error).partition("\n")[0]) from error
