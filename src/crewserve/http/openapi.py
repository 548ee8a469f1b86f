"""What FastAPI's OpenAPI document does not know by itself."""

from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from crewserve.domain.ids import FlowName
from crewserve.domain.principal import Scope, execute_scope
from crewserve.http.scopes import Needs, Rule, Rules
from crewserve.protocol.problems import MEDIA_TYPE, Problem

_TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
"""What any route with a body may answer."""

_SCHEMAS = "#/components/schemas/"
_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": f"{_SCHEMAS}Problem"}}}
_FASTAPI_ERRORS = ("HTTPValidationError", "ValidationError")


def complete(
    document: dict[str, Any],
    execute_urls: Mapping[FlowName, str],
    input_schemas: Mapping[FlowName, Mapping[str, Any]],
    rules: Rules,
) -> dict[str, Any]:
    """Every error is a problem, and every flow's body has the schema of that flow."""
    _secure(document, rules)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FASTAPI_ERRORS:
        schemas.pop(name, None)
    _add_schema(schemas, "Problem", Problem.model_json_schema(ref_template=_SCHEMAS + "{model}"))
    for operation in _operations(document):
        if "requestBody" in operation:
            operation["responses"].setdefault(
                str(_TOO_LARGE.value), {"description": _TOO_LARGE.phrase}
            )
        for status, response in operation.get("responses", {}).items():
            if status.startswith(("4", "5")):
                response["content"] = _PROBLEM
    for name, schema in input_schemas.items():
        _describe_body(document, execute_urls.get(name), name, schema)
    return document


_REFUSALS: Final = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
)
"""What any route may answer that needs a key."""


def without_flows(
    document: dict[str, Any], rules: Rules, hidden: Collection[FlowName]
) -> dict[str, Any]:
    """What it says to those for whom these flows do not exist."""
    paths = {
        path: operations
        for path, operations in document["paths"].items()
        if not any(_flow_of(rules, method, path) in hidden for method in operations)
    }
    schemas = document["components"]["schemas"]
    kept, found = set[str](), _named(paths)
    while found:
        kept |= found
        found = set().union(*(_named(schemas[name]) for name in found if name in schemas)) - kept
    used = {name: schema for name, schema in schemas.items() if name in kept}
    components = {**document["components"], "schemas": used}
    return {**document, "paths": paths, "components": components}


def _flow_of(rules: Rules, method: str, path: str) -> FlowName | None:
    rule = rules.find(method.upper(), path)
    return None if rule is None else rule.flow


def _named(value: Any) -> set[str]:
    """The schemas to which something in *value* refers."""
    if isinstance(value, Mapping):
        ref = value.get("$ref")
        own = {ref.removeprefix(_SCHEMAS)} if isinstance(ref, str) else set[str]()
        return own.union(*map(_named, value.values()))
    return set().union(*map(_named, value)) if isinstance(value, list) else set()


_SCHEMES: Final = {
    "key": {"type": "http", "scheme": "bearer", "description": "`csk_...`"},
    "keyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def _secure(document: dict[str, Any], rules: Rules) -> None:
    """What each operation needs. Without a key it is for those who ask from the same machine."""
    document.setdefault("components", {})["securitySchemes"] = dict(_SCHEMES)
    for path, operations in document.get("paths", {}).items():
        for method, operation in operations.items():
            rule = rules.find(method.upper(), path)
            if rule is not None and rule.need is Needs.NOTHING:
                continue
            operation["security"] = [{}, *({name: []} for name in _SCHEMES)]
            operation["x-required-scope"] = _required(rule)
            for status in _REFUSALS:
                answer = {"description": status.phrase}
                operation["responses"].setdefault(str(status.value), answer)


def _required(rule: Rule | None) -> str | None:
    """As the key must have it; None: any key will do."""
    match rule:
        case None:
            return Scope.ADMIN
        case Rule(need=Needs.EXECUTE, flow=flow) if flow is not None:
            return execute_scope(flow)
        case Rule(need=Scope() as scope):
            return scope
    return None


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document.get("paths", {}).values():
        yield from (operation for operation in path.values() if isinstance(operation, dict))


def _describe_body(
    document: dict[str, Any], url: str | None, name: FlowName, schema: Mapping[str, Any]
) -> None:
    operation = document.get("paths", {}).get(url, {}).get("post")
    if operation is None:
        return
    title = f"{name}_inputs"
    _add_schema(document["components"]["schemas"], title, schema)
    body = operation.setdefault("requestBody", {"required": True})
    body["content"] = {"application/json": {"schema": {"$ref": _SCHEMAS + title}}}


def _add_schema(schemas: dict[str, Any], name: str, schema: Mapping[str, Any]) -> None:
    """Move its local definitions to where OpenAPI looks for them."""
    own = {key: value for key, value in schema.items() if key != "$defs"}
    for inner, definition in schema.get("$defs", {}).items():
        schemas.setdefault(f"{name}_{inner}" if inner in schemas else inner, definition)
    schemas[name] = _moved(own)
    for inner in schema.get("$defs", {}):
        schemas[inner] = _moved(schemas[inner])


def _moved(value: Any) -> Any:
    """*value* with ``#/$defs/`` references as component references."""
    if isinstance(value, Mapping):
        return {
            key: inner.replace("#/$defs/", _SCHEMAS) if key == "$ref" else _moved(inner)
            for key, inner in value.items()
        }
    return [_moved(inner) for inner in value] if isinstance(value, list) else value
