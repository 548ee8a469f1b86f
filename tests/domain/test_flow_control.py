"""Which lane an execution is in."""

import pytest

from crewserve.domain.flow_control import FlowControl
from crewserve.domain.ids import FlowName, Tenant
from crewserve.domain.realm import DEFAULT_TENANT

POEM = FlowName("poem_flow")
EACH = FlowControl(max_running=1, per="customer")


@pytest.mark.parametrize("customer", ["42", "acme/42", "default/42", "/42", "a/b/c", ""])
def test_no_tenant_gets_into_the_lane_of_another(customer: str) -> None:
    keys = {
        EACH.turn(POEM, {"customer": value}, None, tenant).key
        for tenant, value in (
            (DEFAULT_TENANT, customer),
            (Tenant("acme"), customer),
            (Tenant("acme"), customer.removeprefix("acme/") + "!"),
        )
    }
    assert len(keys) == 3
    theirs = EACH.turn(POEM, {"customer": "42"}, None, Tenant("acme")).key
    assert theirs != EACH.turn(POEM, {"customer": customer}, None).key
