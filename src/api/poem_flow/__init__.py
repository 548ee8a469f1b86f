"""The poem flow's API."""

from .router import router

__all__ = ["router"]
