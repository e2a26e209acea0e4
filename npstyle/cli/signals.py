"""The signals that end a run: it keeps the best picture, as after Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = ("SIGTERM", "SIGHUP")
"""A request to end, and a terminal that was closed. Windows has no SIGHUP."""


@contextmanager
def ending_signals() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP act as Ctrl-C does; yields a list whose last item is the signal.

    A signal that is ignored stays ignored: `nohup` ignores SIGHUP.
    """
    received: list[int] = [signal.SIGINT]

    def interrupt(number: int, _frame: object) -> None:
        received.append(number)
        signal.raise_signal(signal.SIGINT)

    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    before = {
        number: signal.signal(number, interrupt)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
