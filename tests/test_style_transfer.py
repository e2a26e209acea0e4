from dataclasses import replace

import numpy as np
import pytest

from npstyle import backend
from npstyle.demo import draw_painting, draw_photo
from npstyle.errors import InputError
from npstyle.image import load_image, save_image
from npstyle.network import load_network
from npstyle.presets import PRESETS, Settings
from npstyle.style_transfer import starting_picture, transfer

QUICK = Settings(size=48, iterations=15)


@pytest.fixture(scope="module")
def pictures():
    return draw_photo(36, 48), draw_painting(40, 60)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("init", ["content", "noise", "style"])
def test_every_preset_and_start_lowers_its_loss(pictures, preset, init):
    settings = replace(PRESETS[preset], size=48, iterations=8, init=init)
    losses = []
    done = transfer(
        *pictures, "builtin", settings, callback=lambda progress: losses.append(progress.loss)
    )
    assert done.result.loss < losses[0]
    assert done.result.image.shape == (36, 48, 3)
    assert done.result.image.min() >= 0
    assert done.result.image.max() <= 255


def test_paths_arrays_and_a_loaded_network_give_the_same_bits(pictures, tmp_path):
    photo, painting = tmp_path / "photo.png", tmp_path / "painting.png"
    for path, pixels in zip((photo, painting), pictures, strict=True):
        save_image(path, pixels)
    from_paths = transfer(photo, painting, "builtin", QUICK, threads=1)
    arrays = load_image(photo), load_image(painting)
    from_arrays = transfer(*arrays, load_network("builtin"), QUICK, threads=2)
    assert np.array_equal(from_paths.result.image, from_arrays.result.image)


def test_the_painting_is_scaled_to_the_longest_side_times_style_scale(pictures):
    plans = []
    settings = replace(QUICK, style_scale=1.5, iterations=1)
    transfer(*pictures, "builtin", settings, announce=plans.append)
    assert plans[0].photo_size == (36, 48)
    assert plans[0].painting_size == (48, 72)


def test_the_seed_decides_the_noise_and_nothing_else(pictures):
    noise = replace(QUICK, init="noise")
    first, again, other = (starting_picture(replace(noise, seed=s), *pictures) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    for seed in (1, 2):
        assert starting_picture(replace(QUICK, seed=seed), *pictures) is pictures[0]


def test_a_file_to_start_from_is_brought_to_the_photos_size(pictures, tmp_path):
    save_image(tmp_path / "start.png", np.full((9, 20, 3), 80.0))
    start = starting_picture(replace(QUICK, init=str(tmp_path / "start.png")), *pictures)
    assert np.array_equal(start, np.full((36, 48, 3), 80.0))


def test_the_record_holds_every_setting_and_the_outcome(pictures):
    done = transfer(*pictures, "builtin", QUICK)
    record = done.record
    for name in ("preset", "size", "pooling", "style_weight", "seed", "dtype", "iterations"):
        assert record[name] == getattr(QUICK, name)
    assert len(record["network_sha256"]) == 64
    assert record["loss"] == done.result.loss
    assert record["stopped"] == "iterations"
    assert record["npstyle"]


def test_what_does_not_fit_in_memory_is_refused_with_a_size_that_fits(pictures, monkeypatch):
    monkeypatch.setattr(backend, "available_memory", lambda: 60_000_000)
    big = replace(QUICK, size=1024, iterations=1)
    with pytest.raises(InputError, match=r"--size 1024: .* GB of memory .* use --size (\d+)") as e:
        transfer(*pictures, "builtin", big)
    size = int(str(e.value).split("--size ")[2].split()[0])
    transfer(*pictures, "builtin", replace(big, size=size))


def test_interruption_ends_with_the_best_picture(pictures):
    def interrupt(progress):
        if progress.iteration == 3:
            raise KeyboardInterrupt

    done = transfer(*pictures, "builtin", QUICK, callback=interrupt)
    assert done.result.stopped == done.record["stopped"] == "interrupted"
    assert done.result.iterations == 3
    assert not np.array_equal(done.result.image, pictures[0])


@pytest.mark.parametrize(
    ("photo", "says"),
    [
        (np.zeros((5, 5)), "height, width, 3"),
        (np.full((5, 5, 3), np.nan), "NaN"),
        (np.zeros((0, 5, 3)), "height, width, 3"),
    ],
)
def test_a_bad_array_is_named(pictures, photo, says):
    with pytest.raises(InputError, match=says):
        transfer(photo, pictures[1], "builtin", QUICK)


def test_a_size_too_small_for_the_deepest_layer_is_named(pictures):
    with pytest.raises(InputError, match=r"too small for layer pool\d.*--size"):
        transfer(*pictures, "builtin", replace(QUICK, size=12))
