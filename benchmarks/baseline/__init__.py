"""The specification's own recipe: background tasks, a store in memory, flows in threads."""
