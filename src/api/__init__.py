"""This deployment's API: which flows it serves, and how."""

from crewserve.serving import quiet_crewai

quiet_crewai()
