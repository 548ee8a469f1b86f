"""What is told of each event: an allow list, because CrewAI's events carry agents and their keys.

A field that is not named here is not looked at, except for those of classes that are not CrewAI's.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Fields(NamedTuple):
    """Names of an event's fields."""

    plain: tuple[str, ...] = ()
    """Told always."""
    content: tuple[str, ...] = ()
    """What people, models and tools say: told only where that may be kept."""


def _fields(plain: str = "", content: str = "") -> Fields:
    return Fields(tuple(plain.split()), tuple(content.split()))


COMMON: Final = _fields("agent_role task_id", "task_name")
"""Of every event. A task without a name is called by its whole description."""

IGNORED: Final = frozenset({"hook_dispatched", "default_env", "cc_env", "codex_env", "cursor_env"})
"""They tell of CrewAI's own doings: of our hooks, and of the terminal that it believes to be in."""

_FAILED: Final = _fields("error error_type")
_METHOD: Final = _fields("flow_name method_name")
_TOOL: Final = _fields(
    "tool_name tool_class run_attempts from_cache started_at finished_at error",
    "tool_args output failure",
)
_MEMORY: Final = _fields(
    "limit query_time_ms save_time_ms retrieval_time_ms error", "query value results memory_content"
)
_MCP: Final = _fields(
    "server_name transport_type tool_name is_reconnect connection_duration_ms "
    "execution_duration_ms status_code error error_type",
    "tool_args result",
)

FIELDS: Final[Mapping[str, Fields]] = {
    "flow_created": _fields("flow_name"),
    "flow_started": _fields("flow_name"),
    "flow_finished": _fields("flow_name"),
    "flow_failed": _fields("flow_name error"),
    "flow_paused": _fields("flow_name method_name emit", "message"),
    "method_execution_started": _METHOD,
    "method_execution_finished": _METHOD,
    "method_execution_failed": _fields("flow_name method_name error"),
    "method_execution_paused": _fields("flow_name method_name emit", "message"),
    "flow_input_requested": _fields("flow_name method_name", "message"),
    "flow_input_received": _fields("flow_name method_name", "message response"),
    "human_feedback_requested": _fields("flow_name method_name emit request_id", "message output"),
    "human_feedback_received": _fields("flow_name method_name outcome request_id", "feedback"),
    "conversation_message_added": _fields("session_id role message_index", "content"),
    "conversation_route_selected": _fields("session_id route message_index", "user_message"),
    "crew_kickoff_started": _fields("crew_name", "inputs"),
    "crew_kickoff_completed": _fields("crew_name total_tokens", "output"),
    "crew_kickoff_failed": _fields("crew_name error"),
    "task_started": _fields(content="context"),
    "task_completed": _fields(content="output"),
    "task_failed": _FAILED,
    "task_evaluation": _fields("evaluation_type"),
    "agent_execution_started": _fields(content="task_prompt"),
    "agent_execution_completed": _fields(content="output"),
    "agent_execution_error": _FAILED,
    "lite_agent_execution_started": _fields(content="messages"),
    "lite_agent_execution_completed": _fields(content="output"),
    "lite_agent_execution_error": _FAILED,
    "agent_logs_started": _fields(content="task_description"),
    "agent_logs_execution": _fields(),
    "agent_reasoning_started": _fields("attempt"),
    "agent_reasoning_completed": _fields("attempt ready", "plan"),
    "agent_reasoning_failed": _fields("attempt error"),
    "llm_call_started": _fields("model call_id temperature max_tokens stream", "messages"),
    "llm_call_completed": _fields(
        "model call_id call_type usage finish_reason response_id", "response"
    ),
    "llm_call_failed": _fields("model call_id error"),
    "llm_guardrail_started": _fields("guardrail_type guardrail_name retry_count"),
    "llm_guardrail_completed": _fields(
        "guardrail_type guardrail_name retry_count success error", "result"
    ),
    "tool_usage_started": _TOOL,
    "tool_usage_finished": _TOOL,
    "tool_usage_error": _TOOL,
    "tool_failure_detected": _TOOL,
    "tool_validate_input_error": _TOOL,
    "tool_selection_error": _TOOL,
    "tool_execution_error": _TOOL,
    **{
        f"memory_{what}_{how}": _MEMORY
        for what in ("query", "save", "retrieval")
        for how in ("started", "completed", "failed")
    },
    **{
        f"mcp_{what}_{how}": _MCP
        for what in ("connection", "tool_execution")
        for how in ("started", "completed", "failed")
    },
}

NUMBERS: Final = (int, float, bool)
"""What is told of fields of CrewAI's other events; an error and names are told as well."""

NAMES: Final = ("error", "status", "_name", "_type")
"""Ends of the names of such fields."""
