"""A lock of a folder that dies with the process that holds it."""
import contextlib
import datetime
import errno
import os
import socket
import stat
from typing import Iterator

from ghost_ms.core.text import printable

NAME = ".lock"
#: Of a lock file, which may be anybody's, no more is read.
MOST_BYTES = 500
#: What the system answers where another process holds the lock; all else means that the file system has none.
HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


class Locked(ValueError):
    """Another process holds the lock; says which."""


@contextlib.contextmanager
def locked(folder: str, work: str) -> Iterator[str]:
    """Hold a folder for as long as this process works in it, whatever path leads there.

    The system releases the lock when the process ends, however it ends; the file that bears it is removed where it
    ends in order.

    Args:
        work: what is done there, such as 'training'.

    Yields:
        '', or a sentence where the file system has no locks.

    Raises:
        Locked: another process works there.
        OSError: the file cannot be opened, or is no file; a sentence.
    """
    path = os.path.join(folder, NAME)
    try:
        import fcntl
    except ImportError:
        yield _no_lock(folder, work, "this system has none")
        return
    while True:
        handle = _open(path)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in HELD:
                    raise Locked(f"a {work} is under way in '{folder}': {_holder(handle)}") from None
                os.remove(path)
                yield _no_lock(folder, work, error.strerror)
                return
            # Its holder may have removed the file between the two lines above: then this lock is of no name.
            if not _is_at(handle, path):
                continue
            os.ftruncate(handle, 0)
            os.write(handle, f"{_this_process()}\n".encode())
            try:
                yield ""
            finally:
                with contextlib.suppress(OSError):
                    if _is_at(handle, path):
                        os.remove(path)
            return
        finally:
            os.close(handle)


def _open(path: str) -> int:
    """Open the file, which may be anything that lies there, for writing; OSError with a sentence."""
    try:
        # A pipe would wait for a reader; a link might lead anywhere.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise OSError(f"cannot lock the folder with '{path}' ({reason}); remove it") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"cannot lock the folder with '{path}', which is no file; remove it")
    return handle


def _is_at(handle: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _holder(handle: int) -> str:
    """What the holder wrote; nothing in the moment before it has."""
    return printable(os.read(handle, MOST_BYTES).decode(errors="replace").strip()) or "another process"


def _this_process() -> str:
    now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    return f"process {os.getpid()} on {socket.gethostname()}, since {now}"


def _no_lock(folder: str, work: str, reason: str) -> str:
    return (f"the folder '{folder}' cannot be locked ({reason}): nothing will stop a second {work} in it, and two "
            "would overwrite each other")
