from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from npstyle.engine import machine
from npstyle.errors import InputError
from npstyle.images.color import luminance
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.header import reading_bytes
from npstyle.images.read import load_image
from npstyle.images.resize import resize
from npstyle.images.write import save_image
from npstyle.networks.network import load_network
from npstyle.run import transfer as style_transfer
from npstyle.run.machine import Machine
from npstyle.run.pictures import Pictures
from npstyle.run.settings import ONE_PASS_ITERATIONS, PRESETS, Settings
from npstyle.run.stylize import stylize
from npstyle.run.transfer import (
    NORMALIZED_STYLE_FACTOR,
    losses_for,
    transfer,
    transfer_pictures,
)

QUICK = Settings(size=48, iterations=15)


@pytest.fixture(scope="module")
def pictures():
    return draw_photo(36, 48), draw_painting(40, 60)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("init", ["content", "one-pass", "noise", "style"])
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


def test_a_short_search_starts_from_the_photo_painted_in_one_pass_and_records_it(pictures):
    plans, states = [], []
    done = transfer_pictures(
        Pictures(pictures[0], (pictures[1],)),
        "builtin",
        replace(QUICK, iterations=1, optimizer="adam", adam_step=0.01),
        Machine(),
        announce=plans.append,
        keep=states.append,
    )
    assert plans[0].settings.init == done.record["init"] == "one-pass"
    assert states[0].image == pytest.approx(stylize(*pictures).image, abs=0.05)
    longer = replace(QUICK, iterations=ONE_PASS_ITERATIONS + 1, content_layers={"conv1_1": 1.0})
    assert transfer(*pictures, "builtin", longer).record["init"] == "content"


@pytest.mark.parametrize("color", ["luminance", "histogram"])
def test_one_pass_is_a_start_for_regions_scales_and_the_photos_colors(pictures, color):
    photo, painting = pictures
    masks = np.zeros((2, 36, 48, 3))
    masks[0, :, :24], masks[1, :, 24:] = 255, 255
    settings = replace(QUICK, init="one-pass", color=color, scales=(32, 48), iterations=2)
    losses = []
    done = transfer(
        photo,
        [painting, painting[::-1]],
        "builtin",
        settings,
        content_masks=masks,
        style_masks=[np.full((40, 60, 3), 255.0)] * 2,
        callback=lambda progress: losses.append(progress.loss),
    )
    assert losses[1] < losses[0]
    assert done.result.image.shape == (36, 48, 3)
    assert done.record["init"] == "one-pass"


def test_paths_arrays_and_a_loaded_network_give_identical_pictures(pictures, tmp_path):
    photo, painting = tmp_path / "photo.png", tmp_path / "painting.png"
    for path, pixels in zip((photo, painting), pictures, strict=True):
        save_image(path, pixels)
    from_paths = transfer(photo, painting, "builtin", QUICK, Machine(threads=1))
    arrays = load_image(photo), load_image(painting)
    from_arrays = transfer(*arrays, load_network("builtin"), QUICK, Machine(threads=2))
    assert np.array_equal(from_paths.result.image, from_arrays.result.image)


def test_the_painting_is_scaled_to_the_longest_side_times_style_scale(pictures):
    plans = []
    settings = replace(QUICK, style_scale=1.5, iterations=1)
    photo, painting = pictures
    transfer_pictures(
        Pictures(photo, (painting,)), "builtin", settings, Machine(), announce=plans.append
    )
    assert plans[0].photo_sizes == ((36, 48),)
    assert plans[0].painting_sizes == ((48, 72),)


def test_scales_go_from_coarse_to_fine_and_are_counted_together(pictures):
    sizes, iterations = [], []

    def look(progress):
        sizes.append(progress.image.shape[1])
        iterations.append(progress.iteration)

    settings = replace(QUICK, scales=(32, 48), iterations=6)
    done = transfer(*pictures, "builtin", settings, callback=look)
    assert sizes == [32] * 6 + [48] * 3
    assert iterations == list(range(1, 10))
    assert done.result.iterations == done.record["iterations_done"] == 9
    assert done.result.evaluations >= 9


def test_a_scale_starts_from_the_enlarged_result_of_the_one_before(pictures):
    states = []
    settings = replace(QUICK, scales=(32, 48), init="noise")
    transfer(*pictures, "builtin", settings, keep=states.append)
    coarse = next(s.image for s in reversed(states) if s.scale == 0)
    first = next(s.image for s in states if s.scale == 1)
    assert np.corrcoef(resize(coarse, (36, 48)).ravel(), first.ravel())[0, 1] > 0.9


