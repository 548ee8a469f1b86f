"""The crews that the poem flow calls."""
