"""Threads that wait for work while a network runs.

A layer of a narrow network takes a millisecond, and a thread is called for each. A call goes
through one queue of the interpreter's own, and the caller cancels calls that have not begun by the
time it has finished the work itself. (`concurrent.futures` does the same with more locks.)
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread


class Call:
    """One call of a function, which one thread of a pool may take."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work: Callable[[], None] | None = work
        self._begun = Lock()
        self._finished: SimpleQueue[BaseException | None] = SimpleQueue()

    def run(self) -> None:
        """Run the function, unless the call was cancelled."""
        if not self._begun.acquire(blocking=False):
            return
        work, self._work = self._work, None
        error = None
        try:
            assert work is not None
            work()
        except BaseException as raised:
            error = raised
        del work  # and with it its arrays, before the caller learns that it has finished
        self._finished.put(error)

    def settle(self) -> None:
        """Cancel the call if it has not begun; else wait, and raise what the function raised."""
        if self._begun.acquire(blocking=False):
            self._work = None
            return
        error = self._finished.get()
        if error is not None:
            raise error


class ThreadPool:
    """Threads that take calls in order; to be closed after use.

    Parameters
    ----------
    count : int
        Number of threads.
    """

    def __init__(self, count: int) -> None:
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._threads = [Thread(target=self._serve, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def call(self, work: Callable[[], None]) -> Call:
        """Queue a call of `work`; the caller must `settle` what is returned."""
        call = Call(work)
        self._calls.put(call)
        return call

    def close(self) -> None:
        """End the threads once the queued calls are done."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
            del call  # or the thread would hold the call's arrays while it waits
