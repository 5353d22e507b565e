"""Run an architecture search; the same as the command ``nas``."""

import sys

from nas.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
