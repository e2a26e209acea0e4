"""The pages of the atlas in a real browser, opened from the disk."""

import pytest

from npstyle.atlas.chapters import table_of_contents

FILES = [
    *(entry.file for entry in table_of_contents()),
    "index.html",
    "evaluation.html",
    "run.html",
]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}


@pytest.fixture
def opened(built, browser):
    """Opens a page; at the end there must be no error and no request to anywhere."""
    troubles, contexts = [], []

    def visit(file, viewport=DESK, **options):
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
        page.on(
            "request",
            lambda r: troubles.append(r.url) if not r.url.startswith(("file:", "data:")) else None,
        )
        page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
        page.goto((built.folder / file).as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not troubles


@pytest.mark.parametrize("file", FILES)
def test_a_page_loads_without_an_error_and_fits_a_phone(opened, file):
    page = opened(file, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("file", FILES)
def test_no_formula_is_cut_on_a_desk(opened, file):
    page = opened(file)
    cut = """[...document.querySelectorAll('.formula .shown')]
        .filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)"""
    assert page.evaluate(cut) == []


def test_formulas_are_drawn(opened):
    page = opened("style.html")
    boxes = [math.bounding_box() for math in page.locator(".formula math").all()]
    assert len(boxes) >= 5
    assert all(box["width"] > 20 and box["height"] > 10 for box in boxes)
    fraction, line = page.locator(".formula mfrac").first, page.locator("p").nth(1)
    assert fraction.bounding_box()["height"] > 1.3 * page.evaluate(
        "element => parseFloat(getComputedStyle(element).fontSize)", line.element_handle()
    )


def lit(page):
    return {e.get_attribute("id") for e in page.locator(".lit").all()}


def test_pointing_at_an_output_lights_the_inputs_that_made_it(opened):
    page = opened("conv.html")
    page.locator("#conv2d-y0").hover()
    assert lit(page) == {f"conv2d-x{k}" for k in (0, 1, 5, 6)}
    says = page.locator("#example-conv2d .says").inner_text()
    assert says.startswith("Z[0, 0] = ")
    assert says.endswith("= −3")


def test_pointing_at_a_gradient_lights_the_outputs_that_sent_it(opened):
    page = opened("conv.html")
    page.locator("#conv2d-dx0").hover()
    assert lit(page) == {"conv2d-dy6"}


def test_an_example_can_be_used_with_the_keyboard(opened):
    page = opened("pooling.html")
    page.locator("#max_pool2d-y0").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "max_pool2d-y1"
    assert lit(page) == {f"max_pool2d-x{k}" for k in (2, 3, 6, 7)}


def test_pointing_at_a_line_of_code_lights_its_formula(opened):
    page = opened("relu.html")
    page.locator(".line.linked").first.hover()
    assert "formula-1" in lit(page)


def test_the_colours_follow_the_system_and_the_button(opened):
    def paper(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = paper(opened("index.html", color_scheme="light"))
    page = opened("index.html", color_scheme="dark")
    assert paper(page) != light
    page.locator("#scheme").click()
    assert paper(page) == light


def test_the_receptive_fields_are_drawn_with_their_sizes(opened):
    page = opened("evaluation.html")
    widths = [r.bounding_box()["width"] for r in page.locator("#fields svg rect").all()]
    assert len(widths) >= 5
    assert widths == sorted(widths)
    assert widths[0] > 3
    assert widths[-1] > 10 * widths[0]


def test_pictures_are_shown(opened):
    page = opened("evaluation.html")
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


def test_a_box_of_the_diagram_leads_to_its_chapter(opened):
    page = opened("index.html")
    page.locator(".diagram a", has_text="Gram matrix").first.click()
    assert page.url.endswith("/gram.html")
