"""The pictures as the page shows them: small, compressed, and only as many as time allows.

The server's thread computes on the cores that the run needs. Therefore it measures the processor
time of each picture and leaves at least `1 / SHARE` times as much until the next one. A picture of
512 pixels takes a few milliseconds, so the page gets `1 / PICTURE_SECONDS` of them a second; a very
large one takes longer and comes less often.
"""

import time
from collections.abc import Callable
from pathlib import Path

from npstyle.atlas.live.feed import Feed
from npstyle.errors import InputError
from npstyle.images.read import image_size, load_image
from npstyle.images.write import data_address

PICTURE_SECONDS = 0.5
"""Shortest time between two pictures, in seconds."""

SHARE = 0.01
"""Largest share of one core's time that is spent on pictures."""

SIDE = 1024
"""Longest side of a picture on the page, in pixels."""


class ShownPictures:
    """The newest picture of a run, and the photo before it, as data addresses.

    Attributes
    ----------
    number : int
        Number of pictures so far; 0 if there is none yet.
    data : str
        The newest.
    """

    def __init__(
        self, feed: Feed, photo: Path, clock: Callable[[], float] = time.thread_time
    ) -> None:
        self.number = 0
        self.data = ""
        self._feed = feed
        self._photo = photo
        self._clock = clock
        self._before: str | None = None
        self._due = 0.0

    @property
    def before(self) -> str:
        """The photo; empty if it cannot be read."""
        if self._before is None:
            try:
                side = min(SIDE, max(image_size(self._photo)))
                self._before = data_address(load_image(self._photo, side), SIDE)
            except InputError:  # the run refuses it, too, and says why
                self._before = ""
        return self._before

    def refresh(self) -> None:
        """Compress a picture that the run has left, and ask for the next when it is due."""
        picture = self._feed.take_picture()
        if picture is not None:
            start = self._clock()
            self.data = data_address(picture(), SIDE)
            self.number += 1
            seconds = (self._clock() - start) / SHARE
            self._due = time.monotonic() + max(PICTURE_SECONDS, seconds)
        if time.monotonic() >= self._due:
            self._feed.ask_for_picture()
