import re
from collections import Counter
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

import pytest
from PIL import Image

from npstyle.atlas import running, site
from npstyle.atlas.chapters import table_of_contents
from npstyle.atlas.docstrings import blocks
from npstyle.atlas.pair import demo_pair
from npstyle.atlas.site import build
from npstyle.errors import InputError
from npstyle.lab.battery import CHAPTERS
from npstyle.lab.mutations import MUTATIONS
from npstyle.networks.network import load_network
from npstyle.run.settings import Settings
from tests.atlas.test_formulas import derivation

VOID = {"meta", "link", "img", "br", "hr"}
MEGABYTES = 12


class Page(HTMLParser):
    """Collects the ids and addresses of a page; raises if its elements are not nested."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.images, self.tags = [], [], [], [], Counter()
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert len(given) == len(attributes), (tag, attributes)
        self.tags[tag] += 1
        self.ids += [given["id"]] if "id" in given else []
        self.addresses += [given[name] for name in ("href", "src") if name in given]
        if tag == "img":
            self.images.append(given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag


@pytest.fixture(scope="session")
def pages(built):
    return {path.name: Page(path.read_text(encoding="utf-8")) for path in built.pages}


def test_there_is_a_page_for_every_chapter(pages):
    files = {entry.file for entry in table_of_contents()}
    assert set(pages) == files | {"index.html", "evaluation.html", "run.html"}
    shown = [name for entry in table_of_contents() for name in entry.chapters]
    assert sorted(shown) == sorted(CHAPTERS)


def test_elements_are_nested_ids_differ_and_pictures_have_a_text(pages):
    for name, page in pages.items():
        assert page.tags["html"] == page.tags["main"] == page.tags["h1"] == 1, name
        assert len(set(page.ids)) == len(page.ids), name
        for image in page.images:
            assert image["alt"], name
            assert int(image["width"]) > 0, name


def test_every_link_leads_to_a_file_and_a_place_in_it(built, pages):
    for name, page in pages.items():
        for address in page.addresses:
            if address.startswith("data:"):
                continue
            file, place = urldefrag(unquote(address))
            assert (built.folder / (file or name)).is_file(), (name, address)
            if place:
                assert place in pages[file or name].ids, (name, address)


def test_nothing_is_loaded_from_anywhere_else(built):
    for path in built.folder.rglob("*"):
        if path.suffix in (".html", ".css", ".js", ".svg"):
            text = path.read_text(encoding="utf-8")
            for namespace in ("http://www.w3.org/2000/svg", "http://www.w3.org/1998/Math/MathML"):
                text = text.replace(namespace, "")
            assert not re.search(r"https?:|(?:src|href)=\"//|@import|url\((?!#)|fetch\(", text), (
                path.name
            )


@pytest.mark.parametrize("entry", table_of_contents(), ids=lambda entry: entry.file)
def test_a_chapter_shows_its_formulas_code_proof_and_mistakes(built, entry):
    text = (built.folder / entry.file).read_text(encoding="utf-8")
    lines = [
        line
        for module in entry.modules
        for block in blocks(derivation(module))
        if block.kind == "formulas"
        for line in block.lines
    ]
    assert text.count('<span class="shown"><math ') == len(lines)
    assert "All checks passed when this page was made." in text
    for name in entry.chapters:
        for function in CHAPTERS[name].functions:
            assert f'id="{function.__name__}"' in text
    mistakes = [m for m in MUTATIONS.values() if m.chapter in entry.chapters]
    assert text.count('class="mistake"') == len(mistakes)
    for found in re.findall(r'<div class="mistake">.*?</div>', text, re.S):
        assert "<dt>" in found  # caught by a method at least


def test_every_figure_is_shown_and_the_atlas_is_small(built, pages):
    shown = {urldefrag(address)[0] for page in pages.values() for address in page.addresses}
    files = [path.relative_to(built.folder) for path in (built.folder / "figures").iterdir()]
    assert len(files) > 100
    assert not {file.as_posix() for file in files} - shown
    size = sum(path.stat().st_size for path in built.folder.rglob("*") if path.is_file())
    assert size < MEGABYTES * 1e6


def test_every_drawing_is_a_file_in_both_formats(built):
    folder = built.folder / "figures"
    drawings = {path.stem for path in folder.glob("*.svg")}
    assert {
        "chain-rule",
        "receptive-fields",
        "run-losses",
        "run-spectrum",
        "style-taylor",
    } <= drawings
    shown = "".join(page.read_text(encoding="utf-8") for page in built.pages)
    assert shown.count('<figure class="drawing">') == len(drawings)
    for name in drawings:
        with Image.open(folder / f"{name}.png") as image:
            assert image.width == 1600
        for ending in ("svg", "png"):
            assert f'href="figures/{name}.{ending}"' in shown


def test_every_chapter_shows_that_the_engine_agrees_and_what_goes_wrong(built):
    for entry in table_of_contents():
        text = (built.folder / entry.file).read_text(encoding="utf-8")
        assert "The engine agrees" in text, entry.file
        assert text.count('class="mistake"') >= 2, entry.file
        assert 'class="line linked"' in text, entry.file


def test_an_evaluation_shows_every_layer_and_term(built):
    text = (built.folder / "evaluation.html").read_text(encoding="utf-8")
    for layer in ("relu1_1", "pool1", "relu3_4", "relu5_1"):
        assert f"figures/{layer}-mean.png" in text
        assert f"figures/{layer}-arriving.png" in text
    for term in ("content at relu4_2", "style at relu1_1", "style at relu5_1", "all terms"):
        assert term in text
    for of in ("photo", "painting", "picture"):
        assert f"figures/relu2_1-gram-{of}.png" in text


def test_progress_goes_from_the_start_to_the_end(built):
    done = [step[0] for step in built.announced]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == built.announced[-1][1]
    assert {step[2] for step in built.announced} >= {"one run", "one evaluation", "Convolution"}


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "latex2mathml", None)
    with pytest.raises(InputError, match=r"needs latex2mathml, .*pip install 'npstyle\[atlas\]'"):
        build(tmp_path / "atlas", demo_pair(64), load_network("builtin"))
    assert not list(tmp_path.iterdir())


def test_ctrl_c_in_the_run_ends_the_build(monkeypatch, tmp_path):
    class Done:
        class result:  # noqa: N801
            stopped = "interrupted"

    monkeypatch.setattr(running, "transfer", lambda *args, **keywords: Done)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "atlas", demo_pair(64), load_network("builtin"))
    assert not list(tmp_path.iterdir())


def test_the_steps_that_are_shown_end_with_the_last():
    assert running.steps_to_show(40) == (1, 2, 4, 8, 16, 32, 40)
    assert running.steps_to_show(1) == (1,)
    assert running.without_preconditioner(Settings()).precondition == "off"
    assert site.LOOKED_AT in running.steps_to_show(site.ITERATIONS)
