"""From an import string to a flow class."""

import importlib
import inspect
from dataclasses import dataclass
from traceback import format_exception

from crewai.flow.flow import Flow

from crewserve.crew.environment import redacted
from crewserve.crew.internals import FlowClass


class FlowNotLoaded(Exception):
    """The flow's class cannot be had. Its text is one line; the cause has the traceback."""


@dataclass(frozen=True, slots=True)
class LoadError:
    """Why a flow cannot be loaded, ready to be sent."""

    message: str
    traceback: str


def load(ref: str) -> FlowClass:
    """Import ``package.module:ClassName``; fast when the template process did before.

    Raises: FlowNotLoaded.
    """
    module_name, _, class_name = ref.partition(":")
    try:
        module = importlib.import_module(module_name)
    except BaseException as error:  # user code runs here and may raise anything, even SystemExit
        raise FlowNotLoaded(_one_line(f"importing {module_name} failed", error)) from error
    found = getattr(module, class_name, None)
    if not (inspect.isclass(found) and issubclass(found, Flow)):
        flows = [name for name, value in vars(module).items() if _is_flow_of(module_name, value)]
        hint = f"it has: {', '.join(flows)}" if flows else "it has no flow at all"
        raise FlowNotLoaded(f"{module_name} has no flow class {class_name!r}; {hint}")
    return found


def explain(error: FlowNotLoaded) -> LoadError:
    cause = error.__cause__ or error
    return LoadError(
        message=redacted(str(error)), traceback=redacted("".join(format_exception(cause)))
    )


def _is_flow_of(module_name: str, value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Flow) and value.__module__ == module_name


def _one_line(what: str, error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{what}: {type(error).__name__}: {text}" if text else f"{what}: {type(error).__name__}"
