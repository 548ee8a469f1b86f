"""`python -m crewserve.cli`."""

import sys

from crewserve.cli.main import main

sys.exit(main())
