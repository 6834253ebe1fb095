"""Results that are written whole or not at all: the one place where this package puts a file under its final name."""
import contextlib
import os
import secrets
import shutil
from typing import Iterator, Union

#: Begins the name of every file that is still being written, so that a later start can tell and remove it.
PREFIX = ".writing-"


def home() -> str:
    """Folder of what is kept between commands: `$GHOST_MS_HOME`, by default ~/.cache/ghost_ms."""
    return os.environ.get("GHOST_MS_HOME") or os.path.join(os.path.expanduser("~"), ".cache", "ghost_ms")


@contextlib.contextmanager
def whole_file(path: Union[str, os.PathLike]) -> Iterator[str]:
    """A temporary path beside `path`, which is renamed to it where all goes well.

    What was at `path` stays as it is until then, and for good where writing fails or the process is killed. The
    temporary file is new (no link that somebody planted is followed), keeps the ending of `path`, and is on the disk
    before it is renamed.

    Raises:
        OSError: the folder cannot be written or the disk is full; a sentence that names `path`.
    """
    path = os.fspath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(f"cannot write '{path}': it is there already, and no file")
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f"{PREFIX}{secrets.token_hex(8)}{os.path.splitext(name)[1]}")
    try:
        try:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync(folder or ".")
        except OSError as error:
            raise OSError(f"cannot write '{path}': {error.strerror or error}") from None
    finally:
        if os.path.lexists(temporary):
            os.remove(temporary)


@contextlib.contextmanager
def whole_folder(path: Union[str, os.PathLike]) -> Iterator[str]:
    """A temporary folder beside the folder `path`, whose entries are moved there where all goes well.

    Raises:
        OSError: the folder cannot be made or written, or holds one of the entries already.
    """
    path = os.fspath(path)
    temporary = os.path.join(os.path.dirname(path), f"{PREFIX}{secrets.token_hex(8)}")
    os.makedirs(temporary)
    try:
        yield temporary
        os.makedirs(path, exist_ok=True)
        for name in os.listdir(temporary):
            os.rename(os.path.join(temporary, name), os.path.join(path, name))
    finally:
        shutil.rmtree(temporary)


def cannot_write(path: Union[str, os.PathLike], error: Exception) -> OSError:
    """A sentence that names the file, of whatever failed while it was made; one of `whole_file` stays as it is."""
    reason = getattr(error, "strerror", None) or (str(error).strip().splitlines() or [type(error).__name__])[0]
    return OSError(reason if reason.startswith("cannot write '") else f"cannot write '{os.fspath(path)}': {reason}")


def write_text(path: Union[str, os.PathLike], text: str) -> None:
    """Write a text file (UTF-8) whole or not at all; errors as `whole_file`."""
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def write_bytes(path: Union[str, os.PathLike], content: bytes) -> None:
    """Write a file whole or not at all; errors as `whole_file`."""
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


def write_link(path: Union[str, os.PathLike], source: str) -> None:
    """Make `path` a second name of a file, or its copy where the file system has no hard links; errors as `whole_file`.
    """
    with whole_file(path) as temporary:
        os.remove(temporary)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def remove_leftovers(folder: str) -> None:
    """Remove what a process that was killed left half written; only where no other process can be writing now."""
    for entry in list(os.scandir(folder)):
        if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        elif entry.name.startswith(PREFIX):
            os.remove(entry.path)


def _sync(path: str) -> None:
    """A file, or the new name of one in a folder, outlives a power cut only when it is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        # Some network file systems cannot sync a folder; the file itself has arrived.
        if not os.path.isdir(path):
            raise
    finally:
        os.close(handle)
