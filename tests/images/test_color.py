import numpy as np
import pytest

from npstyle.images.color import (
    grey,
    luminance,
    match_colors,
    match_luminance,
    put_back_chroma,
)


@pytest.fixture
def photo(rng):
    mixed = rng.standard_normal((40, 50, 3)) @ np.diag([20.0, 9.0, 4.0]) @ random_rotation(rng)
    return np.clip(mixed + np.array([120, 130, 140]), 0, 255)


@pytest.fixture
def painting(rng):
    mixed = rng.standard_normal((30, 70, 3)) @ np.diag([12.0, 8.0, 5.0]) @ random_rotation(rng)
    return mixed + np.array([90, 140, 110])


def random_rotation(rng):
    return np.linalg.qr(rng.standard_normal((3, 3)))[0]


def test_grey_pictures_have_the_given_luminance(photo):
    plane = luminance(photo)
    assert luminance(grey(plane)) == pytest.approx(plane)


def test_matched_colors_have_the_photos_mean_and_covariance(painting, photo):
    matched = match_colors(painting, photo).reshape(-1, 3)
    target = photo.reshape(-1, 3)
    assert matched.mean(axis=0) == pytest.approx(target.mean(axis=0), rel=1e-9)
    assert np.cov(matched.T) == pytest.approx(np.cov(target.T), rel=1e-3)


def test_matching_colors_to_themselves_changes_nothing(photo):
    assert match_colors(photo, photo) == pytest.approx(photo, abs=1e-6)


def test_matching_a_grey_painting_stays_finite(photo, rng):
    matched = match_colors(grey(rng.uniform(0, 255, (20, 20))), photo)
    assert np.all(np.isfinite(matched))
    assert match_colors(np.full((5, 5, 3), 9.0), photo) == pytest.approx(
        np.broadcast_to(photo.mean(axis=(0, 1)), (5, 5, 3))
    )


def test_matched_luminance_has_the_photos_mean_and_standard_deviation(painting, photo):
    matched, target = luminance(match_luminance(painting, photo)), luminance(photo)
    assert matched.mean() == pytest.approx(target.mean(), rel=1e-9)
    assert matched.std() == pytest.approx(target.std(), rel=1e-9)
    flat = match_luminance(np.full((5, 5, 3), 9.0), photo)
    assert flat == pytest.approx(np.full((5, 5, 3), target.mean()))


def test_put_back_chroma_keeps_the_photos_chroma_and_the_pictures_luminance(photo, rng):
    picture = rng.uniform(0, 255, photo.shape)
    result = put_back_chroma(picture, photo)
    assert result.min() >= -1e-9
    assert result.max() <= 255 + 1e-9
    own = result - luminance(result)[:, :, np.newaxis]
    assert own == pytest.approx(photo - luminance(photo)[:, :, np.newaxis], abs=1e-9)
    gentle = 0.9 * photo + 0.1 * 127
    assert luminance(put_back_chroma(gentle, photo)) == pytest.approx(luminance(gentle), abs=1e-9)
