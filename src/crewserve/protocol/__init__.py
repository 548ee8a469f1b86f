"""Wire types: what clients send and receive."""
