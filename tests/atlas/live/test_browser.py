"""The live page in a real browser: Playwright, driving Chromium."""

import pytest

from npstyle.images.read import load_image, read_settings
from tests.atlas.live.runs import WAIT, live_run, needs_live, order

pytestmark = needs_live


@pytest.fixture(params=["light", "dark"])
def page(browser, request):
    """A page of 390 pixels' width that fails the test if it reports an error or goes elsewhere."""
    width = {"light": 390, "dark": 1200}[request.param]
    context = browser.new_context(
        color_scheme=request.param, viewport={"width": width, "height": 844}
    )
    page = context.new_page()
    page.set_default_timeout(1000 * WAIT)
    problems, addresses = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda asked: addresses.append(asked.url))
    yield page
    context.close()
    assert problems == []
    assert all(url.startswith(("http://127.0.0.1:", "data:")) for url in addresses)


def open_paused(page, address):
    """Open the page of a run that waits after its first step: it may be quicker than a browser."""
    order(address, "pause")
    page.goto(address)
    page.wait_for_selector("#now", state="visible")


def test_the_page_follows_a_run_to_its_end(page, tmp_path):
    with live_run(tmp_path) as (process, address):
        open_paused(page, address)
        page.click("#pause")
        page.wait_for_selector("body[data-state=ended]")
        assert process.wait(WAIT) == 0
    assert page.text_content("#state").startswith("Ended: 30 iterations, loss")
    assert page.text_content("#step") == "30 of 30"
    assert page.locator("#chart path").count() == page.locator("#legend li").count() == 7
    loss = page.get_attribute("#chart [data-term=loss]", "d")
    assert loss.count("L") == 29
    shown = page.evaluate("[now.naturalWidth, now.naturalHeight, before.naturalWidth]")
    assert shown == [64, 48, 64]
    assert page.is_disabled("#stop")
    # Nothing is wider than the window.
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert "photo.png" in page.text_content("h1")


def test_the_slider_uncovers_the_photo(page, tmp_path):
    visible = "getComputedStyle(before).clipPath"
    with live_run(tmp_path) as (_, address):
        open_paused(page, address)
        assert "100%" in page.evaluate(visible)
        page.locator("#cut").fill("60")
        assert "40%" in page.evaluate(visible)
        page.close()


def test_pause_resume_and_stop_are_buttons(page, tmp_path):
    page.on("dialog", lambda dialog: dialog.accept())
    with live_run(tmp_path, iterations=100_000) as (process, address):
        open_paused(page, address)
        assert page.text_content("#pause") == "Resume"
        page.click("#pause")
        page.wait_for_selector("body[data-state=running]")
        page.click("#stop")
        page.wait_for_selector("body[data-state=ended]")
        assert process.wait(WAIT) == 130
    assert "kept the best picture" in page.text_content("#state")
    assert load_image(tmp_path / "out.png").shape == (48, 64, 3)
    assert read_settings(tmp_path / "out.png")["stopped"] == "interrupted"


def test_a_closed_page_does_not_touch_the_run(page, tmp_path):
    with live_run(tmp_path) as (process, address):
        open_paused(page, address)
        page.click("#pause")
        page.wait_for_selector("body[data-state=running]")
        page.close()
        assert process.wait(WAIT) == 0
    assert read_settings(tmp_path / "out.png")["iterations_done"] == 30
