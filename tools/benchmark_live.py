"""Measure how much a page of `npstyle transfer --live` slows a run.

    python tools/benchmark_live.py PHOTO PAINTING --network builtin --size 512

The same search runs in turn without a page, with a page that reads every event at once, and with a
page that reads nothing. The tool prints the seconds of each step (median over the steps, least over
the turns) and the processor time of the whole process. A page in a browser on the same machine also
needs the processor for itself; this is not measured here.
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

READS, SLEEPS, NONE = "a page that reads", "a page that does not", "no page"


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
    processor: dict[str, list[float]] = {}

    def measure(name: str, server: Server | None) -> None:
        times: list[float] = []

        def step(progress: Progress) -> None:
            if server is not None:
                server.feed.publish(progress, 0.0, 0.0)
                server.feed.wait(progress, print)
            times.append(time.perf_counter())

        start = time.process_time()
        transfer(arguments.photo, arguments.painting, arguments.network, settings, callback=step)
        processor.setdefault(name, []).append(time.process_time() - start)
        steps.setdefault(name, []).append(float(np.median(np.diff(times))))

    for _ in range(arguments.turns):
        measure(NONE, None)
        for name in (READS, SLEEPS):
            with (
                serving(arguments.photo, None, opens=False) as server,
                viewer(server, name == READS),
            ):
                measure(name, server)
    print(f"{'':<22}{'s/step':>9}{'ratio':>8}{'processor s':>14}{'ratio':>8}")
    for name in (NONE, READS, SLEEPS):
        step_time, whole = min(steps[name]), min(processor[name])
        ratios = step_time / min(steps[NONE]), whole / min(processor[NONE])
        print(f"{name:<22}{step_time:>9.4f}{ratios[0]:>8.3f}{whole:>14.2f}{ratios[1]:>8.3f}")


if __name__ == "__main__":
    run(main)
