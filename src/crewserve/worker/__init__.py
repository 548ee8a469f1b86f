"""The supervisor: claims executions, has them run by a flow host, writes what came of them."""
