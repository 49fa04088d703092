"""``python -m pnp_lip``, the same as ``pnp-lip``."""

import sys

from pnp_lip.cli import main

if __name__ == "__main__":
    sys.exit(main())
