from dataclasses import replace

import numpy as np
import pytest

from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.write import save_image
from npstyle.run.settings import Settings
from npstyle.run.start import starting_picture

PICTURES = draw_photo(36, 48), draw_painting(40, 60)
SETTINGS = Settings(size=48)


def test_the_seed_determines_the_noise_and_nothing_else():
    noise = replace(SETTINGS, init="noise")
    first, again, other = (starting_picture(replace(noise, seed=s), *PICTURES) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    for seed in (1, 2):
        assert starting_picture(replace(SETTINGS, seed=seed), *PICTURES) is PICTURES[0]


def test_a_file_to_start_from_is_resized_to_the_photo(tmp_path):
    save_image(tmp_path / "start.png", np.full((9, 20, 3), 80.0))
    start = starting_picture(replace(SETTINGS, init=str(tmp_path / "start.png")), *PICTURES)
    assert np.array_equal(start, np.full((36, 48, 3), 80.0))


def test_style_stats_is_noise_in_the_paintings_colors():
    painting = 60 + 0.5 * PICTURES[1]  # away from the bounds 0 and 255
    start = starting_picture(replace(SETTINGS, init="style-stats"), PICTURES[0], painting)
    colors, target = start.reshape(-1, 3), painting.reshape(-1, 3)
    assert colors.mean(axis=0) == pytest.approx(target.mean(axis=0), abs=4)
    assert np.cov(colors.T) == pytest.approx(np.cov(target.T), rel=0.2, abs=60)
    neighbours = np.corrcoef(start[:, 1:, 0].ravel(), start[:, :-1, 0].ravel())[0, 1]
    assert abs(neighbours) < 0.1
