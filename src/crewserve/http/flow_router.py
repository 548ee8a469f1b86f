"""The routes of one flow, typed with its own models."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BaseModel, ValidationError, create_model

from crewserve.application.executions import How
from crewserve.domain.errors import FieldError, InvalidInputs
from crewserve.domain.flow import CheckInputs, FlowSpec
from crewserve.domain.flow_control import NO_CONTROL, FlowControl
from crewserve.domain.ids import ExecutionId, FlowName, name_of, title_of
from crewserve.domain.policy import DEFAULT, Policy
from crewserve.http.answers import json_answer
from crewserve.http.checks import check_json, check_sendable
from crewserve.http.deps import StateDep, state_of
from crewserve.http.idempotency import OPENAPI, key_of
from crewserve.http.problems import responses
from crewserve.http.routes.events import (
    DOCUMENTED,
    EventQuery,
    LastEventId,
    events_answer,
)
from crewserve.http.routes.logs import DOCUMENTED as LOGS
from crewserve.http.routes.logs import LogQuery, logs_answer
from crewserve.http.short_route import short_route
from crewserve.http.waiting import OPENAPI as PREFER
from crewserve.http.waiting import WaitQuery, answer_to_start, shown_execution
from crewserve.protocol.events import EventList
from crewserve.protocol.executions import (
    ExecuteOptions,
    ExecutionResponse,
    ExecutionStatusResponse,
    status_body,
)
from crewserve.protocol.output import LineList

_EXECUTE_PROBLEMS = responses(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_SHOW_PROBLEMS = responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)

_PLAIN_JSON: Final = (b"content-type", b"application/json")
_PLAIN_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


Model = type[BaseModel]


class FlowRouter(APIRouter):
    """A router that starts one flow."""

    def __init__(self, flow: FlowSpec) -> None:
        super().__init__()
        self.flow = flow


def flow_router(
    flow: str,
    *,
    request: type[BaseModel] | None = None,
    result: type[BaseModel] | None = None,
    name: str | None = None,
    policy: Policy = DEFAULT,
    control: FlowControl = NO_CONTROL,
    reuse: int = 1,
) -> FlowRouter:
    """Serve the flow class *flow*, given as ``package.module:ClassName``; nothing imports it here.

    Include it in an app made by `create_app`, under ``/api/v1/<name-with-dashes>``.

    Args:
        flow: where the class is.
        request: what a caller must send. Without it the flow's own state model decides.
        result: filled from the flow's final state. Without it: what ``kickoff()`` returned.
        name: by default the class name in snake case: ``PoemFlow`` is ``poem_flow``.
        policy: how often and how long its executions may try, unless the caller says otherwise.
        control: how many of its executions may run and wait, and which go first.
        reuse: how many executions one process may run: quicker, but what they change there stays.

    Raises ValueError when *flow* is no import string, or *request* has a field called ``id``.
    """
    own_name = name_of(_class_name(flow))
    spec = FlowSpec(
        name=FlowName(name or own_name),
        ref=flow,
        input_schema=None if request is None else request.model_json_schema(),
        shape_result=None if result is None else _shape(result),
        check_inputs=None if request is None else _checked_by(request),
        policy=policy,
        control=control,
        reuse=reuse,
    )
    router, shown = FlowRouter(spec), _shown_model(spec, result)
    _add_execute(router, spec, request, shown)
    _add_reading(router, spec, shown)
    return router


def _class_name(ref: str) -> str:
    module, _, class_name = ref.partition(":")
    if not module or not class_name.isidentifier():
        raise ValueError(f"{ref!r} does not name a flow; write it as package.module:ClassName")
    return class_name


def _shape(result: type[BaseModel]) -> Callable[[Mapping[str, Any]], Any]:
    def shape(state: Mapping[str, Any]) -> Any:
        fields = {name: state[name] for name in result.model_fields if name in state}
        try:
            shaped = result.model_validate(fields).model_dump(mode="json")
        except ValidationError as error:  # whose own text would show the state
            found = error.errors(include_input=False, include_context=False)
            wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found]
            raise ValueError("; ".join(wrong)) from None
        check_sendable(shaped)
        return shaped

    return shape


def _checked_by(request: type[BaseModel]) -> CheckInputs:
    if "id" in request.model_fields:
        raise ValueError(f"{request.__name__} has a field 'id', which is reserved; rename it")

    def check(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return request.model_validate(inputs).model_dump(mode="json")
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)
            raise InvalidInputs(
                [
                    FieldError(".".join(map(str, one["loc"])), one["msg"], one["type"])
                    for one in found
                ]
            ) from None

    return check


def _shown_model(spec: FlowSpec, result: type[BaseModel] | None) -> type[ExecutionStatusResponse]:
    """The status body whose ``result`` is documented as this flow's own."""
    if result is None:
        return ExecutionStatusResponse
    title = "".join(part.capitalize() for part in spec.name.split("_"))
    return create_model(
        f"{title}Execution", __base__=ExecutionStatusResponse, result=(result | None, None)
    )


