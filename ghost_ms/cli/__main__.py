"""`python -m ghost_ms.cli ...` is `ghost-ms ...`."""
import sys

from ghost_ms.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
