import signal
import threading
import time

import numpy as np
import pytest

from npstyle.atlas.live.feed import PAUSED, Feed
from npstyle.atlas.live.pictures import SHARE, ShownPictures
from npstyle.engine.interrupts import noted_interrupts
from npstyle.search.optimize import Progress


def step(iteration, value=100.0, **fields):
    image = np.full((6, 8, 3), value)
    return Progress(iteration, iteration + 1, 2.0, {"content conv": 2.0}, image, image, **fields)


def later(act, seconds=0.2):
    threading.Timer(seconds, act).start()


def refuse(_):
    raise AssertionError("nothing to say")


def test_a_picture_is_handed_over_only_if_asked_for_and_copied_only_then():
    feed, copies = Feed(), []

    def to_host(image):
        copies.append(image)
        return image

    feed.publish(step(1, to_host=to_host), 1.0, 2.0)
    assert feed.take_picture() is None
    assert not copies
    feed.ask_for_picture()
    feed.publish(step(2, 7.0, to_host=to_host, finished=lambda x: x + 1), 1.0, 2.0)
    feed.publish(step(3, 9.0, to_host=to_host), 1.0, 2.0)
    assert len(copies) == 1
    assert np.all(feed.take_picture()() == 8.0)
    assert feed.take_picture() is None


def test_every_step_is_a_point_and_the_state_follows_the_run():
    feed = Feed()
    assert feed.state == "reading"
    for k in (1, 2):
        feed.publish(step(k), 1.5, 60.0)
    assert feed.points == [(k, k + 1, 2.0, {"content conv": 2.0}) for k in (1, 2)]
    assert feed.state == "running"
    assert feed.status()["rate"] == 1.5
    assert feed.status()["left"] == 60.0
    feed.pause()
    assert feed.state == "paused"
    feed.end("done", np.zeros((2, 2, 3)))
    feed.end("something else")
    assert feed.state == "ended"
    assert feed.status()["ending"] == "done"
    assert feed.take_picture()().shape == (2, 2, 3)


def test_a_run_waits_until_it_is_resumed_and_learns_how_long():
    feed, said = Feed(), []
    assert feed.wait(step(1), refuse) < 0.1
    feed.pause()
    later(feed.resume)
    assert feed.wait(step(1), said.append) > 0.15
    assert said == [PAUSED]


def test_a_page_that_is_opened_during_a_pause_gets_the_picture():
    feed = Feed()
    feed.pause()
    later(feed.ask_for_picture)
    later(feed.resume, 0.6)
    feed.wait(step(1, 5.0), lambda _: None)
    assert np.all(feed.take_picture()() == 5.0)


@pytest.mark.parametrize("paused", [False, True])
def test_a_stop_is_a_keyboard_interrupt_also_during_a_pause(paused):
    feed = Feed()
    if paused:
        feed.pause()
        later(feed.stop)
    else:
        feed.stop()
    with pytest.raises(KeyboardInterrupt):
        feed.wait(step(1), lambda _: None)


@pytest.mark.parametrize("noted", [False, True], ids=["raised", "noted by the engine"])
def test_ctrl_c_ends_a_pause(noted):
    feed = Feed()
    feed.pause()
    main = threading.main_thread().ident
    later(lambda: signal.pthread_kill(main, signal.SIGINT))
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        if noted:
            with noted_interrupts():
                feed.wait(step(1), lambda _: None)
        else:
            feed.wait(step(1), lambda _: None)
    assert time.monotonic() - start > 0.1


def test_pictures_take_at_most_their_share_of_the_time(tmp_path):
    feed = Feed()
    clock = iter([0.0, 0.02])  # a picture takes 20 ms of the processor's time
    shown = ShownPictures(feed, tmp_path / "photo.png", lambda: next(clock))
    shown.refresh()
    feed.publish(step(1), 1.0, 1.0)
    before = time.monotonic()
    shown.refresh()
    assert shown.number == 1
    assert shown._due - before >= 0.02 / SHARE
    feed.publish(step(2), 1.0, 1.0)  # none is asked for before it is due
    assert feed.take_picture() is None


def test_a_photo_that_cannot_be_read_is_not_shown(tmp_path):
    assert ShownPictures(Feed(), tmp_path / "none.png").before == ""
