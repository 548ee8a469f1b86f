"""A flow that chooses a length, lets a crew write a poem of that length, and saves it."""
