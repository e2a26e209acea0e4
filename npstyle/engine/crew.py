"""Threads that stand ready while a network runs.

A layer of a narrow network takes a millisecond, and a thread has to be called for each: a call goes
through one queue of the interpreter's own, and one that nobody has begun by the time the caller is
done with the work is taken back, not waited for. (`concurrent.futures` does the same with more
locks; on the built-in network at 256 pixels an evaluation takes 5 % longer with it.)
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread


class Call:
    """One call of a function by one thread of a crew, or by none."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work: Callable[[], None] | None = work
        self._begun = Lock()
        self._finished: SimpleQueue[BaseException | None] = SimpleQueue()

    def answer(self) -> None:
        """Run the function, unless the call has been taken back."""
        if not self._begun.acquire(blocking=False):
            return
        work, self._work = self._work, None
        error = None
        try:
            assert work is not None
            work()
        except BaseException as raised:
            error = raised
        del work  # and with it its arrays, before anybody hears that it has finished
        self._finished.put(error)

    def settle(self) -> None:
        """Take the call back if nobody has begun; else wait, and raise what the function raised."""
        if self._begun.acquire(blocking=False):
            self._work = None
            return
        error = self._finished.get()
        if error is not None:
            raise error


class Crew:
    """Threads that answer calls, first come, first served; to be closed after use.

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
        """Have one thread run `work` as soon as it can; `settle` what is returned."""
        call = Call(work)
        self._calls.put(call)
        return call

    def close(self) -> None:
        """Let the threads go when they are done."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call.answer()
            del call  # while the next one is waited for
