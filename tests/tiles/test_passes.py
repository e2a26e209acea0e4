import pickle

import numpy as np
import pytest

from npstyle.engine.bind import bind
from npstyle.engine.cpu.gram import gram
from npstyle.networks.network import configure, load_network
from npstyle.run.settings import Settings
from npstyle.tiles.cut import cell, cut
from npstyle.tiles.passes import (
    add_grams,
    cropped,
    tile_activations,
    tile_cost,
    tile_gradient,
    tile_grams,
)
from tests.numeric import as_bound, relative_error, run_forward
from tests.sequences import OTHERS, VGG_LIKE, sequence


@pytest.mark.parametrize("edges", ["zero", "replicate"])
@pytest.mark.parametrize("pooling", ["avg", "max", "l2"])
@pytest.mark.parametrize("kind", OTHERS)
def test_own_activations_are_the_whole_pictures_for_any_sequential_network(
    rng, kind, pooling, edges
):
    network = configure(sequence(rng, OTHERS[kind]), pooling, np.float64, edges)
    names = list(network.activations().values())
    pixels = rng.uniform(0, 255, (23, 34, 3))
    whole, _ = run_forward(network, as_bound(network).preprocess(pixels), names)
    for tile in (cell(network, names), 12):
        for part in cut(network, names, (23, 34), tile):
            own = tile_activations(as_bound(network), pixels[part.pixels], part, names)
            for name, found in own.items():
                assert np.allclose(found, whole[name][part.own(name)], rtol=1e-12, atol=1e-12)


def test_shares_of_the_gram_matrices_add_up_in_float64(rng):
    network = configure(sequence(rng, VGG_LIKE), "avg", np.float32)
    names, pixels = ["conv1_2", "conv3_1"], rng.uniform(0, 255, (23, 34, 3))
    mask = rng.uniform(0, 1, (23, 34)).astype(np.float32)
    whole, _ = run_forward(network, as_bound(network).preprocess(pixels), names)
    guides = [{name: 0.5 for name in names}, {"conv1_2": mask}]
    sums = [{}, {}]
    for part in cut(network, names, (23, 34), 8):
        crops = [cropped(guide, part) for guide in guides]
        add_grams(sums, tile_grams(as_bound(network), pixels[part.pixels], part, crops))
    assert [set(found) for found in sums] == [set(names), {"conv1_2"}]
    assert sums[0]["conv3_1"].dtype == np.float64
    for name in names:
        assert relative_error(sums[0][name], gram(whole[name]) / 2) <= 1e-6
    assert relative_error(sums[1]["conv1_2"], gram(whole["conv1_2"], mask)) <= 1e-6


def test_a_pass_over_a_tile_gives_the_same_bits_after_pickling(rng):
    network = bind(configure(sequence(rng, VGG_LIKE), "avg", np.float32), ["conv3_1"], route="fast")
    part = cut(network.network, ["conv3_1"], (23, 34), 8)[4]
    pixels, own = rng.uniform(0, 255, (23, 34, 3))[part.pixels], part.own("conv3_1")
    target = rng.uniform(0, 1, [n.stop - n.start for n in own] + [6]).astype(np.float32)
    slope = rng.standard_normal((6, 6)).astype(np.float32)
    job = (
        (network, pixels, part, [{"conv3_1": 0.01}], [{"conv3_1": slope}]),
        ({"conv3_1": target}, {"conv3_1": 2.0}),
    )
    contents, gradient = tile_gradient(*job[0], *job[1])
    sent = pickle.loads(pickle.dumps(job))
    again = tile_gradient(*sent[0], *sent[1])
    assert contents == again[0]
    assert gradient.dtype == np.float64
    assert gradient.any()
    assert np.array_equal(gradient, again[1])


def test_the_cost_is_that_of_a_second_forward_pass_and_of_the_halos(rng):
    settings = Settings()
    layers = settings.content_layers, settings.style_layers
    network = bind(load_network("builtin"), [*layers[0], *layers[1]], route="fast")

    def cost(size, tile):
        return tile_cost(as_bound(network), *layers, size, tile)

    assert cost((300, 400), 400) == 1
    # One cut: each half also needs 70 to 80 pixels of the other.
    assert cost((64, 1024), 512) == pytest.approx(1.5 * (1024 + 150) / 1024, rel=0.01)
    assert cost((4096, 4096), 512) > cost((4096, 4096), 1024) > cost((4096, 4096), 2048) > 1.5
    assert cost((2160, 3840), 1024) < 2.2
    # Content alone needs no first pass.
    content_alone = tile_cost(as_bound(network), {"conv4_2": 1.0}, {}, (64, 1024), 512)
    assert content_alone == pytest.approx((1024 + 38 + 38 + 8) / 1024, rel=0.02)
