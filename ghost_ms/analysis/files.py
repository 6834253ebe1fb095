"""Results that are written whole or not at all."""
import contextlib
import os
from typing import Iterator


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[str]:
    """A temporary path beside `path`, renamed to it where all goes well; OSError with a sentence where it cannot be."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(f"cannot write '{path}': {error.strerror}") from None
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
