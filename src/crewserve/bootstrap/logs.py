"""The log, as the settings want it."""

from crewserve.domain.redaction import secrets_in
from crewserve.observability.logging import LogFormat, configure_logging
from crewserve.settings import Settings, environment


def set_up_logging(settings: Settings) -> None:
    """Once in each process, before anything else."""
    configure_logging(LogFormat(settings.log_format), secrets_in(environment()))
