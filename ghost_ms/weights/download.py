"""One file over HTTP(S): resumed where the connection is cut, within limits of size and time."""
import contextlib
import http.client
import json
import os
import pathlib
import queue
import shutil
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from typing import Any, Callable, Iterator, Optional, Tuple

from ghost_ms.core.files import write_text

#: Connections in a row that may end without having brought this many bytes.
ATTEMPTS, PROGRESS = 4, 1 << 16
#: Seconds before the first of these is repeated; doubled each time.
PAUSE = 1.0
#: Seconds without a byte, or of a whole answer's headers, after which a connection counts as broken.
TIMEOUT = 30.0
#: Seconds in which a connection has to bring PROGRESS bytes, or it counts as broken.
WINDOW = 60.0
#: Seconds after which a download ends whatever it has brought.
LONGEST = 6 * 3600.0
_BLOCK = 1 << 18


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects stay on the web, and never go from https to http."""

    def redirect_request(self, request, file, code, message, headers, url):
        old, new = urllib.parse.urlsplit(request.full_url).scheme, urllib.parse.urlsplit(url).scheme
        if new != "https" and not old == new == "http":
            raise OSError(f"{request.full_url} redirects to {url}, which is not safe")
        return super().redirect_request(request, file, code, message, headers, url)


_OPENER = urllib.request.build_opener(_SafeRedirects())


class _Connection:
    """A request whose answer a thread of its own receives, so that no server can hold up the caller.

    `next` gives ('head', answer), then ('block', bytes) and at last ('end', None), or raises what the request ran into.
    """

    def __init__(self, request: urllib.request.Request):
        self.items: queue.Queue = queue.Queue(4)
        self.stopped = threading.Event()
        threading.Thread(target=self._receive, args=(request,), daemon=True).start()

    def next(self) -> Tuple[str, Any]:
        try:
            kind, value = self.items.get(timeout=TIMEOUT)
        except queue.Empty:
            raise TimeoutError("nothing came for too long") from None
        if kind == "error":
            raise value
        return kind, value

    def _put(self, kind: str, value: Any) -> bool:
        while not self.stopped.is_set():
            with contextlib.suppress(queue.Full):
                self.items.put((kind, value), timeout=0.5)
                return True
        return False

    def _receive(self, request: urllib.request.Request) -> None:
        try:
            # Twice the caller's patience: it is the caller who gives up, and says so.
            with _OPENER.open(request, timeout=2 * TIMEOUT) as answer:
                block = self._put("head", answer)
                while block:
                    # `read` would wait until the whole block is there.
                    block = answer.read1(_BLOCK)
                    if not self._put("block" if block else "end", block):
                        break
        except Exception as error:  # for the caller to judge
            self._put("error", error)


def download(url: str, part: pathlib.Path, title: str, most: int, progress: bool = True) -> None:
    """Fetch `url` into `part`; where that ends early, `part` and `part`.json stay for the next call to continue.

    Args:
        title: of the bar on a terminal.
        most: bytes that the file can have.

    Raises:
        OSError: it cannot be had: a refusal, broken connections, too slow, too long, or larger than it can be.
    """
    tag_file, end = part.with_name(part.name + ".json"), time.monotonic() + LONGEST
    if _tag(tag_file, url) is None:
        part.unlink(missing_ok=True)
    idle, pause = 0, PAUSE
    with _bar(title, progress) as advance:
        while True:
            before = _size(part)
            try:
                if _continue(url, part, tag_file, most, end, advance):
                    break
                reason = "the server sent less than it announced"
            except urllib.error.HTTPError as error:
                reason = f"the server answered {error.code} {error.reason}"
                if error.code == 416 and before:
                    part.unlink()
                elif error.code not in (408, 429) and error.code < 500:
                    raise OSError(f"{url}: {reason}") from None
            except (http.client.HTTPException, urllib.error.URLError, ConnectionError, TimeoutError, EOFError) as error:
                reason = f"the connection broke ({getattr(error, 'reason', None) or error or 'closed'})"
            now = _size(part)
            idle = 0 if now - before >= PROGRESS else idle + 1
            if idle >= ATTEMPTS or time.monotonic() > end:
                if idle < ATTEMPTS:
                    reason = f"it took more than {LONGEST / 3600:g} hours"
                raise OSError(f"{url}: {reason}; {now} bytes have arrived and are kept")
            time.sleep(pause if idle else 0)
            pause = pause * 2 if idle else PAUSE
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    tag_file.unlink(missing_ok=True)


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _continue(url: str, part: pathlib.Path, tag_file: pathlib.Path, most: int, end: float,
              advance: Callable[[int, Optional[int]], None]) -> bool:
    """One connection: append to `part` what is missing; True when the file is whole."""
    start, tag, decode = _size(part), _tag(tag_file, url), None
    headers = {"User-Agent": "ghost_ms", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if tag:
            headers["If-Range"] = tag
    connection = _Connection(urllib.request.Request(url, headers=headers))
    try:
        _, answer = connection.next()
        encoding = (answer.headers.get("Content-Encoding") or "identity").strip().lower()
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if answer.status == 206 and (not resumed or encoding != "identity"):
            part.unlink(missing_ok=True)
            raise http.client.HTTPException("the server sent another part than was asked for")
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise OSError(f"{url} comes in the encoding '{encoding[:40]}', which was not asked for")
        if encoding != "identity":
            decode = zlib.decompressobj(16 + zlib.MAX_WBITS)
        start = start if resumed else 0
        length = answer.headers.get("Content-Length") or ""
        total = start + int(length) if length.isdigit() and len(length) < 20 and decode is None else None
        if total is not None:
            _check_room(url, part, start, total, most)
        etag = answer.headers.get("ETag")
        write_text(tag_file, json.dumps({"url": url, "tag": etag if etag and not etag.startswith("W/") else ""}))
        advance(start, total)
        with open(part, "ab" if resumed else "wb") as file:
            for block in _blocks(connection, end):
                if decode is not None:
                    block = decode.decompress(block, most - file.tell() + 1)
                file.write(block)
                if file.tell() > most:
                    file.truncate(0)
                    raise OSError(f"{url} sends more than the {most} bytes that the file can have")
                advance(file.tell(), total)
    except zlib.error as error:
        raise http.client.HTTPException(f"its compression is damaged: {error}") from None
    finally:
        connection.stopped.set()
        if decode is not None and not decode.eof:
            # What was unpacked so far says nothing of where in the packed file to go on.
            part.unlink(missing_ok=True)
    return decode.eof if decode is not None else total is None or _size(part) == total


def _blocks(connection: _Connection, end: float) -> Iterator[bytes]:
    """The body; TimeoutError where a window of time brings next to nothing, or the whole takes too long."""
    since, came = time.monotonic(), 0
    while True:
        kind, block = connection.next()
        if kind == "end":
            return
        came += len(block)
        yield block
        now = time.monotonic()
        if now > end:
            raise TimeoutError("it takes too long")
        if now - since > WINDOW:
            if came < PROGRESS:
                raise TimeoutError(f"{came} bytes came within {now - since:.0f} seconds")
            since, came = now, 0


def _check_room(url: str, part: pathlib.Path, start: int, total: int, most: int) -> None:
    if total > most:
        raise OSError(f"{url} has {total} bytes, more than the {most} that the file can have")
    if total - start > shutil.disk_usage(part.parent).free:
        raise OSError(f"{url} has {total} bytes, more than the disk of {part.parent} has left")


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
    with Progress(TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                  TimeRemainingColumn(), console=console, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda completed, total: bar.update(task, completed=completed, total=total)
