"""`python infer.py ...` is `ghost-ms infer ...`."""
import sys

from ghost_ms.cli import main

if __name__ == "__main__":
    sys.exit(main(["infer", *sys.argv[1:]]))
