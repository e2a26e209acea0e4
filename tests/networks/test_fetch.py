import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from npstyle.errors import InputError
from npstyle.networks import fetch as module
from npstyle.networks.fetch import PUBLISHED, Published, fetch
from npstyle.networks.weights import load_weights
from tests.networks import foreign


class Server(BaseHTTPRequestHandler):
    """Sends the first `sent` bytes of `data`, or an error."""

    data = b""
    sent: int | None = None
    status = 200
    asked = 0

    def do_GET(self):
        type(self).asked += 1
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.data)))
        self.end_headers()
        self.wfile.write(self.data[: self.sent])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(rng, tmp_path, monkeypatch):
    """A local server that offers a small VGG-19 in Keras' format in place of the published file."""
    source = foreign.write_keras(tmp_path / "keras.h5", foreign.draw_values(rng))
    handler = type("Handler", (Server,), {"data": source.read_bytes()})
    running = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{running.server_port}/{source.name}"
    published = Published(url, hashlib.md5(handler.data).hexdigest())
    monkeypatch.setitem(PUBLISHED, "vgg19", published)
    monkeypatch.setattr(module, "user_data_dir", lambda: tmp_path / "data")
    monkeypatch.setattr(module.platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield handler
    running.shutdown()
    running.server_close()


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Bar:
    """The methods of a progress bar that pooch calls."""

    total = 0

    def __init__(self):
        self.calls = []

    def update(self, count):
        self.calls.append(count)

    def reset(self):
        self.calls.append("reset")

    def close(self):
        self.calls.append("close")


def test_a_download_is_checked_converted_and_stored_in_the_data_directory(server, tmp_path):
    said, bar = [], Bar()
    weights = fetch("vgg19", bar, said.append)
    assert weights.name == "vgg19"
    assert weights.sha256 == load_weights(tmp_path / "data" / "vgg19.npz").sha256
    assert files(tmp_path) == ["data/vgg19.npz", "keras.h5"]  # the downloaded file is deleted
    assert bar.total == len(server.data)
    assert bar.calls[-1] == "close"
    assert any(PUBLISHED["vgg19"].url in line for line in said)


def test_an_existing_network_is_not_downloaded_again(server, tmp_path):
    fetch("vgg19", say=lambda _: None)
    said = []
    fetch("vgg19", say=said.append)
    assert server.asked == 1
    assert "already exists" in said[0]


def assert_explains_the_manual_download(message):
    published = PUBLISHED["vgg19"]
    for part in (published.url, published.md5, "`npstyle weights convert keras.h5 "):
        assert part in message


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ({"sent": 1000}, "could not be downloaded"),
        ({"status": 503}, "the server answered 503"),
        ({"data": b"\x89HDF something else"}, "hash differs"),
    ],
)
def test_a_failed_download_leaves_no_file_and_the_next_one_succeeds(
    server, tmp_path, monkeypatch, trouble, says
):
    good = {name: getattr(server, name) for name in trouble}
    for name, value in trouble.items():
        monkeypatch.setattr(server, name, value)
    with pytest.raises(InputError, match=says) as caught:
        fetch("vgg19", say=lambda _: None)
    assert_explains_the_manual_download(str(caught.value))
    assert files(tmp_path) == ["keras.h5"]
    for name, value in good.items():
        monkeypatch.setattr(server, name, value)
    assert fetch("vgg19", say=lambda _: None).name == "vgg19"


def test_offline_the_message_gives_the_url_the_hash_and_the_manual_steps(
    server, tmp_path, monkeypatch
):
    published = Published("http://127.0.0.1:1/keras.h5", "0" * 32)
    monkeypatch.setitem(PUBLISHED, "vgg19", published)
    with pytest.raises(InputError, match="no connection") as caught:
        fetch("vgg19", say=lambda _: None)
    assert_explains_the_manual_download(str(caught.value))
    assert "\n" not in str(caught.value)


def test_the_proxies_of_the_environment_are_used(server, monkeypatch):
    host = PUBLISHED["vgg19"].url.split("/")[2]
    published = PUBLISHED["vgg19"]
    elsewhere = Published("http://weights.invalid/keras.h5", published.md5)
    monkeypatch.setitem(PUBLISHED, "vgg19", elsewhere)
    monkeypatch.setenv("http_proxy", f"http://{host}")
    assert fetch("vgg19", say=lambda _: None).name == "vgg19"


def test_the_published_files_are_those_of_keras_applications():
    assert {name: published.md5 for name, published in PUBLISHED.items()} == {
        "vgg16": "6d6bbae143d832006294945121d1f1fc",
        "vgg19": "253f8cb515780f3b799900260a226db6",
    }
    for name, published in PUBLISHED.items():
        assert published.url.startswith("https://")
        assert published.url.endswith(f"/{name}_weights_tf_dim_ordering_tf_kernels_notop.h5")


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="vgg11: cannot be fetched; choose one of vgg16, vgg19"):
        fetch("vgg11")
