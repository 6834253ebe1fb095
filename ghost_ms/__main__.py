"""`python -m ghost_ms ...` is `ghost-ms ...`, for where that is not on the PATH."""
import sys

from ghost_ms.cli import main

if __name__ == "__main__":
    sys.exit(main())