def test_with_luminance_the_chroma_is_the_photos(pictures):
    settings = replace(QUICK, color="luminance")
    seen = []
    done = transfer(*pictures, "builtin", settings, callback=lambda p: seen.append(p.best_image))
    photo = resize(pictures[0], (36, 48))
    for image in (done.result.image, seen[3]):
        chroma = image - luminance(image)[:, :, np.newaxis]
        assert chroma == pytest.approx(photo - luminance(photo)[:, :, np.newaxis], abs=1e-6)
    assert np.abs(luminance(done.result.image) - luminance(photo)).mean() > 3


def test_with_histogram_the_colors_are_nearer_to_the_photos(pictures):
    photo = resize(pictures[0], (36, 48))
    distances = {}
    for color in ("painting", "histogram"):
        settings = replace(QUICK, color=color, style_layers={"conv1_1": 1.0}, init="noise")
        image = transfer(*pictures, "builtin", settings).result.image
        distances[color] = np.abs(image.mean(axis=(0, 1)) - photo.mean(axis=(0, 1))).mean()
    assert distances["histogram"] < 0.25 * distances["painting"]


def test_masks_keep_a_style_out_of_the_other_half(pictures):
    mask = np.zeros((36, 48, 3))
    mask[:, :24] = 255
    photo = np.full((36, 48, 3), 128.0)
    flat = np.full((40, 60, 3), 120.0)
    rough = np.random.default_rng(0).uniform(0, 255, (40, 60, 3))
    settings = replace(
        QUICK, content_layers={}, style_layers={"conv1_1": 1.0}, iterations=30, init="noise"
    )
    done = transfer(photo, [rough, flat], "builtin", settings, content_masks=[mask, 255 - mask])
    other = transfer(photo, [rough, flat], "builtin", settings, content_masks=[255 - mask, mask])

    def roughness(image):
        return np.abs(np.diff(image, axis=1)).mean()

    left, right = done.result.image[:, :22], done.result.image[:, 26:]
    assert roughness(left) > 1.5 * roughness(right)
    assert roughness(other.result.image[:, 26:]) > 1.5 * roughness(other.result.image[:, :22])


def test_blending_moves_the_result_towards_the_painting_with_the_larger_weight(pictures):
    photo = pictures[0]
    dark, bright = np.full((40, 60, 3), 30.0), np.full((40, 60, 3), 220.0)
    means = []
    for blend in ((9.0, 1.0), (1.0, 9.0)):
        settings = replace(
            QUICK, blend=blend, init="noise", content_layers={}, style_layers={"conv1_1": 1.0}
        )
        done = transfer(photo, [dark, bright], "builtin", settings)
        means.append(done.result.image.mean())
    assert means[0] + 30 < means[1]


def test_a_pixel_moves_about_one_adam_step(pictures):
    for step in (1.0, 8.0):
        settings = replace(QUICK, init="content", optimizer="adam", adam_step=step, iterations=1)
        states = []
        transfer(*pictures, "builtin", settings, keep=states.append)
        moved = np.abs(states[0].image - resize(pictures[0], (36, 48)))
        assert np.median(moved) == pytest.approx(step, rel=1e-6)


@pytest.mark.parametrize("change", [{"pooling": "l2"}, {"padding": "replicate"}])
def test_pooling_and_padding_change_the_loss(pictures, change):
    losses = [
        transfer(*pictures, "builtin", replace(QUICK, iterations=1, **c)).result.loss
        for c in ({}, change)
    ]
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)


def test_ctrl_c_between_two_scales_keeps_the_coarser_picture(pictures, monkeypatch):
    load = style_transfer.load_scale

    def interrupt_at_the_second(pictures, settings, scale):
        if scale == 1:
            raise KeyboardInterrupt
        return load(pictures, settings, scale)

    monkeypatch.setattr(style_transfer, "load_scale", interrupt_at_the_second)
    done = transfer(*pictures, "builtin", replace(QUICK, scales=(32, 48)))
    assert done.result.stopped == "interrupted"
    assert done.result.image.shape == (24, 32, 3)


def test_the_record_holds_every_setting_and_the_outcome(pictures):
    done = transfer(*pictures, "builtin", QUICK)
    record = done.record
    for name in ("preset", "size", "pooling", "style_weight", "seed", "dtype", "iterations"):
        assert record[name] == getattr(QUICK, name)
    assert len(record["network_sha256"]) == 64
    assert record["loss"] == done.result.loss
    assert record["stopped"] == "iterations"
    assert record["npstyle"]


