import base64
import io
import re

import numpy as np
from PIL import Image

from npstyle.engine.losses import Evaluation
from npstyle.images.write import data_address
from npstyle.run.notebook import SIDE, table, transfer_html
from npstyle.run.transfer import Transfer
from npstyle.search.optimize import Result


def embedded(html):
    data = re.search(r"data:image/jpeg;base64,([^\"]+)", html)[1]
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_transfer_shows_its_picture_small_with_terms_and_settings():
    pixels = np.full((900, 1200, 3), 40.0)
    result = Result(pixels, 5.0, {"style <b>": 5.0}, 3, 4, "converged")
    html = transfer_html(Transfer(result, {"seed": 7, "blend": (3.0, 7.0), "parts": {}}))
    picture = embedded(html)
    assert picture.size == (SIDE, SIDE * 3 // 4)
    assert np.abs(np.asarray(picture, float) - 40).max() < 3
    assert "<td>style &lt;b&gt;</td><td>5</td>" in html
    assert "<td>blend</td><td>3, 7</td>" in html
    assert "3 iterations, 4 evaluations, ended by: converged" in html
    assert "http" not in html


def test_a_transfer_prints_as_one_line():
    done = Transfer(Result(np.zeros((30, 40, 3)), 5.0, {}, 3, 4, "converged"), {})
    assert repr(done) == (
        "Transfer: 40x30 pixels, 3 iterations, 4 evaluations, loss 5, ended by: converged"
    )


def test_an_evaluation_shows_its_terms_and_the_size_of_the_gradient():
    gradient = np.zeros((1, 4, 1))
    gradient[0, 0] = -4.0
    html = Evaluation(3.0, gradient, {"tv": 1.5})._repr_html_()
    assert "<td>tv</td><td>1.5</td>" in html
    assert "<td>gradient, root mean square</td><td>2</td>" in html
    assert "<td>gradient, largest</td><td>4</td>" in html


def test_a_table_escapes_its_texts():
    assert table([["<i>"]], ["&"]) == (
        "<table><tr><th>&amp;</th></tr><tr><td>&lt;i&gt;</td></tr></table>"
    )


def test_pixels_outside_the_range_are_clipped():
    picture = embedded(data_address(np.full((8, 8, 3), 300.0), 8) + '"')
    assert np.asarray(picture).min() > 250
