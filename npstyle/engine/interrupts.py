"""Ctrl-C while threads work, and the signals that act as Ctrl-C does.

An exception raised in the middle of a lock could leave the lock broken. So while `noted_interrupts`
is active, SIGINT only sets a flag. `npstyle.engine.threads.parallel_for` checks it between two
strips and raises KeyboardInterrupt. Code that waits for a GPU calls `raise_if_interrupted` itself.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENDING = ("SIGTERM", "SIGHUP")
"""A request to end, and a terminal that was closed. Windows has no SIGHUP."""

_interrupted = threading.Event()


@contextmanager
def noted_interrupts() -> Iterator[None]:
    """Let SIGINT set the flag. Python allows this in the main thread only; others do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda _number, _frame: _interrupted.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _interrupted.clear()


def is_interrupted() -> bool:
    """Whether Ctrl-C was pressed and not yet raised."""
    return _interrupted.is_set()


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed since `noted_interrupts` began."""
    if _interrupted.is_set():
        _interrupted.clear()
        raise KeyboardInterrupt


def ending_signals_interrupt(received: list[int]) -> dict[int, Any]:
    """Let SIGTERM and SIGHUP act as Ctrl-C does, from now on; returns the handlers before.

    A signal that is ignored stays ignored: `nohup` ignores SIGHUP.

    Parameters
    ----------
    received : list of int
        Each signal is appended.
    """

    def interrupt(number: int, _frame: object) -> None:
        received.append(number)
        signal.raise_signal(signal.SIGINT)

    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    return {
        number: signal.signal(number, interrupt)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }


@contextmanager
def ending_signals() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP act as Ctrl-C does; yields a list whose last item is the signal."""
    received: list[int] = [signal.SIGINT]
    before = ending_signals_interrupt(received)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
