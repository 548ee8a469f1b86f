"""Which scope each request needs: the only table of that."""

from collections import defaultdict
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from crewserve.domain.ids import FlowName
from crewserve.domain.principal import Scope


class Needs(Enum):
    """What is no scope."""

    NOTHING = "nothing"
    """Anybody may ask: nothing is told but whether the server is well."""
    ANY_KEY = "any key"
    EXECUTE = "execute"
    """The scope that starts the flow which the path names."""


Need = Needs | Scope

_READ, _WRITE, _ADMIN = Scope.READ, Scope.WRITE, Scope.ADMIN
_EXECUTIONS: Final = "/api/v1/executions"

ROUTES: Final[Mapping[tuple[str, str], Need]] = {
    ("GET", "/"): Needs.ANY_KEY,
    ("GET", "/health"): Needs.NOTHING,
    ("GET", "/health/live"): Needs.NOTHING,
    ("GET", "/health/ready"): Needs.NOTHING,
    ("GET", "/docs"): Needs.ANY_KEY,
    ("GET", "/redoc"): Needs.ANY_KEY,
    ("GET", "/openapi.json"): Needs.ANY_KEY,
    ("GET", "/docs-assets/{file}"): Needs.NOTHING,
    ("GET", "/metrics"): Scope.METRICS,
    ("GET", "/api/v1/flows"): Needs.ANY_KEY,
    ("GET", "/api/v1/flows/{name}"): Needs.ANY_KEY,
    ("GET", "/api/v1/workers"): _ADMIN,
    ("GET", "/api/v1/workers/{worker_id}"): _ADMIN,
    ("POST", "/api/v1/workers/{worker_id}/drain"): _ADMIN,
    ("POST", "/api/v1/workers/{worker_id}/resume"): _ADMIN,
    ("GET", "/api/v1/queues"): _READ,
    ("POST", "/api/v1/queues/{name}/pause"): _ADMIN,
    ("POST", "/api/v1/queues/{name}/resume"): _ADMIN,
    ("GET", "/api/v1/keys"): _ADMIN,
    ("POST", "/api/v1/keys"): _ADMIN,
    ("DELETE", "/api/v1/keys/{key_id}"): _ADMIN,
    ("POST", "/api/v1/keys/{key_id}/rotate"): _ADMIN,
    ("GET", "/api/v1/audit"): _ADMIN,
    ("GET", "/api/v1/usage"): _READ,
    ("GET", _EXECUTIONS): _READ,
    ("GET", f"{_EXECUTIONS}/count"): _READ,
    ("GET", f"{_EXECUTIONS}/histogram"): _READ,
    ("GET", f"{_EXECUTIONS}/{{execution_id}}"): _READ,
    ("DELETE", f"{_EXECUTIONS}/{{execution_id}}"): _WRITE,
    ("GET", f"{_EXECUTIONS}/{{execution_id}}/steps"): _READ,
    ("GET", f"{_EXECUTIONS}/{{execution_id}}/steps/{{position}}"): _READ,
    ("GET", f"{_EXECUTIONS}/{{execution_id}}/events"): _READ,
    ("GET", f"{_EXECUTIONS}/{{execution_id}}/logs"): _READ,
    ("GET", f"{_EXECUTIONS}/{{execution_id}}/usage"): _READ,
    ("POST", f"{_EXECUTIONS}/{{execution_id}}/cancel"): Scope.CANCEL,
    ("POST", f"{_EXECUTIONS}/bulk/cancel"): Scope.CANCEL,
    ("POST", f"{_EXECUTIONS}/{{execution_id}}/retry"): _WRITE,
    ("POST", f"{_EXECUTIONS}/{{execution_id}}/fork"): _WRITE,
}
"""What is not here, nor below, is for `admin` alone."""

FLOW_ROUTES: Final[Mapping[tuple[str, str], Need]] = {
    ("POST", "/execute"): Needs.EXECUTE,
    ("GET", "/execution/{execution_id}"): _READ,
    ("GET", "/execution/{execution_id}/events"): _READ,
    ("GET", "/execution/{execution_id}/logs"): _READ,
}
"""Below the path of each flow, also of those whose router was written by hand."""

ANY_FLOW_PATH: Final = "/api/v1/{flow}"


class Rule(NamedTuple):
    """What one kind of request needs."""

    segments: tuple[str | None, ...]
    """None stands for any text."""
    need: Need
    flow: FlowName | None = None
    """None: the path names it."""

    def fits(self, segments: list[str]) -> bool:
        """Both have as many."""
        pairs = zip(self.segments, segments, strict=True)
        return all(mine is None or mine == theirs for mine, theirs in pairs)


class Rules:
    """The table, with the flows of one app."""

    def __init__(self, execute_urls: Mapping[FlowName, str]) -> None:
        self._rules: dict[tuple[str, int], list[Rule]] = defaultdict(list)
        for (method, path), need in ROUTES.items():
            self._add(method, path, need)
        for flow, url in execute_urls.items():
            self._add_flow(url.removesuffix("/execute"), flow)
        self._add_flow(ANY_FLOW_PATH)

    def _add_flow(self, path: str, flow: FlowName | None = None) -> None:
        for (method, rest), need in FLOW_ROUTES.items():
            self._add(method, path + rest, need, flow)

    def _add(self, method: str, path: str, need: Need, flow: FlowName | None = None) -> None:
        segments = tuple(None if part.startswith("{") else part for part in path.split("/"))
        self._rules[method, len(segments)].append(Rule(segments, need, flow))

    def find(self, method: str, path: str) -> Rule | None:
        """The first that fits; a flow is filled in from *path* where that names it."""
        segments = path.split("/")
        for rule in self._rules.get((method, len(segments)), ()):
            if rule.fits(segments):
                is_named = rule.need is Needs.EXECUTE and rule.flow is None
                return rule._replace(flow=_flow_of(segments)) if is_named else rule
        return None


def _flow_of(segments: list[str]) -> FlowName:
    return FlowName(segments[-2].replace("-", "_"))
