"""`python -m deferq` is `deferq`."""

import sys

from deferq.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
