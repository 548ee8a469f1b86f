"""How accepted work reaches a supervisor."""
