"""Pictures are written whole, with their settings, or not at all."""

import os
import stat

import numpy as np
import pytest
import tifffile
from PIL import Image

from npstyle.errors import InputError
from npstyle.images.read import load_image, read_settings
from npstyle.images.resize import resize
from npstyle.images.write import check_output, save_image
from tests.images.files import COLORS


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"])
def test_every_format_keeps_the_settings_and_the_picture(rng, tmp_path, suffix):
    pixels = np.clip(resize(rng.uniform(0, 255, (6, 8, 3)), (48, 64)), 0, 255)
    settings = {"seed": 3, "photo": "Tübingen.jpg", "parts": {"tv": 0.5}}
    path = tmp_path / f"out{suffix}"
    save_image(path, pixels, settings)
    assert read_settings(path) == settings
    # JPEG and WebP are lossy.
    bound = {".png": 0.5, ".tif": 0.5 / 257, ".tiff": 0.5 / 257}.get(suffix, 25) + 1e-9
    assert np.abs(load_image(path) - pixels).max() <= bound


def test_tiff_has_16_bits_per_channel(rng, tmp_path):
    pixels = rng.uniform(0, 255, (5, 6, 3))
    save_image(tmp_path / "a.tif", pixels)
    deep = tifffile.imread(tmp_path / "a.tif")
    assert deep.dtype == np.uint16
    save_image(tmp_path / "bytes.tif", COLORS)
    assert np.array_equal(tifffile.imread(tmp_path / "bytes.tif"), COLORS * np.uint16(257))
    assert np.abs(deep / 257 - pixels).max() <= 0.5 / 257 + 1e-9


def test_jpeg_keeps_the_full_resolution_of_colours(tmp_path):
    save_image(tmp_path / "a.jpg", COLORS)
    with Image.open(tmp_path / "a.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3


def test_a_failed_write_leaves_the_old_picture_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save_image(path, COLORS)
    before = path.read_bytes()

    def fail(error):
        def replace(source, target):
            raise error

        monkeypatch.setattr(os, "replace", replace)

    fail(OSError(28, "No space left on device"))
    with pytest.raises(InputError, match=r"a\.png: cannot be written \(No space"):
        save_image(path, 255 - COLORS)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (before, ["a.png"])
    fail(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        save_image(path, 255 - COLORS)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (before, ["a.png"])


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_written_picture_has_the_permissions_of_any_new_file(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        save_image(tmp_path / "a.png", COLORS)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == mode


@pytest.mark.parametrize("check", [check_output, lambda path: save_image(path, COLORS)])
def test_a_path_that_cannot_be_written_is_refused_by_the_check_and_by_saving(
    tmp_path, monkeypatch, check
):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "locked").mkdir()
    unlocked = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: "locked" not in str(path) and unlocked(path, mode)
    )
    for name, sentence in (
        ("out.gif", r"out\.gif: the suffix \.gif cannot be written; use \.png, \.jpg"),
        ("out", "out: a name without a suffix"),
        ("folder.png", r"folder\.png: is a folder"),
        ("no/out.png", r"out\.png: the folder .*no does not exist"),
        ("locked/out.png", r"out\.png: the folder .*locked cannot be written to"),
    ):
        with pytest.raises(InputError, match=sentence):
            check(tmp_path / name)
    check(tmp_path / "out.PNG")


def test_pictures_and_settings_too_large_for_a_format_are_refused(tmp_path):
    for name, side in (("wide.webp", 16384), ("wide.jpg", 65501)):
        with pytest.raises(InputError, match=rf"{name}: the picture has {side}x1 pixels"):
            check_output(tmp_path / name, (1, side))
        with pytest.raises(InputError, match=rf"{name}: the picture has {side}x1 pixels"):
            save_image(tmp_path / name, np.zeros((1, side, 3)))
        save_image(tmp_path / name, np.zeros((1, side - 1, 3)))
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=r"long\.jpg: cannot be written as \.jpg"):
        save_image(tmp_path / "long.jpg", COLORS, {"text": "x" * 70_000})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4)), np.zeros((4, 4, 4)), np.full((1, 1, 3), np.nan)]
)
def test_arrays_that_are_not_pictures_are_not_written(tmp_path, pixels):
    with pytest.raises(InputError, match=r"a\.png: pixels must be"):
        save_image(tmp_path / "a.png", pixels)
    assert os.listdir(tmp_path) == []


def test_values_out_of_range_are_clipped_and_rounded(tmp_path):
    save_image(tmp_path / "a.png", np.array([[[-3.0, 300.0, 99.6]]]))
    assert np.array_equal(load_image(tmp_path / "a.png"), [[[0, 255, 100]]])
