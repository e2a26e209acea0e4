import importlib
import inspect
import re
from pathlib import Path

import pytest

pytest.importorskip("latex2mathml", reason="the atlas needs the extra `atlas`")

import npstyle.maths
from npstyle.atlas.docstrings import blocks, inline
from npstyle.atlas.formulas import FormulaError, to_latex, to_mathml
from npstyle.lab.battery import CHAPTERS

TEXTBOOK = [
    f"npstyle.maths.{path.stem}"
    for path in sorted(Path(npstyle.maths.__file__).parent.glob("*.py"))
    if path.stem not in ("__init__", "array")
]
EXPLAINED = sorted({f.__module__ for chapter in CHAPTERS.values() for f in chapter.functions})
MODULES = sorted({*TEXTBOOK, *EXPLAINED})


def derivation(name):
    return inspect.getdoc(importlib.import_module(name))


@pytest.mark.parametrize("name", MODULES)
def test_every_formula_of_a_derivation_becomes_mathml(name):
    for block in blocks(derivation(name)):
        if block.kind == "formulas":
            for line in block.lines:
                made = to_mathml(line)
                assert made.startswith("<math")
                assert not re.search(r"<m[io][^>]*>[\\_^]", made), line


@pytest.mark.parametrize("name", MODULES)
def test_no_symbol_of_the_text_stays_plain(name):
    for block in blocks(derivation(name)):
        if block.kind in ("text", "heading", "statement"):
            made = inline(" ".join(block.lines))
            plain = re.sub(r"<(math|code).*?</\1>|\"[^\"]*\"", "", made)
            assert not re.search(r"[A-Za-z]_[a-z0-9]\b|\^|d[A-Z]/d[A-Z]", plain), plain


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_derivation_shows_formulas(name):
    kinds = [block.kind for block in blocks(derivation(name))]
    assert "formulas" in kinds
    assert kinds[0] == "text"


@pytest.mark.parametrize(
    ("formula", "latex"),
    [
        ("G_ij = sum_k F_ik F_jk", r"G_{i j}= \sum_{k}F_{i k}\, F_{j k}"),
        ("dL/dX[u, v]", r"\frac{\partial L}{\partial X[u, v]}"),
        ("1/(2 s) (x - m)^2", r"\frac{1}{2\, s}\, (x- m)^{2}"),
        ("X_(l-1)", r"X_{l- 1}"),
        ("(a + 1) / 2 / 3", r"\frac{\frac{a+ 1}{2}}{3}"),
        ("A^T c where F > 0, else 0", r"A^{\mathsf{T}}\, c\text{ where }F\gt 0, \text{ else }0"),
        ("max_{i, j} W_ij", r"\max_{i, j}W_{i j}"),
        ("min(|r|, sqrt(v + epsilon))", r"\min\left(\left|r\right|, \sqrt{v+ \epsilon }\right)"),
        ("sum of all x", r"\text{sum of all }x"),
        ("s x + j, N x M", r"s\, x+ j, N\times M"),
    ],
)
def test_the_notation_is_translated(formula, latex):
    assert to_latex(formula) == latex


def test_what_a_gap_separates_may_stand_on_several_lines():
    made = to_mathml("a = b      c    = d")
    assert made.count("<math") == made.count("</math>") == 2
    assert made.endswith(">c= d</annotation></semantics></math>")


@pytest.mark.parametrize("formula", ["(a + b", "a + b)", "x_(l-1", "ab + c", "1 /"])
def test_what_is_not_in_the_notation_is_refused(formula):
    with pytest.raises(FormulaError):
        to_latex(formula)


def test_fractions_in_a_sentence_stay_on_its_line():
    assert to_latex("1/(2 N) dL/dZ", flat=True) == (r"1 / (2\, N)\, \partial L / \partial Z")
    assert "mfrac" not in inline("a part of dL/dZ")


def test_a_formula_carries_its_latex():
    assert r'<annotation encoding="application/x-tex">F\gt 0</annotation>' in to_mathml("F > 0")


def test_articles_and_names_stay_text():
    made = inline("A value x_i enters a code of `conv2d`, and A has a row. The programs do it.")
    assert made.count("<math") == 2
    assert "A value <math" in made
    assert "<code>conv2d</code>" in made
    assert "programs do it" in made


@pytest.mark.parametrize("text", ["A Gram matrix is a sum", "a Hessian", "A ReLU changes nothing"])
def test_an_article_before_a_name_stays_text(text):
    assert "<math" not in inline(text)


@pytest.mark.parametrize("text", ["at row y, column x computes", "turns a photo x into a picture"])
def test_a_pixel_between_words_is_a_symbol_and_no_product(text):
    made = inline(text)
    assert "×" not in made
    assert "<mi>x</mi>" in made


def test_a_root_in_a_sentence_is_read():
    assert "<msqrt>" in inline("a frequency f = sqrt(u^2 + v^2) of a wave")


def test_numbered_steps_of_several_lines_are_a_list():
    (block,) = blocks("1. The first\n   goes on.\n2. The second.")
    assert block.kind == "steps"
    assert block.lines == ("1. The first goes on.", "2. The second.")


def test_brackets_and_sizes_in_a_sentence_are_read():
    made = inline("a gradient F^T (D + D^T), on height x width positions")
    assert made.count("<math") == 1
    assert "height × width" in made


def test_names_of_the_code_become_links():
    link = {"npstyle.maths.conv": "conv.html"}.get
    made = inline("see `npstyle.maths.conv` and `other`", link)
    assert '<a href="conv.html"><code>npstyle.maths.conv</code></a>' in made
    assert made.endswith("<code>other</code>")


def test_blocks_are_told_apart():
    text = (
        "A title.\n\nHead\n----\nSome text\nin two lines:\n\n    a = b\n        + c\n\n"
        "    1. first\n    2. second\n\n"
        "    every value is the same if the window lies in the picture, as a whole."
    )
    found = [(block.kind, block.lines) for block in blocks(text)]
    assert [kind for kind, _ in found] == [
        "text", "heading", "text", "formulas", "steps", "statement",
    ]  # fmt: skip
    assert found[3][1] == ("a = b", "    + c")
