from dataclasses import replace

import numpy as np
import pytest

from npstyle.engine.bind import bind
from npstyle.engine.guides import Region, Source
from npstyle.engine.threads import use_threads
from npstyle.errors import InputError
from npstyle.networks.network import configure
from npstyle.run.settings import PRESETS, Settings
from npstyle.tiles.cut import ReceptiveField, cell
from npstyle.tiles.passes import forward
from tests.numeric import make_objective, make_tiled, relative_error
from tests.sequences import OTHERS, VGG_LIKE, sequence

LAYERS = {
    "content_layers": {"conv3_1": 1.0},
    "style_layers": {"conv1_1": 1.0, "conv2_1": 0.5, "conv3_2": 2.0},
}
SIZE = (27, 45)
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def at_small_layers(preset):
    return replace(PRESETS[preset], **LAYERS)


@pytest.fixture
def pictures(rng):
    """A photo, a painting, and a picture between the two."""
    return [rng.uniform(0, 255, (*size, 3)) for size in (SIZE, (31, 22), SIZE)]


def regions(photo, painting):
    """Two regions of the photo, one of them with two paintings, of which one has a mask."""
    height, width = photo.shape[:2]
    left = np.tile(np.linspace(1, 0, width), (height, 1))
    part = np.tile(np.linspace(0, 1, painting.shape[1]), (painting.shape[0], 1))
    sources = Source(painting, 3.0, part), Source(photo[::-1], 7.0)
    return [Region(sources, left), Region((Source(painting[:, ::-1]),), 1 - left)]


def check_equal(network, pictures, settings, tile, style=None):
    photo, painting, pixels = pictures
    style = painting if style is None else style
    whole = make_objective(network, photo, style, settings)(pixels)
    tiled = make_tiled(network, photo, style, settings, tile)
    found = tiled(pixels)
    tolerance = TOLERANCE[network.dtype.name]
    assert list(found.parts) == list(whole.parts)
    assert found.parts == pytest.approx(whole.parts, rel=tolerance)
    assert found.loss == pytest.approx(whole.loss, rel=tolerance)
    assert relative_error(found.gradient, whole.gradient) <= tolerance
    assert found.gradient.dtype == np.float64
    return tiled


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("pooling", ["avg", "max", "l2"])
@pytest.mark.parametrize("preset", PRESETS)
def test_tiles_give_the_whole_pictures_loss_terms_and_gradient(
    rng, pictures, preset, pooling, dtype
):
    network = configure(sequence(rng, VGG_LIKE), pooling, dtype)
    tiled = check_equal(network, pictures, at_small_layers(preset), 16)
    assert len(tiled.tiles) == 6


