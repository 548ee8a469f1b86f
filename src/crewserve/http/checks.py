"""What is checked of a body besides its model."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from crewserve.domain.errors import FieldError, InvalidInputs


def check_json(inputs: Mapping[str, Any]) -> None:
    """Refuse what Python's parser lets through but nobody could send on.

    That is NaN and infinities, half characters (lone surrogates), and very deep nesting.
    """
    try:
        json.dumps(inputs, allow_nan=False)
        to_json(inputs)
    except (ValueError, RecursionError) as error:
        message = f"The inputs cannot be sent on as JSON: {str(error).partition(chr(10))[0]}"
        raise InvalidInputs([FieldError("", message, "json_invalid")]) from error
