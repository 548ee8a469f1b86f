from crewserve.application.catalog import FlowCatalog
from crewserve.domain.flow import FlowSpec
from crewserve.domain.flow_control import FlowControl
from crewserve.domain.ids import FlowName


def test_a_host_may_run_the_flows_of_some_queues_only() -> None:
    controls = {"a": FlowControl(queue="gpu"), "b": FlowControl(), "c": FlowControl(queue="gpu")}
    specs = {
        FlowName(name): FlowSpec(name=FlowName(name), ref="m:F", control=control)
        for name, control in controls.items()
    }
    catalog = FlowCatalog(specs)
    assert set(catalog.queues()) == {"gpu", "b"}
    assert list(catalog.of_queues([])) == ["a", "b", "c"]
    assert list(catalog.of_queues(["gpu"])) == ["a", "c"]
    assert list(catalog.of_queues(["b", "unknown"])) == ["b"]
