"""`python tests/training/tiny_train.py OPTIONS`: `ghost-ms train` that also knows the networks of tests/tiny.py."""
import sys

from ghost_ms.cli import main
from tests.tiny import registered

if __name__ == "__main__":
    with registered():
        sys.exit(main(["train", *sys.argv[1:]]))