def test_a_run_that_needs_too_much_memory_is_refused_with_a_size_that_fits(pictures, monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 60_000_000)
    big = replace(QUICK, size=1024, iterations=1)
    with pytest.raises(InputError, match=r"--size 1024: .* GB of memory .* use --size (\d+)") as e:
        transfer(*pictures, "builtin", big)
    size = int(str(e.value).split("--size ")[2].split()[0])
    transfer(*pictures, "builtin", replace(big, size=size))


def test_where_reading_takes_too_much_memory_no_smaller_size_is_advised(
    pictures, tmp_path, monkeypatch
):
    Image.new("RGB", (3000, 2500)).save(tmp_path / "large.png")
    free = reading_bytes(tmp_path / "large.png", 64) - 1
    monkeypatch.setattr(machine, "available_memory", lambda: free)
    with pytest.raises(InputError, match=r"GB are free; scale the picture files down first"):
        transfer(tmp_path / "large.png", pictures[1], "builtin", replace(QUICK, size=64))


@pytest.mark.parametrize("paint", [transfer, stylize])
@pytest.mark.parametrize("place", [0, 1])
def test_a_file_that_takes_too_much_memory_to_read_is_refused(
    pictures, tmp_path, monkeypatch, paint, place
):
    save_image(tmp_path / "large.png", pictures[place])
    given = [*pictures]
    given[place] = tmp_path / "large.png"
    monkeypatch.setattr(machine, "available_memory", lambda: 2_000)
    with pytest.raises(InputError, match=r"large\.png: reading it takes .*; scale it down first"):
        paint(*given)


def test_the_style_weight_is_adapted_to_a_network_of_mean_activation_1(small_network):
    for name, preset in PRESETS.items():
        plain = losses_for(small_network, preset)
        adapted = losses_for(replace(small_network, normalized=True), preset)
        assert plain == preset.losses()
        changes = NORMALIZED_STYLE_FACTOR if preset.scaling == "means" else 1
        assert adapted == replace(plain, style_weight=changes * plain.style_weight), name


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
def test_a_bad_array_is_refused(pictures, photo, says):
    with pytest.raises(InputError, match=says):
        transfer(photo, pictures[1], "builtin", QUICK)


def test_a_size_too_small_for_the_deepest_layer_is_refused(pictures):
    with pytest.raises(InputError, match=r"too small for layer pool\d.*--size"):
        transfer(*pictures, "builtin", replace(QUICK, size=12))


def test_total_variation_makes_the_result_smoother(pictures):
    roughness = []
    for weight in (0.0, 1.0):
        settings = replace(QUICK, tv_weight=weight, init="noise")
        image = transfer(*pictures, "builtin", settings).result.image
        roughness.append(np.abs(np.diff(image, axis=1)).mean())
    assert roughness[1] < 0.7 * roughness[0]


def test_the_paintings_scale_changes_the_style(pictures):
    images = [
        transfer(*pictures, "builtin", replace(QUICK, style_scale=scale)).result.image
        for scale in (0.5, 1.0)
    ]
    assert np.abs(images[0] - images[1]).mean() > 1


def test_a_run_in_tiles_gives_the_picture_of_a_run_on_the_whole(pictures, tmp_path):
    settings = replace(QUICK, scales=(32, 48), iterations=6, dtype="float64")
    whole = transfer(*pictures, "builtin", settings)
    tiled = transfer(*pictures, "builtin", settings, Machine(tile=16, scratch=tmp_path))
    assert tiled.record["tiles"] == [16, 16]
    assert whole.record["tiles"] == [None, None]
    assert tiled.result.parts == pytest.approx(whole.result.parts, rel=1e-9)
    assert np.allclose(tiled.result.image, whole.result.image, rtol=0, atol=1e-6)
    assert list(tmp_path.iterdir()) == []


def test_a_tile_that_needs_too_much_memory_is_refused(pictures):
    with pytest.raises(InputError, match=r"--memory 0\.01GB: the run needs .* allow that much"):
        transfer(*pictures, "builtin", QUICK, Machine(tile=48, memory=10_000_000))
    with pytest.raises(InputError, match=r"--tile 8: .* use --tile 16"):
        transfer(*pictures, "builtin", QUICK, Machine(tile=8))
