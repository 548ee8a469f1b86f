"""Measures crewserve against the design that its specification describes."""
