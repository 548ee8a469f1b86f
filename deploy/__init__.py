"""Running crewserve on many machines, and the same on one."""
