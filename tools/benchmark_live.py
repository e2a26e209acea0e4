"""Measure how much a page of `npstyle transfer --live` slows a run.

    python tools/benchmark_live.py PHOTO PAINTING --network builtin --size 512

The same search runs in turns without a page, with a page that reads every event at once, and with a
page that reads nothing; each turn begins with another of them. The tool prints the seconds of each
step (median over the steps, least and median over the turns), and how much of the processor time of
the process the server's thread took. A page in a browser on the same machine also needs the
processor for itself; this is not measured here.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
from common import argument_parser, run

from npstyle.atlas.live.server import Server, serving
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer
from npstyle.search.optimize import Progress

WAYS = NONE, READS, SLEEPS = "no page", "a page that reads", "a page that does not"


@contextmanager
def viewer(server: Server, reads: bool) -> Iterator[None]:
    """Connect to the event stream, and read it in another thread or not at all."""
    parts = urlsplit(server.address)
    asked = f"GET {parts.path}events HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
        connection.sendall(asked.encode())
        if reads:
            threading.Thread(target=_drain, args=(connection,), daemon=True).start()
        yield


def server_seconds() -> float:
    """Return the processor time that the server's thread has taken; 0 without a server."""
    for thread in threading.enumerate():
        if thread.name == "npstyle live" and thread.ident is not None:
            return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return 0.0


def _drain(connection: socket.socket) -> None:
    try:
        while connection.recv(1 << 16):
            pass
    except OSError:  # closed at the end of the run
        pass


def main() -> None:
    """Read the options, measure, print a table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--size", type=int, default=512, help="(default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--turns", type=int, default=5, help="(default: %(default)s)")
    arguments = parser.parse_args()
    settings = Settings(init="content", size=arguments.size, iterations=arguments.iterations)
    steps: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}

    def measure(name: str, server: Server | None) -> None:
        times: list[float] = []

        def step(progress: Progress) -> None:
            if server is not None:
                server.feed.publish(progress, 0.0, 0.0)
                server.feed.wait(progress, print)
            times.append(time.perf_counter())

        start, served = time.process_time(), server_seconds()
        transfer(arguments.photo, arguments.painting, arguments.network, settings, callback=step)
        used = time.process_time() - start
        shares.setdefault(name, []).append((server_seconds() - served) / used)
        steps.setdefault(name, []).append(float(np.median(np.diff(times))))

    for turn in range(arguments.turns):
        for k in range(len(WAYS)):
            name = WAYS[(turn + k) % len(WAYS)]
            if name == NONE:
                measure(name, None)
                continue
            with (
                serving(arguments.photo, None, opens=False) as server,
                viewer(server, name == READS),
            ):
                measure(name, server)
    print(f"{'':<22}{'s/step, least':>14}{'ratio':>8}{'median':>10}{'ratio':>8}{'server':>9}")
    for name in WAYS:
        found = [(f(steps[name]), f(steps[name]) / f(steps[NONE])) for f in (min, np.median)]
        cells = "".join(
            f"{seconds:>{w}.4f}{ratio:>8.3f}"
            for w, (seconds, ratio) in zip((14, 10), found, strict=True)
        )
        print(f"{name:<22}{cells}{np.median(shares[name]):>9.2%}")


if __name__ == "__main__":
    run(main)
