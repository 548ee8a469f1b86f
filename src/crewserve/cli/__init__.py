"""The `crewserve` command."""
