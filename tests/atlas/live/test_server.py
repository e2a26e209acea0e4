import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from itertools import islice
from urllib.parse import urlsplit

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.images.read import read_settings
from npstyle.run.recording import Outputs
from npstyle.search.optimize import Progress
from tests.atlas.live.runs import WAIT, draw_pictures, events, live_run, needs_live, order

server = pytest.importorskip("npstyle.atlas.live.server", reason="needs the extra `live`")
pytestmark = needs_live


@pytest.fixture
def page(tmp_path):
    """The server of a page without a run."""
    draw_pictures(tmp_path)
    with server.serving(tmp_path / "photo.png", None, opens=False) as of_page:
        yield of_page


def answer(address, path, method="GET", **headers):
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=WAIT)
    connection.request(method, path, headers=headers)
    found = connection.getresponse()
    return found.status, found.read().decode(), found.headers


def test_only_the_token_and_the_own_host_are_answered(page):
    path, host = urlsplit(page.address).path, urlsplit(page.address).netloc
    status, text, headers = answer(page.address, path)
    assert status == 200
    assert "<!doctype html>" in text
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    token = path.strip("/")
    port = host.partition(":")[2]
    for wrong in ("/", "/page.js", "/events", "/favicon.ico", f"/{token[:-1]}/", f"/x/{token}/"):
        assert answer(page.address, wrong)[0] == 403, wrong
    for other in ("evil.example", f"evil.example:{port}", f"localhost:{port}", "127.0.0.1"):
        for method, file in (("GET", ""), ("GET", "events"), ("POST", "stop")):
            assert answer(page.address, path + file, method, Host=other)[0] == 403, other
    assert not page.feed.status()["stopping"]


def test_other_machines_cannot_connect(page):
    assert urlsplit(page.address).hostname == "127.0.0.1"
    assert page._socket.getsockname()[0] == "127.0.0.1"


def test_the_page_loads_nothing_from_elsewhere(page):
    path = urlsplit(page.address).path
    for file in ("", "page.css", "page.js", "chart.js"):
        status, text, headers = answer(page.address, path + file)
        assert status == 200
        outside = text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in outside
        assert "https:" not in outside
        kind = "text/javascript" if file.endswith("js") else "text/"
        assert headers["Content-Type"].startswith(kind)


def test_orders_are_posts_and_unknown_ones_are_refused(page):
    path = urlsplit(page.address).path
    assert answer(page.address, path + "pause")[0] == 405
    assert answer(page.address, path + "dance", "POST")[0] == 404
    assert page.feed.state == "reading"
    order(page.address, "pause")
    assert page.feed.state == "paused"
    order(page.address, "resume")
    order(page.address, "stop")
    assert page.feed.status()["stopping"]


