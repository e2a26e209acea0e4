import numpy as np
import pytest

from npstyle.engine.bind import BoundNetwork, bind
from npstyle.errors import InputError
from npstyle.networks.network import configure, load_network, shapes
from npstyle.tiles.cut import ReceptiveField, cell, cut, largest_size, receptive_field
from tests.numeric import run_backward, run_forward
from tests.sequences import OTHERS, VGG_LIKE, last_activation, sequence

SIZES = [(37, 29), (24, 25), (11, 50)]


def wanted_of(network):
    """The names of all activations, shallow and deep."""
    return list(network.activations().values())


def test_receptive_fields_are_those_known_of_vgg19():
    network = load_network("builtin")  # VGG-19's layers with fewer channels
    known = {
        "conv1_1": (1, 3, 1),
        "conv2_1": (2, 10, 4),
        "conv3_1": (4, 24, 10),
        "conv4_1": (8, 68, 30),
        "conv4_2": (8, 84, 38),
        "pool4": (16, 124, 54),
        "conv5_1": (16, 156, 70),
    }
    for net in (network, bind(network, known, route="fast")):
        net = net.network if isinstance(net, BoundNetwork) else net
        assert {name: receptive_field(net, name) for name in known} == {
            name: ReceptiveField(*numbers) for name, numbers in known.items()
        }
    assert cell(network, known) == 16


@pytest.mark.parametrize("kind", OTHERS)
def test_a_receptive_field_is_where_a_positions_gradient_arrives(rng, kind):
    network = configure(sequence(rng, OTHERS[kind]), "avg", np.float64)
    for layer in network.layers:  # all kernels positive: every ReLU passes, nothing cancels
        if hasattr(layer, "kernel"):
            np.abs(layer.kernel, out=layer.kernel)
            np.abs(layer.bias, out=layer.bias)
    size, name = (40, 50), last_activation(network)
    taken, cache = run_forward(network, np.ones((*size, 3)), [name])
    at = tuple(n // 2 for n in taken[name].shape[:2])
    gradient = np.zeros_like(taken[name])
    gradient[at] = 1
    arrived = np.any(run_backward(network, cache, {name: gradient}) > 0, axis=2)
    for axis in (0, 1):
        (pixels,) = np.nonzero(arrived.any(axis=1 - axis))
        first, end = receptive_field(network, name, axis).of(at[axis], at[axis] + 1)
        assert (pixels[0], pixels[-1] + 1) == (max(0, first), min(size[axis], end))


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("size", SIZES)
def test_every_position_is_owned_once_by_a_tile_that_contains_its_receptive_field(rng, kind, size):
    network = sequence(rng, OTHERS[kind])
    wanted, C = wanted_of(network), cell(network, wanted_of(network))
    outputs = shapes(network, wanted, *size)
    for tile in {C, C + 1, 3 * C, 100}:
        owners = {name: np.zeros(outputs[network.depth(name)][1][:2], int) for name in wanted}
        for part in cut(network, wanted, size, tile):
            assert part.layers
            for name in part.layers:
                owners[name][part.own(name)] += 1
                for axis, span in enumerate((part.rows, part.columns)):
                    field, own = receptive_field(network, name, axis), span.own[name]
                    first, end = field.of(own.start, own.stop)
                    assert span.pixels.start % C == 0
                    assert span.core.stop - span.core.start <= tile
                    assert 0 <= span.pixels.start <= max(0, first)
                    assert min(end, size[axis]) <= span.pixels.stop <= size[axis]
                    shift = span.pixels.start // field.stride
                    assert span.inside[name] == slice(own.start - shift, own.stop - shift)
        assert all((owner == 1).all() for owner in owners.values())


def test_tiles_are_as_equal_in_size_as_cells_allow_and_within_the_largest_size(rng):
    network = sequence(rng, VGG_LIKE)
    tiles = cut(network, ["conv3_1"], (50, 8), 20)
    assert [(part.rows.core.start, part.rows.core.stop) for part in tiles] == [
        (0, 16),
        (16, 32),
        (32, 50),
    ]
    assert largest_size(network, ["conv3_1"], (50, 8), 20) == tuple(
        max(part.size[axis] for part in tiles) for axis in (0, 1)
    )


def test_a_large_enough_tile_is_the_whole_picture(rng):
    (tile,) = cut(sequence(rng, VGG_LIKE), ["conv1_1", "conv3_1"], (9, 14), 16)
    assert tile.pixels == (slice(0, 9), slice(0, 14))
    assert tile.own("conv3_1") == tile.inside("conv3_1") == (slice(0, 2), slice(0, 3))


def test_without_layers_there_are_no_tiles(rng):
    assert cut(sequence(rng, VGG_LIKE), [], (9, 14), 4) == []


def test_a_picture_or_network_that_cannot_be_cut_is_refused(rng):
    network = sequence(rng, VGG_LIKE)
    with pytest.raises(InputError, match=r"--tile 3: .* use --tile 4 or more"):
        cut(network, ["conv3_1"], (30, 30), 3)
    with pytest.raises(InputError, match="conv9_1"):
        cut(network, ["conv9_1"], (30, 30), 8)
    with pytest.raises(InputError, match="too small for layer pool2"):
        cut(network, ["conv3_1"], (30, 3), 8)
    far = sequence(rng, [("conv", 3, 1, 3, 4)])
    with pytest.raises(InputError, match=r"layer conv1_1 .* pads by 3 .* use --tile off"):
        cut(far, ["conv1_1"], (30, 30), 8)