@pytest.mark.parametrize("tile", [4, 5, 11, 20, 44, 48, 1000])
def test_tiles_of_any_size_from_a_cell_to_more_than_the_picture_agree(rng, pictures, tile):
    network = configure(sequence(rng, VGG_LIKE), "avg", np.float64)
    tiled = check_equal(network, pictures, at_small_layers("gatys"), tile)
    assert (len(tiled.tiles) == 1) == (tile >= 48)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_tiles_agree_in_regions_with_blends_total_variation_and_replicated_edges(
    rng, pictures, dtype
):
    network = configure(sequence(rng, VGG_LIKE), "avg", dtype, "replicate")
    settings = replace(at_small_layers("gatys"), tv_weight=1e-2)
    check_equal(network, pictures, settings, 12, regions(*pictures[:2]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_tiles_agree_on_the_fast_route(rng, pictures, monkeypatch, dtype):
    monkeypatch.setattr("npstyle.engine.bind.WIDE", 12)
    settings = at_small_layers("gatys")
    network = bind(configure(sequence(rng, VGG_LIKE), "avg", dtype), ["conv3_2"], route="fast")
    check_equal(network, pictures, settings, 16)


@pytest.mark.parametrize("kind", OTHERS)
def test_tiles_agree_for_any_sequential_network(rng, pictures, kind):
    network = configure(sequence(rng, OTHERS[kind]), "max", np.float64)
    names = list(network.activations().values())
    settings = Settings(
        content_layers={names[-1]: 1.0}, style_layers=dict.fromkeys(names, 1.0), scaling="sums"
    )
    check_equal(network, pictures, settings, 2 * cell(network, names))


@pytest.mark.parametrize("without", LAYERS)
def test_tiles_agree_without_content_or_without_style(rng, pictures, without):
    network = configure(sequence(rng, VGG_LIKE), "avg", np.float64)
    settings = replace(at_small_layers("gatys"), **{without: {}})
    check_equal(network, pictures, settings, 8)


def test_content_is_exactly_zero_at_the_photo(rng, pictures):
    network = configure(sequence(rng, VGG_LIKE), "avg", np.float32)
    photo, painting, _ = pictures
    parts = make_tiled(network, photo, painting, at_small_layers("gatys"), 8)(photo).parts
    assert parts["content conv3_1"] == 0
    assert parts["style conv3_2"] > 0


@pytest.mark.parametrize("side", ["a cell before", "a pixel after"])
def test_a_halo_that_is_too_small_is_detected(rng, pictures, monkeypatch, side):
    network = configure(sequence(rng, VGG_LIKE), "avg", np.float64)
    check_equal(network, pictures, at_small_layers("gatys"), 8)
    right = ReceptiveField.of

    def too_small(field, first, end):
        seen = right(field, first, end)
        return (seen[0] + 4, seen[1]) if side == "a cell before" else (seen[0], seen[1] - 1)

    monkeypatch.setattr(ReceptiveField, "of", too_small)
    with pytest.raises(AssertionError):
        check_equal(network, pictures, at_small_layers("gatys"), 8)


def test_a_picture_that_is_one_tile_runs_forward_once(rng, pictures, monkeypatch):
    runs = []

    def counted(*arguments):
        runs.append(arguments)
        return forward(*arguments)

    network, (photo, painting, pixels) = sequence(rng, VGG_LIKE), pictures
    one, two = (
        make_tiled(network, photo, painting, at_small_layers("gatys"), tile) for tile in (48, 24)
    )
    monkeypatch.setattr("npstyle.tiles.passes.forward", counted)
    one(pixels)
    assert len(runs) == 1
    two(pixels)
    assert len(runs) == 1 + 2 * len(two.tiles)


def test_the_result_depends_neither_on_the_threads_nor_on_earlier_evaluations(rng, pictures):
    network = configure(sequence(rng, VGG_LIKE), "avg", np.float32)
    photo, painting, pixels = pictures
    objective = make_tiled(network, photo, painting, at_small_layers("neural-style"), 16)
    first = objective(pixels)
    objective(photo)
    for count in (1, 2, 3):
        with use_threads(count):
            again = objective(pixels)
        assert again.parts == first.parts
        assert np.array_equal(again.gradient, first.gradient)


def test_arrays_of_the_pictures_size_may_be_in_files(rng, pictures, tmp_path):
    def in_a_file(shape, dtype, name):
        return np.memmap(tmp_path / name, dtype, "w+", shape=shape)

    network = configure(sequence(rng, VGG_LIKE), "avg", np.float64)
    settings = replace(at_small_layers("gatys"), tv_weight=1e-2)
    in_files = [in_a_file(picture.shape, np.float64, str(k)) for k, picture in enumerate(pictures)]
    for mapped, picture in zip(in_files, pictures, strict=True):
        mapped[:] = picture
    expected = make_tiled(network, *pictures[:2], settings, 8)(pictures[2])
    mapped = make_tiled(network, *in_files[:2], settings, 8, in_a_file)
    found = mapped(in_files[2])
    assert isinstance(mapped.content_targets["conv3_1"], np.memmap)
    assert found.parts == expected.parts
    assert np.array_equal(found.gradient, expected.gradient)


def test_wrong_use_raises_an_error(rng, pictures):
    network, (photo, painting, _) = sequence(rng, VGG_LIKE), pictures
    settings = at_small_layers("gatys")
    with pytest.raises(InputError, match="--tile 3"):
        make_tiled(network, photo, painting, settings, 3)
    nothing = replace(settings, content_layers={}, style_layers={})
    with pytest.raises(InputError, match="name a layer"):
        make_tiled(network, photo, painting, nothing, 8)
    with pytest.raises(ValueError, match="photo is"):
        make_tiled(network, photo, painting, settings, 8)(np.zeros((3, 3, 3)))
    on_gpu = replace(bind(network), engine_name="cuda")
    with pytest.raises(InputError, match="--tile off on a GPU"):
        make_tiled(on_gpu, photo, painting, settings, 8)
