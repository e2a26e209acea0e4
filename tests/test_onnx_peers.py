"""The style networks of the package against onnxruntime on the published graphs."""

import numpy as np
import pytest

reason = "onnxruntime is not installed; pip install -e '.[peers]' to compare with it"
pytest.importorskip("onnx", reason=reason)
pytest.importorskip("onnxruntime", reason=reason)

from npstyle.images.read import load_image
from npstyle.images.resize import resize
from npstyle.onepass.styles import load_named
from npstyle.onepass.stylize import bind_style_network, paint, read_code
from tests.onnx_peer import published, run, session, without_rounding

pytestmark = pytest.mark.peers

BOUND = 1e-4
"""Largest difference anywhere, of outputs 0..1."""

ROUNDING = 0.035
"""Mean difference that rounding every activation to 8 bits makes, in onnxruntime alone: 0.020 to
0.030 for the pictures that were tried."""


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "weights" / "onnx"


def picture(shared, name, size):
    return resize(load_image(shared / "images" / name), size)


@pytest.mark.parametrize("style", [0, 7, 13, 25])
def test_one_of_26_styles(shared, folder, style):
    photo = picture(shared, "tuebingen.jpg", (144, 192))
    code = np.eye(26, dtype=np.float32)[style]
    bound = bind_style_network(load_named("multistyle26"))
    image = (photo / 255).astype(np.float32).transpose(2, 0, 1)[None]
    expected = run(session(published(folder / "multistyle26.onnx")), image, code)
    found = paint(bound, photo, code) / 255
    assert np.abs(found - expected[0].transpose(1, 2, 0)).max() <= BOUND


@pytest.mark.parametrize("name", ["starry_night.jpg", "shipwreck.jpg"])
def test_any_painting(shared, folder, name):
    photo = picture(shared, "tuebingen.jpg", (144, 192))
    painting = picture(shared, name, (256, 256))
    bound = bind_style_network(load_named("any_style"))
    image, read = ((pixels / 255).astype(np.float32)[None] for pixels in (photo, painting))
    predict = published(folder / "arbitrary_predict.onnx")
    rounded = run(session(predict, optimized=False), read)
    expected = run(session(without_rounding(predict)), read)
    code = read_code(bound, painting)
    assert np.abs(code - expected.ravel()).max() <= BOUND
    transform = published(folder / "arbitrary_transform.onnx", photo.shape[:2])
    as_published = run(session(transform, optimized=False), image, rounded)[0]
    right = run(session(without_rounding(transform)), image, expected)[0]
    found = paint(bound, photo, code) / 255
    assert np.abs(found - right).max() <= BOUND
    assert np.abs(found - as_published).mean() <= ROUNDING
