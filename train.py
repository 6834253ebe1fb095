"""`python train.py ...` is `ghost-ms train ...`."""
import sys

from ghost_ms.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
