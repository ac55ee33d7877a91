"""`python -m deferq.testing.simulate`"""

import sys

from deferq.testing.simulate.command import main

if __name__ == "__main__":
    sys.exit(main())
