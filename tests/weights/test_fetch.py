"""Downloads from a server that cuts, lies, redirects and refuses."""
import hashlib
import http.server
import io
import pathlib
import threading
import urllib.request

import pytest

from ghost_ms.weights import fetch as fetching
from ghost_ms.weights.manifest import Release

CONTENT = bytes(range(256)) * 2000


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at any path; what happens on the way is set by the path and by `left`, counted down."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.requests, self.left, self.tag = CONTENT, [], 3, '"one"'
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server, path, wanted = self.server, self.path.strip("/"), self.headers.get("Range")
        server.requests.append((path, wanted))
        if path == "absent":
            return self.send_error(404)
        if path in ("moved", "file"):
            self.send_response(302)
            self.send_header("Location", server.url("plain") if path == "moved" else "file:///etc/hostname")
            return self.end_headers()
        if path == "busy" and server.left:
            server.left -= 1
            return self.send_error(503)
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
                server.content, server.tag, server.left = CONTENT[::-1], '"two"', 0
        self.wfile.write(content[start:end])
        self.close_connection = True


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("GHOST_MS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(fetching, "PAUSE", 0.01)
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


def _release(server, *paths, **fields):
    return Release("a_model", "a.pth", tuple(server.url(path) for path in paths), **fields)


def _leftovers(path):
    return sorted(other.name for other in path.parent.iterdir() if not other.name.startswith("."))


def test_plain_download_is_recorded_and_not_repeated(server):
    path = fetching.fetch(_release(server, "plain"))
    assert path.read_bytes() == CONTENT and path == fetching.cache_folder() / "a_model" / "a.pth"
    assert _leftovers(path) == ["a.pth", "a.pth.sha256"]
    assert (path.parent / "a.pth.sha256").read_text().split() == [hashlib.sha256(CONTENT).hexdigest(), "a.pth"]
    assert fetching.fetch(_release(server, "plain")) == path and len(server.requests) == 1


def test_cut_connections_are_resumed(server):
    path = fetching.fetch(_release(server, "cuts"))
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]


def test_server_without_ranges_starts_over(server):
    assert fetching.fetch(_release(server, "norange")).read_bytes() == CONTENT


def test_file_replaced_between_two_connections_is_not_mixed(server):
    assert fetching.fetch(_release(server, "changes")).read_bytes() == CONTENT[::-1]


def test_too_little_is_an_error_that_keeps_what_came_and_goes_on_later(server):
    server.left = 100
    with pytest.raises(OSError, match="70000 bytes have arrived"):
        fetching.fetch(_release(server, "short"))
    path = fetching.cached_path(_release(server, "short"))
    assert not path.exists() and path.with_name("a.pth.part").stat().st_size == 70_000
    server.left, asked = 0, len(server.requests)
    assert fetching.fetch(_release(server, "short")).read_bytes() == CONTENT
    assert server.requests[asked:] == [("short", "bytes=70000-")]


def test_busy_server_is_asked_again(server):
    assert fetching.fetch(_release(server, "busy")).read_bytes() == CONTENT
    assert len(server.requests) == 4


def test_absent_file_is_said_at_once_and_the_mirror_is_tried(server):
    with pytest.raises(OSError, match="404 Not Found"):
        fetching.fetch(_release(server, "absent"))
    assert len(server.requests) == 1
    assert fetching.fetch(_release(server, "absent", "plain")).read_bytes() == CONTENT


def test_redirects_stay_on_the_web(server):
    assert fetching.fetch(_release(server, "moved")).read_bytes() == CONTENT
    fetching.cached_path(_release(server)).unlink()
    with pytest.raises(OSError, match="not allowed"):
        fetching.fetch(_release(server, "file"))
    request = urllib.request.Request("https://example.org/a.pth")
    with pytest.raises(OSError, match="not safe"):
        fetching._SafeRedirects().redirect_request(request, None, 302, "Found", {}, "http://example.org/b.pth")


def test_nobody_listens(server):
    with pytest.raises(OSError, match="refused"):
        fetching.fetch(Release("a_model", "a.pth", ("http://127.0.0.1:9/a",)))


def test_changed_file_is_refused(server):
    path = fetching.fetch(_release(server, "plain"))
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(ValueError, match="was recorded"):
        fetching.fetch(_release(server, "plain"))
    path.unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(ValueError, match="was recorded"):
        fetching.fetch(_release(server, "plain"))


def test_checksums_of_the_manifest(server):
    whole = hashlib.sha256(CONTENT).hexdigest()
    assert fetching.fetch(_release(server, "plain", sha256=whole, sha256_starts=whole[:8])).is_file()
    for fields in ({"sha256": "0" * 64}, {"sha256_starts": "0" * 8}):
        with pytest.raises(ValueError, match="manifest says"):
            fetching.fetch(_release(server, "plain", **fields))


def test_read_only_cache_serves_what_it_holds(server, monkeypatch):
    path = fetching.fetch(_release(server, "plain"))
    (path.parent / "a.pth.sha256").unlink()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    # Root may write anywhere, so the permission is refused by hand.
    monkeypatch.setattr(pathlib.Path, "write_text", refuse)
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
    assert [path.read_bytes() == CONTENT for path in results] == [True] * 3 and len(server.requests) == 4


def test_bar_shows_bytes_on_a_terminal(monkeypatch):
    import rich.console

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    console = rich.console.Console
    monkeypatch.setattr(rich.console, "Console", lambda stderr: console(file=screen, force_terminal=True, width=100))
    with fetching._bar("a.pth", True) as advance:
        advance(500_000, 1_000_000)
    assert "a.pth" in screen.getvalue() and "0.5/1.0 MB" in screen.getvalue()


def test_browser_and_package_releases_say_what_to_do(server):
    with pytest.raises(OSError, match="pan.baidu.com/x"):
        fetching.fetch(Release("a_model", "a.pth", baidu="https://pan.baidu.com/x"))
    with pytest.raises(OSError, match="pip install no-such-package"):
        fetching.fetch(Release("a_model", "a.pth", package="no-such-package", member="no_such_package/a.pth"))
