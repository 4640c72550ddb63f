"""The downloader against a real server on the loopback; no test reaches the network."""

import contextlib
import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from studylib.models.zoo.downloads import PublishedFile, cache_folder, fetch

CONTENT = bytes(range(256)) * 5000


class _Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body, promised = {
            "/whole.h5": (CONTENT, len(CONTENT)),
            "/cut.h5": (CONTENT[:70_000], len(CONTENT)),
            "/changed.h5": (CONTENT[:-1] + b"?", len(CONTENT)),
            "/longer.h5": (CONTENT * 3, 3 * len(CONTENT)),
        }.get(self.path, (None, 0))
        if self.path == "/silent.h5":
            self.server.release.wait(10)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that has seen too much hangs up
            self.wfile.write(body)

    def log_message(self, *arguments):
        """Quiet: what was asked for is in ``asked``."""


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        server.asked, server.release = [], threading.Event()
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.release.set()
        server.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name in ("STUDYLIB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STUDYLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def published(server, name: str, algorithm: str = "sha256") -> PublishedFile:
    port = server.server_address[1]
    return PublishedFile(f"http://127.0.0.1:{port}/{name}", algorithm, hashlib.new(algorithm, CONTENT).hexdigest(), len(CONTENT))


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_file_is_fetched_once_and_found_afterwards(server, cache, algorithm):
    file = published(server, "whole.h5", algorithm)
    assert file.why_not() == f"{cache / 'whole.h5'} is not there"
    assert fetch(file) is None
    assert fetch(file) is None
    assert file.why_not() is None
    assert file.path.read_bytes() == CONTENT
    assert server.asked == ["/whole.h5"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("changed.h5", "refused: its sha256 is {changed}, published is {right}"),
        ("cut.h5", "refused: 1280000 bytes are published, 70000 are there"),
        ("longer.h5", "refused: 1280000 bytes are published, more are there"),
        ("gone.h5", "cannot be fetched: the server answered 404 Not Found"),
    ],
)
def test_what_is_not_the_published_file_leaves_nothing(server, cache, name, words):
    changed, right = (hashlib.sha256(content).hexdigest() for content in (CONTENT[:-1] + b"?", CONTENT))
    reason = fetch(published(server, name))
    assert words.format(changed=changed, right=right) in reason
    assert f"/{name}" in reason
    assert list(cache.iterdir()) == []


def test_a_changed_file_in_the_cache_is_refused_and_replaced(server):
    file = published(server, "whole.h5")
    assert fetch(file) is None
    file.path.write_bytes(CONTENT[:-1] + b"?")
    assert "the file is refused: its sha256 is" in file.why_not()
    assert fetch(file) is None
    assert file.why_not() is None


def test_without_network_it_says_how_to_do_without(server, cache):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        file = PublishedFile(f"http://127.0.0.1:{closed.getsockname()[1]}/whole.h5", "sha256", "0" * 64, 9)
        reason = fetch(file)
    assert "cannot be fetched:" in reason
    assert "refused" in reason
    assert f"put it at {cache / 'whole.h5'}" in reason


def test_an_unknown_server_is_a_reason(cache):
    assert "cannot be fetched:" in fetch(PublishedFile("http://nowhere.invalid/whole.h5", "sha256", "0" * 64, 9))


def test_a_silent_server_is_left(server):
    assert "timed out" in fetch(published(server, "silent.h5"), timeout_s=0.3)


def test_offline_asks_nobody(server, monkeypatch):
    monkeypatch.setenv("STUDYLIB_OFFLINE", "1")
    file = published(server, "whole.h5")
    assert "is not there, and STUDYLIB_OFFLINE=1 forbids fetching http://127.0.0.1" in fetch(file)
    assert server.asked == []


def test_a_cache_that_is_a_file_is_said(server, cache):
    cache.write_text("")
    reason = fetch(published(server, "whole.h5"))
    assert "cannot be" in reason
    assert "Set STUDYLIB_CACHE to another folder" in reason


def test_the_cache_is_where_the_environment_says(cache, monkeypatch):
    assert cache_folder() == cache
    monkeypatch.delenv("STUDYLIB_CACHE")
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(cache_folder()) == "/somewhere/.cache/studylib"
