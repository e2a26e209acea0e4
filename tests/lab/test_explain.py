import inspect

import pytest

from npstyle import maths
from npstyle.errors import InputError
from npstyle.lab.battery import CHAPTERS
from npstyle.lab.explain import chapters, explain


@pytest.mark.parametrize("name", chapters())
def test_a_chapter_shows_derivation_code_checks_and_agreement(name):
    """It also checks every derivative of the textbook with the default samples and directions."""
    found = explain(name)
    assert found.passed
    assert found.agreements
    assert found.reports
    for report in found.reports:
        assert {"coordinates", "directions", "taylor"} <= {o.method for o in report.outcomes}
        assert all(o.tolerance <= 1e-6 for o in report.outcomes if o.method == "coordinates")
    assert found.text == inspect.getdoc(CHAPTERS[name].module)
    for function in CHAPTERS[name].functions:
        assert f"def {function.__name__}(" in found.source
    for report in found.agreements:
        assert {outcome.method for outcome in report.outcomes} <= {"textbook", "equals whole"}
        assert report.outcomes[0].note.startswith(("agrees with", "equals"))


def test_every_function_of_the_textbook_is_in_a_chapter():
    explained = {function for chapter in CHAPTERS.values() for function in chapter.functions}
    functions = {getattr(maths, name) for name in maths.__all__ if name[0].islower()}
    assert functions <= explained


def test_an_unknown_chapter_is_refused_with_the_list():
    with pytest.raises(InputError, match=r"explain lstm: no such chapter; .*conv2d"):
        explain("lstm")


def test_a_chapter_shows_itself_as_text_and_as_html():
    found = explain("relu")
    text, html = repr(found), found._repr_html_()
    for part in ("def relu_backward(", "coordinates", "cpu "):
        assert part in text
    assert text.startswith(found.text)
    assert "relu_backward" in html
    assert "<td>coordinates</td>" in html
    assert "http" not in html.replace("https://arxiv.org", "")
