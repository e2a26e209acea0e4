"""Ctrl-C while threads work.

An exception raised in the middle of a lock could leave the lock broken. So while `noted_interrupts`
is active, SIGINT only sets a flag. `npstyle.engine.threads.parallel_for` checks it between two
strips and raises KeyboardInterrupt. Code that waits for a GPU calls `raise_if_interrupted` itself.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
