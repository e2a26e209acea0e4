"""One small atlas for all tests of its pages, and a browser to open it with."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass
class Built:
    """An atlas, and what was announced while it was built."""

    folder: Path
    announced: list = field(default_factory=list)

    @property
    def pages(self):
        return sorted(self.folder.glob("*.html"))


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    for package in ("jinja2", "latex2mathml", "matplotlib", "pygments"):
        pytest.importorskip(package, reason="the atlas needs the extra `atlas`")
    from npstyle.atlas.pair import demo_pair
    from npstyle.atlas.site import build
    from npstyle.networks.network import load_network

    made = Built(tmp_path_factory.mktemp("site") / "atlas")
    announce = lambda *step: made.announced.append(step)  # noqa: E731
    build(made.folder, demo_pair(64), load_network("builtin"), announce, iterations=3)
    return made


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_api.sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"there is no Chromium on this machine: {error.message.splitlines()[0]}")
        yield opened
        opened.close()
