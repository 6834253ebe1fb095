"""`python eval.py ...` is `ghost-ms eval ...`."""
import sys

from ghost_ms.cli import main

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