def test_a_page_that_does_not_read_costs_the_run_nothing(page):
    """The run's share of the work: it leaves numbers and a reference, whoever reads them or not."""
    parts = urlsplit(page.address)
    image = np.random.default_rng(1).uniform(0, 255, (384, 512, 3))
    terms = {f"style conv{k}_1": 1.0 for k in range(9)}
    with socket.create_connection((parts.hostname, parts.port)) as slow:
        slow.sendall(f"GET {parts.path}events HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        spent = 0.0
        for k in range(1, 101):
            start = time.thread_time()
            progress = Progress(k, k, 1.0, terms, image, image)
            page.feed.publish(progress, 1.0, 1.0)
            page.feed.wait(progress, lambda _: None)
            spent += time.thread_time() - start
            time.sleep(0.02)
    # A step of 512 pixels takes the built-in network more than 100 ms; 2 % of that are 2 ms.
    assert spent / 100 < 0.002


def test_the_end_does_not_wait_for_a_page_that_does_not_read(tmp_path):
    draw_pictures(tmp_path)
    image = np.random.default_rng(1).uniform(0, 255, (1024, 1024, 3))
    with server.serving(tmp_path / "photo.png", None, opens=False) as page:
        parts = urlsplit(page.address)
        slow = socket.create_connection((parts.hostname, parts.port))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(f"GET {parts.path}events HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        assert slow.recv(10)
        page.feed.end("done", image)
        start = time.monotonic()
    assert time.monotonic() - start < 2 * server.FAREWELL_SECONDS + 2
    slow.close()


@contextmanager
def ended(tmp_path, said):
    """A run that ends after its first step, before its page is opened."""
    draw_pictures(tmp_path)
    with server.serving(tmp_path / "photo.png", None, opens=False, say=said.append) as page:
        one = np.zeros((2, 2, 3))
        page.feed.publish(Progress(1, 1, 1.0, {"tv": 0.0}, one, one), 1.0, 1.0)
        page.feed.end("done", one)
        yield page


def test_a_page_that_is_opened_after_the_end_shows_it(tmp_path):
    said, found = [], []
    with ended(tmp_path, said) as page:
        late = threading.Timer(0.5, lambda: found.extend(events(page.address)))
        late.start()
    late.join()
    assert said == [server.WAITING]
    assert [event["ending"] for event in found] == ["done"]
    assert found[0]["picture"].startswith("data:image/jpeg")


def test_the_wait_for_a_page_is_short_and_ctrl_c_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "ARRIVAL_SECONDS", 0.5)
    start = time.monotonic()
    with ended(tmp_path, []):
        pass
    assert 0.5 <= time.monotonic() - start < 4
    monkeypatch.setattr(server, "ARRIVAL_SECONDS", WAIT)
    main = threading.main_thread().ident
    with ended(tmp_path, []):
        threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    assert time.monotonic() - start < WAIT / 2


def test_nobody_waits_for_a_page_that_has_seen_the_end(tmp_path):
    said = []
    with ended(tmp_path, said) as page:
        assert list(events(page.address))[-1]["ending"] == "done"
    assert said == []


def test_events_follow_a_run_to_its_end(tmp_path):
    with live_run(tmp_path) as (process, address):
        found = list(events(address))
        _, errors = process.communicate(timeout=WAIT)
    assert process.returncode == 0, errors
    points = [point for event in found for point in event["points"]]
    assert [point[0] for point in points] == list(range(1, 31))
    for _, _, loss, terms in points:
        assert sum(terms.values()) == pytest.approx(loss)
    assert found[0]["before"].startswith("data:image/jpeg")
    assert found[-1]["picture"].startswith("data:image/jpeg")
    assert found[-1]["state"] == "ended"
    assert found[-1]["ending"].startswith("30 iterations, loss")
    assert found[-1]["ending"].endswith("wrote out.png")
    (facts,) = [event["facts"] for event in found if "facts" in event]
    assert facts["size"] == "64x48"
    assert facts["network"] == "builtin"
    assert facts["style_layers"].startswith("conv1_1:1, conv2_1:1")


def test_a_stop_keeps_the_picture_and_ends_as_ctrl_c_does(tmp_path):
    with live_run(tmp_path, iterations=100_000) as (process, address):
        for event in events(address):
            if event["points"]:
                order(address, "stop")
                break
        printed, errors = process.communicate(timeout=WAIT)
    assert process.returncode == 130, errors
    assert "kept the best picture" in printed
    settings = read_settings(tmp_path / "out.png")
    assert settings["stopped"] == "interrupted"
    assert 0 < settings["iterations_done"] < 100_000


def test_a_paused_run_stands_still_and_ctrl_c_still_ends_it(tmp_path):
    with live_run(tmp_path, iterations=100_000) as (process, address):
        stream = events(address)
        assert any(event["points"] for event in stream)
        order(address, "pause")
        # It pauses after the step that it was computing.
        resting = list(islice(stream, 7))[-3:]
        assert all(event["state"] == "paused" for event in resting)
        assert not any(event["points"] for event in resting)
        order(address, "resume")
        assert any(event["points"] for event in stream)
        order(address, "pause")
        stream.close()  # the page is closed
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=WAIT)
    assert process.returncode == 130, errors
    assert "paused on the page" in printed
    assert read_settings(tmp_path / "out.png")["stopped"] == "interrupted"


def npstyle(folder, *options):
    command = [sys.executable, "-m", "npstyle.cli", "transfer", "photo.png", "painting.png"]
    run = subprocess.run(
        [*command, *options], cwd=folder, capture_output=True, text=True, timeout=WAIT
    )
    return run.returncode, run.stdout, run.stderr


def test_a_port_in_use_is_refused_before_the_work_starts(tmp_path):
    draw_pictures(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, printed, errors = npstyle(tmp_path, "--live", "--no-open", "--live-port", str(port))
    assert code == 2
    assert printed == ""
    assert errors.startswith(f"npstyle: --live-port {port}: the port cannot be used")
    assert errors.count("\n") == 1


def test_a_missing_extra_is_named_with_its_mend(tmp_path, monkeypatch):
    from npstyle.atlas.live.page import live_page

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "npstyle.atlas.live.server")
    with pytest.raises(InputError, match=r"uvicorn is not installed; .*'npstyle\[live\]'"):
        live_page(tmp_path / "photo.png", None, False, print)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"live_port": 8000}, "--live-port: needs --live"),
        ({"no_open": True}, "--no-open: needs --live"),
        ({"live": True, "live_port": 80}, "from 1024 to 65535"),
        ({"live": True, "no_open": True, "quiet": True}, "leave one of them out"),
    ],
)
def test_options_that_no_page_could_use_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        Outputs(**options)


def test_an_event_is_json_for_a_browser(page):
    page.feed.publish(Progress(1, 1, 1.0, {"tv": 0.0}, np.zeros((2, 2, 3)), np.zeros(0)), 1.0, 1.0)
    page.feed.end("done")
    (event,) = events(page.address)
    assert json.loads(json.dumps(event, allow_nan=False)) == event
    assert event["points"] == [[1, 1, 1.0, {"tv": 0.0}]]
