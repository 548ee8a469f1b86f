"""Start `measured_app` the way the command line starts any app."""

from crewserve.cli.server import serve
from crewserve.settings import Settings

if __name__ == "__main__":
    serve("benchmarks.measured_app:app", Settings(), reload_dirs=[], reload=False)
