"""`python export.py ...` is `ghost-ms export ...`."""
import sys

from ghost_ms.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
