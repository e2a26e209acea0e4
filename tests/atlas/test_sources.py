import importlib
import inspect
import re

import pytest

pytest.importorskip("pygments", reason="the atlas needs the extra `atlas`")
pytest.importorskip("latex2mathml", reason="the atlas needs the extra `atlas`")

from npstyle import maths
from npstyle.atlas import sources
from npstyle.atlas.links import LINKS
from npstyle.atlas.sources import StaleLinkError, read_module
from tests.atlas.test_formulas import EXPLAINED

WITHOUT_FORMULA = {
    "_pool_backward",
    "backward",  # calls backward_everywhere
    "mean_gram_backward",
    "reflect_pad_backward",  # calls _collect
    "replicate_pad_backward",
}
"""Backward functions whose formula is computed by the function that they call."""


def read(name):
    return read_module(importlib.import_module(name), (), lambda name: None)


@pytest.mark.parametrize("name", LINKS)
def test_every_link_is_still_in_the_source(name):
    assert sum(len(formula.lines) for formula in read(name).formulas) >= len(LINKS[name])


@pytest.mark.parametrize("name", [n for n in EXPLAINED if n.startswith("npstyle.maths.")])
def test_every_derivative_is_linked_to_its_formula(name):
    for function in read(name).functions:
        if re.search(r"(?<!run_layer)_backward", function.name):
            linked = any(line.formulas for line in function.lines)
            assert linked or function.name in WITHOUT_FORMULA, function.name


def test_a_link_to_what_is_gone_is_refused(monkeypatch):
    for entry in [("return nothing", "F = max(Z, 0)"), ("return np.maximum", "F = min(Z, 0)")]:
        monkeypatch.setitem(LINKS, "npstyle.maths.relu", (entry,))
        with pytest.raises(StaleLinkError, match=r"npstyle\.maths\.relu"):
            read("npstyle.maths.relu")


def test_the_code_is_that_of_the_file_without_docstrings():
    [function] = [f for f in read("npstyle.maths.conv").functions if f.name == "conv2d"]
    source = inspect.getsource(inspect.getmodule(maths.conv2d)).splitlines()
    plain = [re.sub(r"<[^>]+>", "", line.html) for line in function.lines]
    for line, text in zip(function.lines, plain, strict=True):
        expected = source[line.number - 1]
        assert text.replace("&quot;", '"').replace("&#39;", "'").replace("&gt;", ">") == expected
    assert "Parameters" not in " ".join(plain)
    assert plain[-1].startswith("    return Z")
    assert "Parameters" in function.details


def test_formulas_are_numbered_on_from_the_module_before():
    module = sources.read_module(
        importlib.import_module("npstyle.maths.relu"), (), lambda name: None, 7
    )
    assert [formula.number for formula in module.formulas] == [7, 8, 9, 10]
