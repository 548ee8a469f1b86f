"""crewserve: execute, watch and stop CrewAI flows over HTTP.

Kept empty so that importing one part (for example a client) loads no other.
"""
