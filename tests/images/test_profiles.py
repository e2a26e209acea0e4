"""Colour profiles are applied, or ignored with a warning."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from npstyle.errors import InputWarning
from npstyle.images.read import load_image
from tests.images.files import COLORS, linear_profile, write


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.png", "RGB"), ("a.jpg", "RGB"), ("a.webp", "RGB"), ("a.tif", "RGB")]
    + [("a.png", mode) for mode in ("L", "LA", "P", "RGBA", "I;16")],
)
def test_an_embedded_profile_is_converted_to_srgb_in_every_mode(tmp_path, name, mode):
    grey = Image.new("RGB", (2, 2), (55, 55, 55))
    if mode == "I;16":
        grey = Image.fromarray(np.full((2, 2), 55 * 257, np.uint16))
    image = grey.quantize() if mode == "P" else grey.convert(mode)
    path = write(tmp_path / name, image, icc_profile=linear_profile())
    # Linear 55/255 is 1.055 (55/255)^(1/2.4) - 0.055 in sRGB.
    expected = 255 * (1.055 * (55 / 255) ** (1 / 2.4) - 0.055)
    assert np.allclose(load_image(path), expected, atol=1.5)
    deep = np.full((2, 2, 3), 55 * 257, np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb", iccprofile=linear_profile())
    assert np.allclose(load_image(tmp_path / "deep.tif"), expected, atol=1.5)


def test_the_embedded_profile_does_not_change_the_opacity(tmp_path):
    half = Image.new("RGBA", (1, 1), (255, 0, 0, 51))
    path = write(tmp_path / "a.png", half, icc_profile=linear_profile())
    assert np.allclose(load_image(path), [[[255, 204, 204]]], atol=1)


def test_a_profile_for_other_colours_is_ignored_with_a_warning(tmp_path):
    cmyk = Image.fromarray(COLORS).convert("CMYK")
    path = write(tmp_path / "a.tif", cmyk, icc_profile=linear_profile())
    with pytest.warns(InputWarning, match=r"a\.tif: its colour profile"):
        assert np.abs(load_image(path) - COLORS).max() <= 2


def test_an_invalid_profile_is_ignored_with_a_warning(tmp_path):
    path = write(tmp_path / "a.png", Image.fromarray(COLORS), icc_profile=b"not a profile")
    with pytest.warns(InputWarning, match=r"a\.png: its colour profile"):
        assert np.array_equal(load_image(path), COLORS)
