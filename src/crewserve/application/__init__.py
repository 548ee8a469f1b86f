"""Use cases, whatever the transport."""