def _finished(shown: Model) -> dict[str, Any]:
    """How OpenAPI is told of answers to those who wait."""
    return {
        "model": shown,
        "description": "It ended within the time of `Prefer: wait`; or, with `Accept: "
        "text/event-stream`, all that happens in it.",
        "content": {"text/event-stream": {}, "application/x-ndjson": {}},
    }


def _add_execute(router: APIRouter, spec: FlowSpec, request: Model | None, shown: Model) -> None:
    title = title_of(spec.name)

    async def execute(
        payload: Any, state: StateDep, http: Request, options: Annotated[ExecuteOptions, Query()]
    ) -> Response:
        inputs = payload.model_dump(mode="json") if request else payload
        check_json(inputs)
        how, submit = _how(options, spec), state.executions.submit
        started = await state.executions.once(
            await key_of(http), lambda key: submit(spec, inputs, how, key)
        )
        parent = f"{http.url.path.removesuffix('/execute')}/execution"
        return await answer_to_start(http, state, started, parent)

    async def quick(http: Request) -> Response | None:
        if http.scope["query_string"] or _PLAIN_JSON not in http.scope["headers"]:
            return None
        try:
            payload = parse(json.loads(await http.body()))
        except (ValueError, RecursionError):
            return None
        return await execute(payload, state_of(http), http, ExecuteOptions())

    parse = request.model_validate if request else _mapping
    body = Annotated[request, Body()] if request else Annotated[dict[str, Any], Body()]
    execute.__annotations__["payload"] = body
    router.add_api_route(
        "/execute",
        execute,
        methods=["POST"],
        route_class_override=short_route(quick),
        status_code=HTTPStatus.ACCEPTED,
        response_model=ExecutionResponse,
        responses={HTTPStatus.OK.value: _finished(shown), **_EXECUTE_PROBLEMS},
        openapi_extra=OPENAPI | {"parameters": [*OPENAPI["parameters"], PREFER]},
        summary=f"Start the {title.lower()}",
        operation_id=f"execute_{spec.name}",
    )


def _how(options: ExecuteOptions, spec: FlowSpec) -> How:
    return How(
        policy=options.over(spec.policy),
        priority=options.priority,
        start_at=options.start_at,
        delay=timedelta(seconds=options.delay_seconds or 0),
        labels=options.labels,
    )


def _mapping(body: Any) -> Mapping[str, Any]:
    """Raises ValueError when *body* is no JSON object."""
    if not isinstance(body, dict):
        raise ValueError("not an object")  # noqa: TRY004  # as models refuse it
    return body


def _add_reading(router: FlowRouter, spec: FlowSpec, shown: type[ExecutionStatusResponse]) -> None:
    _add_show(router, spec, shown)
    _add_events(router, spec)
    _add_logs(router, spec)


def _add_show(router: APIRouter, spec: FlowSpec, shown: type[ExecutionStatusResponse]) -> None:
    title = title_of(spec.name)

    async def show(execution_id: UUID, state: StateDep, wait: WaitQuery = 0) -> Response:
        execution = await shown_execution(state, ExecutionId(execution_id), wait, flow=spec.name)
        return json_answer(status_body(execution, tracebacks=state.tracebacks))

    async def quick(http: Request) -> Response | None:
        given = http.path_params["execution_id"]
        if http.scope["query_string"]:
            return None
        return await show(UUID(given), state_of(http)) if _PLAIN_ID.fullmatch(given) else None

    router.add_api_route(
        "/execution/{execution_id}",
        show,
        methods=["GET"],
        route_class_override=short_route(quick),
        response_model=shown,
        responses=_SHOW_PROBLEMS,
        summary=f"Status and result of a {title.lower()} execution",
        operation_id=f"get_{spec.name}_execution",
    )


def _add_events(router: APIRouter, spec: FlowSpec) -> None:
    async def events(
        execution_id: UUID,
        asked: Annotated[EventQuery, Query()],
        state: StateDep,
        http: Request,
        last_event_id: LastEventId = None,
    ) -> Response:
        execution = await state.executions.get(ExecutionId(execution_id), flow=spec.name)
        return await events_answer(http, state, execution, asked, last_event_id)

    router.add_api_route(
        "/execution/{execution_id}/events",
        events,
        methods=["GET"],
        response_model=EventList,
        responses=DOCUMENTED,
        summary=f"What happens in a {title_of(spec.name).lower()} execution",
        operation_id=f"get_{spec.name}_execution_events",
    )


def _add_logs(router: APIRouter, spec: FlowSpec) -> None:
    async def logs(
        execution_id: UUID, asked: Annotated[LogQuery, Query()], state: StateDep, http: Request
    ) -> Response:
        execution = await state.executions.get(ExecutionId(execution_id), flow=spec.name)
        return await logs_answer(http, state, execution, asked)

    router.add_api_route(
        "/execution/{execution_id}/logs",
        logs,
        methods=["GET"],
        response_model=LineList,
        responses=LOGS,
        summary=f"What a {title_of(spec.name).lower()} execution prints and logs",
        operation_id=f"get_{spec.name}_execution_logs",
    )
