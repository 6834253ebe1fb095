"""Downloads from a server that cuts, lies, dawdles, redirects and refuses."""
import contextlib
import gzip
import hashlib
import http.server
import io
import json
import logging
import pathlib
import struct
import threading
import time
import urllib.request

import numpy as np
import pytest

from ghost_ms import create_model
from ghost_ms.core import files
from ghost_ms.weights import download
from ghost_ms.weights import fetch as fetching
from ghost_ms.weights.convert import torch_state
from ghost_ms.weights.manifest import Release
from tests import tiny


def _safetensors(state):
    header, body = {}, b""
    for name, value in state.items():
        raw = np.ascontiguousarray(value).tobytes()
        kind = {"float32": "F32", "int64": "I64"}[str(value.dtype)]
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.fixture(scope="module", autouse=True)
def network():
    with tiny.registered():
        yield


@pytest.fixture(scope="module")
def contents(network):
    """Two files of weights of half a megabyte; an entry that nothing takes fills them."""
    state = {**torch_state(create_model("tiny")), "counts.total_ops": np.arange(120_000, dtype=np.float32)}
    return [_safetensors({name: value + add for name, value in state.items()}) for add in (0, 1)]


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` at any path; what happens on the way is set by the path and by `left`, counted down."""

    daemon_threads = True

    def __init__(self, contents):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.other, self.requests, self.left, self.tag = contents[0], contents[1], [], 3, '"one"'
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


#: Answers with status 200 that are no weights.
WRONG = {"login": b"<!DOCTYPE html><html><form>password</form></html>", "empty": b"",
         "error": b'{"error": "quota exceeded", "code": 403}', "text": b"not found\n", "tar": b"\0" * 257 + b"ustar",
         "other": None, "half": None}


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server, path, wanted = self.server, self.path.strip("/"), self.headers.get("Range")
        server.requests.append((path, wanted))
        if path == "absent":
            return self.send_error(404)
        if path in WRONG:
            return self.answer_wrongly(path)
        if path in ("moved", "file"):
            self.send_response(302)
            self.send_header("Location", server.url("plain") if path == "moved" else "file:///etc/hostname")
            return self.end_headers()
        if path == "busy" and server.left:
            server.left -= 1
            return self.send_error(503)
        if path in ("drip", "headers", "chunk", "silent"):
            return self.dawdle(path)
        if path in ("gzip", "br", "cut-gzip", "endless", "announced"):
            return self.encode(path)
        ranged = path != "norange" and wanted and self.headers.get("If-Range", server.tag) == server.tag
        start = int(wanted[len("bytes="):-1]) if ranged else 0
        if start >= len(server.content):
            return self.send_error(416)
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(server.content) - start))
        self.send_header("ETag", server.tag)
        self.end_headers()
        content, end = server.content, len(server.content)
        if path in ("cuts", "norange", "changes", "short") and server.left:
            server.left -= 1
            end = max(start, 70_000) if path == "short" else start + 100_000
            if path == "changes":
                server.content, server.tag, server.left = server.other, '"two"', 0
        self.wfile.write(content[start:end])
        self.close_connection = True

    def answer_wrongly(self, path):
        """A body without its length: whatever arrives is all there is."""
        self.send_response(200)
        self.end_headers()
        body = WRONG[path]
        if path == "half":
            body = self.server.content[:len(self.server.content) // 2]
        elif path == "other":
            body = _safetensors({"conv.weight": np.zeros((2, 3), np.float32)})
        self.wfile.write(body)
        self.close_connection = True

    def encode(self, path):
        content = self.server.content
        self.send_response(200)
        if path == "endless":
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(1 << 20))
            return None
        if path == "announced":
            self.send_header("Content-Length", str(1 << 40))
            return self.end_headers()
        self.send_header("Content-Encoding", "br" if path == "br" else "gzip")
        packed = gzip.compress(content, 1)
        self.send_header("Content-Length", str(len(packed)))
        self.end_headers()
        if path == "cut-gzip" and self.server.left:
            self.server.left -= 1
            packed = packed[:len(packed) // 2]
        self.wfile.write(packed)
        self.close_connection = True

    def dawdle(self, path):
        """Bytes that come so slowly that no read ever times out."""
        if path == "chunk":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        elif path == "drip":
            self.send_response(200)
            self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(50):
                time.sleep(0.05)
                if path != "silent":
                    self.wfile.write(b"H" if path == "headers" else b"0")
                    self.wfile.flush()
        self.close_connection = True


@pytest.fixture
def server(tmp_path, monkeypatch, contents):
    monkeypatch.setenv("GHOST_MS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "PAUSE", 0.01)
    server = Server(contents)
    yield server
    server.shutdown()
    server.server_close()


def _release(server, *paths, **fields):
    return Release("tiny", "a.pth", tuple(server.url(path) for path in paths), **fields)


def _leftovers(path):
    return sorted(other.name for other in path.parent.iterdir() if not other.name.startswith("."))


def test_plain_download_is_recorded_and_not_repeated(server):
    path = fetching.fetch(_release(server, "plain"))
    assert path.read_bytes() == server.content and path == fetching.cache_folder() / "tiny" / "a.pth"
    assert _leftovers(path) == ["a.pth", "a.pth.sha256"]
    first, second = (path.parent / "a.pth.sha256").read_text().splitlines()
    assert first.split() == [hashlib.sha256(server.content).hexdigest(), "a.pth"]
    assert second == "# read as weights of tiny"
    assert fetching.fetch(_release(server, "plain")) == path and len(server.requests) == 1


def test_cut_connections_are_resumed(server):
    path = fetching.fetch(_release(server, "cuts"))
    assert path.read_bytes() == server.content
    assert [wanted for _, wanted in server.requests] == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]


def test_server_without_ranges_starts_over(server):
    assert fetching.fetch(_release(server, "norange")).read_bytes() == server.content


def test_file_replaced_between_two_connections_is_not_mixed(server):
    assert fetching.fetch(_release(server, "changes")).read_bytes() == server.other == server.content


def test_too_little_is_an_error_that_keeps_what_came_and_goes_on_later(server):
    server.left = 100
    with pytest.raises(OSError, match="70000 bytes have arrived"):
        fetching.fetch(_release(server, "short"))
    path = fetching.cached_path(_release(server, "short"))
    assert not path.exists() and path.with_name("a.pth.part").stat().st_size == 70_000
    server.left, asked = 0, len(server.requests)
    assert fetching.fetch(_release(server, "short")).read_bytes() == server.content
    assert server.requests[asked:] == [("short", "bytes=70000-")]


def test_busy_server_is_asked_again(server):
    assert fetching.fetch(_release(server, "busy")).read_bytes() == server.content
    assert len(server.requests) == 4


def test_absent_file_is_said_at_once_and_the_mirror_is_tried(server):
    with pytest.raises(OSError, match="404 Not Found"):
        fetching.fetch(_release(server, "absent"))
    assert len(server.requests) == 1
    assert fetching.fetch(_release(server, "absent", "plain")).read_bytes() == server.content


@pytest.mark.parametrize("path, reason", [
    ("login", "web page"), ("empty", "empty"), ("error", "neither"), ("text", "neither"), ("tar", "tar archive"),
    ("other", "no file of tiny: missing stem.0.weight"), ("half", "does not fit|cut off")])
def test_wrong_answer_is_moved_aside_and_the_next_address_is_tried(path, reason, server, caplog):
    with pytest.raises(ValueError, match=f"{path} sent something else: .*({reason})"):
        fetching.fetch(_release(server, path))
    cached = fetching.cached_path(_release(server, path))
    assert _leftovers(cached) == ["a.pth.wrong-1"]
    with caplog.at_level(logging.WARNING):
        assert fetching.fetch(_release(server, path, "plain")).read_bytes() == server.content
    assert _leftovers(cached) == ["a.pth", "a.pth.sha256", "a.pth.wrong-1", "a.pth.wrong-2"]
    assert "something else" in caplog.text and "moved to" in caplog.text and "a.pth.wrong-2" in caplog.text


@pytest.mark.parametrize("recorded", [False, True, "as read"])
def test_garbage_in_the_cache_is_healed_though_its_checksum_was_recorded(recorded, server, caplog):
    cached = fetching.cached_path(_release(server))
    cached.parent.mkdir(parents=True)
    cached.write_bytes(WRONG["login"])
    if recorded:
        digest = hashlib.sha256(server.content if recorded == "as read" else WRONG["login"]).hexdigest()
        mark = "# read as weights of tiny\n" if recorded == "as read" else ""
        cached.with_name("a.pth.sha256").write_text(f"{digest}  a.pth\n{mark}")
    with caplog.at_level(logging.WARNING):
        assert fetching.fetch(_release(server, "plain")).read_bytes() == server.content
    assert "web page; moved to" in caplog.text
    assert cached.with_name("a.pth.wrong-1").read_bytes() == WRONG["login"]
    assert fetching.check(cached, _release(server)) == hashlib.sha256(server.content).hexdigest()


def test_record_of_garbage_that_was_deleted_does_not_refuse_the_right_file(server, caplog):
    cached = fetching.cached_path(_release(server))
    cached.parent.mkdir(parents=True)
    cached.with_name("a.pth.sha256").write_text(f"{hashlib.sha256(WRONG['login']).hexdigest()}  a.pth\n")
    with caplog.at_level(logging.WARNING):
        assert fetching.fetch(_release(server, "plain")).read_bytes() == server.content
    assert "is recorded from now on" in caplog.text


def test_at_most_nine_wrong_answers_are_kept(server):
    for _ in range(11):
        with pytest.raises(ValueError, match="web page"):
            fetching.fetch(_release(server, "login"))
    assert len(_leftovers(fetching.cached_path(_release(server)))) == 9


@pytest.mark.parametrize("path", ["drip", "headers", "chunk", "silent"])
def test_server_that_dawdles_is_given_up(path, server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.6)
    monkeypatch.setattr(download, "WINDOW", 0.3)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    start = time.monotonic()
    with pytest.raises(OSError, match="the connection broke .(nothing came|[0-9]+ bytes came within)"):
        fetching.fetch(_release(server, path))
    assert time.monotonic() - start < 20 and len(server.requests) == 2
    assert fetching.fetch(_release(server, path, "plain")).read_bytes() == server.content
    start = time.monotonic()
    while any("_receive" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() - start < 20, "a thread goes on receiving"
        time.sleep(0.05)


def test_download_ends_after_its_longest_time(server, monkeypatch):
    monkeypatch.setattr(download, "LONGEST", 0.3)
    with pytest.raises(OSError, match="more than 8.33333e-05 hours; .* are kept"):
        fetching.fetch(_release(server, "drip"))


@pytest.mark.parametrize("path, reason", [("endless", "sends more than the 2000"), ("announced", "more than the 2000")])
def test_more_than_a_file_can_have_is_not_taken(path, reason, server, monkeypatch):
    monkeypatch.setattr(fetching, "_SLACK", 2_000_000)
    with pytest.raises(OSError, match=reason):
        fetching.fetch(_release(server, path))
    cached = fetching.cached_path(_release(server))
    assert sum(other.stat().st_size for other in cached.parent.iterdir()) < 1000


def test_compressed_answers(server):
    assert fetching.fetch(_release(server, "gzip")).read_bytes() == server.content
    fetching.cached_path(_release(server)).unlink()
    assert fetching.fetch(_release(server, "cut-gzip")).read_bytes() == server.content
    assert [wanted for path, wanted in server.requests if path == "cut-gzip"] == [None] * 4
    fetching.cached_path(_release(server)).unlink()
    with pytest.raises(OSError, match="encoding 'br'"):
        fetching.fetch(_release(server, "br"))


def test_redirects_stay_on_the_web(server):
    assert fetching.fetch(_release(server, "moved")).read_bytes() == server.content
    fetching.cached_path(_release(server)).unlink()
    with pytest.raises(OSError, match="not allowed"):
        fetching.fetch(_release(server, "file"))
    request = urllib.request.Request("https://example.org/a.pth")
    with pytest.raises(OSError, match="not safe"):
        download._SafeRedirects().redirect_request(request, None, 302, "Found", {}, "http://example.org/b.pth")


def test_nobody_listens(server):
    with pytest.raises(OSError, match="refused"):
        fetching.fetch(Release("tiny", "a.pth", ("http://127.0.0.1:9/a",)))


def test_changed_file_is_refused(server):
    path = fetching.fetch(_release(server, "plain"))
    path.write_bytes(server.content[:-1] + b"!")
    with pytest.raises(ValueError, match="was recorded"):
        fetching.fetch(_release(server, "plain"))
    path.unlink()
    server.content = server.other
    with pytest.raises(ValueError, match="was recorded"):
        fetching.fetch(_release(server, "plain"))
    assert not path.exists() and path.with_name("a.pth.wrong-1").read_bytes() == server.other


def test_checksums_of_the_manifest(server):
    whole = hashlib.sha256(server.content).hexdigest()
    assert fetching.fetch(_release(server, "plain", sha256=whole, sha256_starts=whole[:8])).is_file()
    for fields in ({"sha256": "0" * 64}, {"sha256_starts": "0" * 8}):
        with pytest.raises(ValueError, match="manifest says"):
            fetching.fetch(_release(server, "plain", **fields))
    fetching.cached_path(_release(server)).unlink()
    wanted = hashlib.sha256(server.other).hexdigest()
    with pytest.raises(ValueError, match="manifest says"):
        fetching.fetch(_release(server, "plain", sha256=wanted))


def test_read_only_cache_serves_what_it_holds(server, monkeypatch):
    path = fetching.fetch(_release(server, "plain"))
    (path.parent / "a.pth.sha256").unlink()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    # Root may write anywhere, so the permission is refused by hand.
    monkeypatch.setattr(fetching, "write_text", refuse)
    monkeypatch.setattr(files.os, "open", refuse)
    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    assert fetching.fetch(_release(server, "plain")) == path
    path.unlink()
    with pytest.raises(OSError, match="GHOST_MS_HOME"):
        fetching.fetch(_release(server, "plain"))


def test_two_at_once_download_once(server):
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetching.fetch(_release(server, "cuts"))))
               for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() == server.content for path in results] == [True] * 3 and len(server.requests) == 4


def test_bar_shows_bytes_on_a_terminal(monkeypatch):
    import rich.console

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    console = rich.console.Console
    monkeypatch.setattr(rich.console, "Console", lambda stderr: console(file=screen, force_terminal=True, width=100))
    with download._bar("a[/].pth", True) as advance:
        advance(500_000, 1_000_000)
    assert "a[/].pth" in screen.getvalue() and "0.5/1.0 MB" in screen.getvalue()


def test_browser_and_package_releases_say_what_to_do(server):
    with pytest.raises(OSError, match="pan.baidu.com/x"):
        fetching.fetch(Release("tiny", "a.pth", baidu="https://pan.baidu.com/x"))
    with pytest.raises(OSError, match="pip install no-such-package"):
        fetching.fetch(Release("tiny", "a.pth", package="no-such-package", member="no_such_package/a.pth"))
