import sys

import pytest

from npstyle import maths
from npstyle.atlas.chapters import linker, make_page, number, table_of_contents
from npstyle.lab.battery import CHAPTERS


def entry(file):
    return next(entry for entry in table_of_contents() if entry.file == file)


def test_the_contents_follow_the_textbook_and_end_with_the_engine():
    files = [entry.file for entry in table_of_contents()]
    order = [f"{name}.html" for name in ("preprocessing", "conv", "relu", "gram", "style")]
    assert [file for file in files if file in order] == order
    assert files[-2:] == ["winograd.html", "tiles.html"]
    assert len(set(files)) == len(files)


def test_a_page_has_a_title_and_a_first_sentence():
    assert entry("conv.html").title == "Convolution"
    assert entry("conv.html").lead == "Each output is a weighted sum of the inputs under a window."
    assert (entry("relu.html").title, entry("relu.html").lead) == (
        "The rectified linear unit",
        "What is negative becomes 0.",
    )


def test_names_of_the_code_lead_to_their_pages():
    link = linker(table_of_contents())
    assert link("conv2d_backward") == "conv.html#conv2d_backward"
    assert link("npstyle.maths.gram") == "gram.html"
    assert link("nothing") is None


def test_a_page_shows_what_the_checks_found_when_it_was_made():
    page = make_page(entry("relu.html"), lambda name: None)
    assert page.passed
    assert [proof.name for proof in page.proofs] == ["relu", "relu6"]
    assert {mistake.name for mistake in page.mistakes} == {
        "relu_mask_forgotten",
        "relu_mask_of_the_upstream_gradient",
    }
    assert all(mistake.caught for mistake in page.mistakes)
    assert "cpu relu" in [function for function, _, _ in page.agreements]
    assert [example.name for example, _ in page.examples] == ["relu"]


def test_a_wrong_derivative_in_the_textbook_would_be_shown(monkeypatch):
    monkeypatch.setattr(
        sys.modules["npstyle.maths"], "sigmoid_backward", lambda g, Y: 2 * g * Y * (1 - Y)
    )
    page = make_page(entry("sigmoid.html"), lambda name: None)
    assert maths.sigmoid_backward(1.0, 0.5) == 0.5
    assert not page.passed
    assert not page.proofs[0].passed
    assert CHAPTERS["sigmoid"].functions[1] is not maths.sigmoid_backward


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (3.2e-11, "3·10⁻¹¹"), (0.5, "5·10⁻¹")])
def test_an_error_is_written_in_a_few_letters(value, text):
    assert number(value) == text
