"""`python -m dichroic`: the `dichroic` command, where its script is not on the path."""

import sys

from dichroic.cli import main

if __name__ == "__main__":
    sys.exit(main())
