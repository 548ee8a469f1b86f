"""The one place where parts are chosen and joined."""

from crewserve.bootstrap.access import first_key, with_api_keys
from crewserve.bootstrap.api import create_app, quiet_crewai
from crewserve.bootstrap.ground import prepare_storage
from crewserve.bootstrap.logs import set_up_logging
from crewserve.bootstrap.worker import run_worker
from crewserve.http.app import include_flow

__all__ = [
    "create_app",
    "first_key",
    "include_flow",
    "prepare_storage",
    "quiet_crewai",
    "run_worker",
    "set_up_logging",
    "with_api_keys",
]
