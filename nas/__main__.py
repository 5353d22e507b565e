"""``python -m nas``: the command line."""

import sys

from nas.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
