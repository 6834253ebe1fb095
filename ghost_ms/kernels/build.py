"""The library of the kernels: compiled once for this processor, kept under `$GHOST_MS_HOME/kernels`, and checked."""
import concurrent.futures
import ctypes
import functools
import hashlib
import os
import pathlib
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from typing import List, Tuple

from ghost_ms.core import device
from ghost_ms.core.files import home, whole_file, write_text
from ghost_ms.core.lock import Locked, locked
from ghost_ms.core.onednn import processor_flags
from ghost_ms.core.text import printable
from ghost_ms.core.threads import kernel_threads

SOURCES = pathlib.Path(__file__).with_name("cpp")
#: Comparisons and roundings need no traps, square roots no errno; sums stay in the order that they are written in.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fPIC",
         "-pthread")
COMPILERS = ("c++", "g++", "clang++")
MACHINES = ("x86_64", "aarch64")
#: Names the one folder that MindSpore takes custom operators from, where it is set.
WHITE_LIST = "MS_CUSTOM_AOT_WHITE_LIST"
#: Seconds that a compiler, or another process that compiles, is waited for.
PATIENCE = 300


class Unavailable(Exception):
    """There are no kernels here; half a sentence that says why."""


@functools.lru_cache(maxsize=None)
def library() -> str:
    """Path of the library, which is compiled where it is not there yet and is loaded into this process.

    Raises:
        Unavailable: this system, its compiler or its cache folder does not allow it.
    """
    compiler, path = _place()
    try:
        if not _sealed(path):
            _compile_once(compiler, os.path.dirname(path), path)
        set_threads(path, kernel_threads(device.world().size))
    except OSError as error:
        raise Unavailable(f"'{printable(path)}' cannot be written or loaded: {error.strerror or error}") from None
    return path


def outlook() -> str:
    """Where the library is, or what will compile it; nothing is compiled.

    Raises:
        Unavailable: as `library`.
    """
    compiler, path = _place()
    return path if _sealed(path) else f"compiled at first use, by {compiler}"


def _place() -> Tuple[str, str]:
    """(compiler, path of the library)."""
    if not sys.platform.startswith("linux") or platform.machine() not in MACHINES:
        raise Unavailable(f"they are for Linux on {' and '.join(MACHINES)}")
    folder, compiler = _folder(), _compiler()
    return compiler, os.path.join(folder, f"{_key(compiler)}.so")


def set_threads(path: str, count: int) -> None:
    """How many threads a kernel may use; results do not depend on it."""
    ctypes.CDLL(path).ghost_threads(count)


def _folder() -> str:
    """The cache folder; what lies in it is run, so it must be this user's alone."""
    folder = os.path.abspath(os.path.join(home(), "kernels"))
    allowed = os.environ.get(WHITE_LIST)
    if ":" in folder or allowed is not None and os.path.realpath(allowed) not in os.path.realpath(folder):
        # MindSpore names a function 'library:function', and takes no library from elsewhere than the variable says.
        raise Unavailable(f"MindSpore takes no operators from '{printable(folder)}' (" + (
            "its path has a colon" if ":" in folder else f"{WHITE_LIST} names another folder") + "): set "
            "GHOST_MS_HOME to another")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for place in (folder, *map(str, pathlib.Path(os.path.realpath(folder)).parents)):
            found = os.stat(place)
            if place == folder:
                loose = found.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
            else:
                # In a folder such as /tmp others may write, but not exchange what is not theirs.
                loose = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
            if loose or found.st_uid not in (os.getuid(), 0):
                raise Unavailable(f"others can write into '{printable(place)}', where they are kept: chmod go-w it, or "
                                  "set GHOST_MS_HOME to a folder of your own")
    except OSError as error:
        raise Unavailable(f"'{printable(folder)}' cannot be made ({error.strerror}); set GHOST_MS_HOME to one that "
                          "can be written") from None
    return folder


def _compiler() -> str:
    wanted = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    for name in wanted:
        path = shutil.which(name)
        if path:
            return path
    raise Unavailable(f"there is no C++ compiler ({', '.join(map(printable, wanted))}): install g++")


def _key(compiler: str) -> str:
    """Hash of all that the library depends on."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    parts = (*FLAGS, platform.machine(), *sorted(processor_flags()), _run([compiler, "--version"]))
    digest.update("\0".join(parts).encode())
    return digest.hexdigest()[:32]


def _run(command: List[str]) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE,
                              encoding="utf-8", errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the compiler '{printable(command[0])}' does not run: {error}") from None
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if "error" in line] or done.stdout.splitlines() or [""]
        raise Unavailable(f"'{printable(command[0])}' could not compile them: {printable(lines[0])[:300]}")
    return done.stdout


def _sealed(path: str) -> bool:
    """Whether the library is there as it was when it had been compiled."""
    try:
        with open(_seal(path), encoding="utf-8") as file:
            recorded = file.read(100).strip()
        return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() == recorded
    except (OSError, ValueError):
        return False


def _seal(path: str) -> str:
    return f"{path}.sha256"


def _compile_once(compiler: str, folder: str, path: str) -> None:
    """Compile the library: one of several processes does, the others wait; without file locks each one does."""
    deadline = time.monotonic() + PATIENCE
    while not _sealed(path):
        try:
            with locked(folder, "compilation"):
                if not _sealed(path):
                    print("compiling the CPU kernels for this processor, once", file=sys.stderr, flush=True)
                    _compile(compiler, folder, path)
        except Locked as error:
            if time.monotonic() > deadline:
                raise Unavailable(str(error)) from None
            time.sleep(0.2)


def _compile(compiler: str, folder: str, path: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        sources = sorted(SOURCES.glob("*.cpp"))
        objects = [os.path.join(temporary, f"{source.stem}.o") for source in sources]
        commands = [[compiler, *FLAGS, "-c", str(source), "-o", target] for source, target in zip(sources, objects)]
        with concurrent.futures.ThreadPoolExecutor(kernel_threads()) as pool:
            list(pool.map(_run, commands))
        with whole_file(path) as whole:
            _run([compiler, *FLAGS, "-shared", *objects, "-o", whole])
            content = pathlib.Path(whole).read_bytes()
    write_text(_seal(path), hashlib.sha256(content).hexdigest())
