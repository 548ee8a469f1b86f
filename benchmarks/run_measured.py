"""Start `measured_app` the way the command line starts any app."""

import argparse

from crewserve.cli.server import add_server_arguments, read_settings, serve

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    add_server_arguments(parser)
    settings = read_settings(parser.parse_args())
    serve("benchmarks.measured_app:app", settings, reload_dirs=[], reload=False)
