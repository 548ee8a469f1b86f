"""Waiting for what another process does; see `deploy.waiting`."""

from deploy.waiting import A_WHILE, PAUSE, eventually

__all__ = ["A_WHILE", "PAUSE", "eventually"]
