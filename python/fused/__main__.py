"""``python -m fused``: the ``fused`` command."""

import sys

from fused._cli import main

if __name__ == "__main__":
    sys.exit(main())
