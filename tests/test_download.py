"""Downloads from a server on this machine: resumed and checked."""

import hashlib
import resource
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from common.data import download
from common.errors import InputError

CONTENT = bytes(range(256)) * 4000


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; cuts an answer off after `server.cut_after` bytes; may know nothing of Range."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.close_connection = True
        ranges = self.headers["Range"]
        self.server.asked.append(ranges)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = 0
        if ranges and self.server.knows_range:
            start = int(ranges.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.cut_after])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files = {"/file": CONTENT}
    server.asked = []
    server.cut_after = None
    server.knows_range = True
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def md5(content):
    return hashlib.md5(content).hexdigest()


def test_fetches_once(server, tmp_path):
    path = tmp_path / "new folder" / "file"
    for _ in range(2):
        assert download.download(f"{server.url}/file", path.parent, md5(CONTENT)) == path
    assert path.read_bytes() == CONTENT
    assert server.asked == [None]
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_cut_connection_is_taken_up_where_it_broke(server, tmp_path):
    server.cut_after = 300_000
    download.download(f"{server.url}/file", tmp_path, md5(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_a_later_call_goes_on_from_a_partial_file(server, tmp_path):
    server.cut_after = 10_000
    with pytest.raises(InputError, match="did not come whole in 5 attempts; run this again, which goes on from there"):
        download.download(f"{server.url}/file", tmp_path, md5(CONTENT))
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.part"]
    server.cut_after = None
    download.download(f"{server.url}/file", tmp_path, md5(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=50000-"


def test_a_server_without_range_sends_the_whole_again(server, tmp_path):
    server.knows_range = False
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    download.download(f"{server.url}/file", tmp_path, md5(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_wrong_sum_is_refused(server, tmp_path):
    with pytest.raises(InputError, match=f"has not the MD5 sum {md5(b'other')}"):
        download.download(f"{server.url}/file", tmp_path, md5(b"other"))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def full_disk():
    """No file may grow beyond 100 kB, which fails as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk(server, tmp_path, full_disk):
    with pytest.raises(InputError, match=r"cannot write .*: File too large"):
        download.download(f"{server.url}/file", tmp_path, md5(CONTENT))
    assert not (tmp_path / "file").exists()


def test_an_unknown_address_and_no_server(server, tmp_path):
    with pytest.raises(InputError, match="HTTP Error 404"):
        download.download(f"{server.url}/other", tmp_path, md5(CONTENT))
    server.server_close()
    with pytest.raises(InputError, match="cannot reach http"):
        download.download(f"{server.url}/file", tmp_path, md5(CONTENT))


def test_reviews_that_an_earlier_download_unpacked_are_taken(tmp_path):
    (tmp_path / "aclImdb").mkdir()
    assert download.fetch_reviews(tmp_path) == tmp_path / "aclImdb"
