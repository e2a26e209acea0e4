"""The server of a run's page: Uvicorn in a daemon thread, with an event loop of its own."""

import os
import secrets
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from npstyle.atlas.live.app import Viewers, make_app
from npstyle.atlas.live.feed import Feed
from npstyle.errors import InputError

ADDRESS = "127.0.0.1"
"""The only address that the server listens on: other machines cannot reach it."""

FAREWELL_SECONDS = 2.0
"""Longest time that the end of a run waits for its pages to receive the last event, in seconds."""

ARRIVAL_SECONDS = 10.0
"""Longest time that a run which ended before its page was opened waits for it, in seconds."""

WAITING = f"waiting {ARRIVAL_SECONDS:.0f} s for the page to open and show the end; Ctrl-C stops"
"""What the terminal then says."""


class Server:
    """The server of one run's page.

    Parameters
    ----------
    feed : Feed
    photo : Path
        Shown as the picture before the run.
    port : int or None
        None: a free port.

    Attributes
    ----------
    address : str
        Address of the page, with the token.

    Raises
    ------
    InputError
        If the port cannot be used.
    """

    def __init__(self, feed: Feed, photo: Path, port: int | None) -> None:
        self.feed = feed
        self._socket = _listen(port)
        host = f"{ADDRESS}:{self._socket.getsockname()[1]}"
        token = secrets.token_urlsafe(16)
        self.address = f"http://{host}/{token}/"
        self._viewers = Viewers()
        self._server = uvicorn.Server(
            uvicorn.Config(
                make_app(feed, photo, token, host, self._viewers),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._serve, name="npstyle live", daemon=True)

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def wait_for_page(self, say: Callable[[str], None]) -> None:
        """Wait for the first page if the run has ended before it came; Ctrl-C ends the wait."""
        last = time.monotonic() + ARRIVAL_SECONDS
        is_early = self.feed.state == "ended" and self.feed.points and not self._viewers.has_been
        if not is_early:
            return
        say(WAITING)
        with suppress(KeyboardInterrupt):
            while self._thread.is_alive() and time.monotonic() < last:
                if self._viewers.has_been:
                    return
                time.sleep(0.02)

    def close(self) -> None:
        """Let the connected pages receive the last event, and end the thread."""
        last = time.monotonic() + FAREWELL_SECONDS
        while self._viewers.count and self._thread.is_alive() and time.monotonic() < last:
            time.sleep(0.02)
        self._server.should_exit = True
        self._thread.join(FAREWELL_SECONDS)
        self._socket.close()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self.feed.resume()  # without a server, a paused run could not go on


@contextmanager
def serving(
    photo: Path,
    port: int | None,
    opens: bool,
    say: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Server]:
    """Serve the page of a run, and tell it the end.

    Parameters
    ----------
    photo : Path
        Shown as the picture before the run.
    port : int or None
        None: a free port.
    opens : bool
        Whether to open the page in a browser.
    say : callable
        Called with `WAITING` if the run has ended before a page was opened.
    """
    server = Server(Feed(), photo, port)
    server.start()
    if opens and _has_display():
        # webbrowser may wait for the browser to end.
        threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
    try:
        yield server
        server.wait_for_page(say)
    except InputError as error:
        server.feed.end(str(error))
        raise
    finally:
        server.feed.end("the run ended without a picture; the terminal says why")
        server.close()


def _has_display() -> bool:
    """Whether a browser would open a window, rather than take over the terminal."""
    names = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in names)


def _listen(port: int | None) -> socket.socket:
    """Return a socket that listens on a port of this machine."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # a port is free again as soon as its last server has ended
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port or 0))
        listener.listen()
    except OSError as error:
        listener.close()
        raise InputError(
            f"--live-port {port}: the port cannot be used ({error.strerror}); choose another, or "
            "leave the option out"
        ) from error
    return listener
