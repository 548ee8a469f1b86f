"""One poet with one task."""
