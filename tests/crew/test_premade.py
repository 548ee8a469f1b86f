"""What the template prepares must not change what flows see."""

import subprocess
import sys

import pytest

TLS = """
import ssl, certifi, httpx
from crewserve.crew import premade
premade._premake_tls_contexts()
file = premade.certificate_file() or certifi.where()
first, second = (ssl.create_default_context(cafile=file) for _ in range(2))
other = ssl.create_default_context()
print(first is not second, first.verify_mode is ssl.CERT_REQUIRED, first.check_hostname)
contexts = [ssl.create_default_context(cafile=file) for _ in range(2 * premade.TLS_CONTEXTS)]
print(len(set(map(id, contexts))) == len(contexts), len(first.get_ca_certs()) > 50)
httpx.Client().close()
"""

PAGES = """
from crewserve.crew import pages
held = [str(number) * 10 for number in range(200_000)]
pages.collapse()
print(held[123456] == "123456" * 10, len(held))
"""

SCHEDULED = """
import os
from crewserve.crew.processes import yield_to_the_api
yield_to_the_api()
print(os.nice(0) > 0, os.sched_getscheduler(0) == os.SCHED_BATCH)
"""


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        (TLS, "True True True\nTrue True"),
        (PAGES, "True 200000"),
        (SCHEDULED, "True True"),
    ],
    ids=["contexts are never shared", "memory keeps its content", "flows yield"],
)
def test_what_is_prepared_behaves_as_before(code: str, printed: str) -> None:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == printed


def test_models_and_flows_that_are_premade_still_exist() -> None:
    code = """
import warnings; warnings.simplefilter("ignore")
from crewserve.crew import internals, premade
premade.make()
import openai.types.chat.chat_completion as c, crewai.events.types.agent_events as e
from crewai.agents.agent_executor import AgentExecutor
print(c.ChatCompletion.__pydantic_complete__, e.AgentExecutionStartedEvent.__pydantic_complete__)
print("_flow_definition" in AgentExecutor.__dict__, internals.bus_was_used())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "True True\nTrue False"
