"""The count of a card's memory, against what the stand-in's arrays fill."""

import gc

import numpy as np
import pytest

from npstyle.engine.memory import evaluation_bytes
from npstyle.engine.objective import Evaluation, StyleObjective
from npstyle.errors import InputError
from npstyle.maths.network import Conv, Pool, Relu
from npstyle.networks.network import Network, accelerate, configure, to_device, to_tensor_cores
from npstyle.run import plan as planning
from npstyle.run import transfer as style_transfer
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer
from npstyle.search.optimize import optimize, vectors_held
from tests.engine.cuda.cards import CUPY, needed, stand_in, to

pytestmark = [
    *needed,
    pytest.mark.skipif(CUPY is not None, reason="only the stand-in counts what is alive"),
]

WANTED = ["conv1_1", "conv2_1"]
LAYERS = {"content_layers": {"conv2_1": 1.0}, "style_layers": {"conv1_1": 1.0, "conv2_1": 1.0}}


@pytest.fixture
def network(rng):
    """Its first convolution is wide enough to be made again on the way back."""

    def conv(name, channels, filters):
        weight = rng.standard_normal((3, 3, channels, filters)) / np.sqrt(9 * channels / 2)
        return Conv(name, weight.astype("f4"), np.zeros(filters, "f4"), 1, 1)

    layers = [conv("conv1_1", 3, 32), Relu("relu1_1"), conv("conv1_2", 32, 8), Relu("relu1_2")]
    layers += [Pool("pool1", 2, 2, "avg"), conv("conv2_1", 8, 12), Relu("relu2_1")]
    return Network("wide", tuple(layers), "RGB", (0.0,) * 3, (0.02,) * 3, False, "0" * 64)


def alive_at_most(work):
    """Bytes of arrays on the card that work adds at its peak."""
    gc.collect()
    before = stand_in.Memory.peak = stand_in.Memory.used
    work()
    return stand_in.Memory.peak - before


@pytest.mark.parametrize(
    ("route", "pooling", "multiprocessors"),
    # With 64 multiprocessors, blocks of the tensor cores' convolution share tiles.
    [("plain", "avg", 4), ("fast", "max", 4), ("tf32", "avg", 4), ("fp16", "max", 64)],
)
def test_the_count_of_an_evaluation_is_that_of_its_arrays(
    rng, network, monkeypatch, route, pooling, multiprocessors
):
    monkeypatch.setattr(
        "npstyle.engine.cuda.tensor_cores._multiprocessors", lambda: multiprocessors
    )
    network = configure(network, pooling, np.float32)
    if route == "fast":
        network = accelerate(network, WANTED)
    elif route != "plain":
        network = to_tensor_cores(network, WANTED, route)
    network = to_device(network)
    picture = rng.uniform(0, 255, (24, 32, 3))
    objective = StyleObjective(network, picture, picture, **LAYERS)
    objective.replays = False
    placed = to(picture)
    measured = alive_at_most(lambda: objective(placed))
    # The gradient at the pixels is counted as the search's.
    estimate = evaluation_bytes(network, WANTED, picture.shape[:2]) + picture.nbytes
    assert measured <= estimate <= 1.3 * measured


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_search_holds_no_more_pictures_than_are_counted(rng, optimizer):
    lowest = to(rng.uniform(-50, 300, (30, 40, 3)))
    start = to(np.full(lowest.shape, 100.0))

    def hill(pixels):
        difference = pixels - lowest
        return Evaluation(float((difference**4).sum()) / 1e4, difference**3 / 2500, {})

    work = alive_at_most(lambda: optimize(hill, start, iterations=15, optimizer=optimizer))
    held, counted = work / lowest.nbytes, vectors_held(optimizer, 15, on_gpu=True)
    assert 0.6 * counted <= held <= counted


def test_what_does_not_fit_on_the_card_is_refused_with_a_size_that_fits(
    rng, small_network, monkeypatch
):
    pictures = rng.uniform(0, 255, (9, 12, 3)), rng.uniform(0, 255, (10, 8, 3))
    settings = Settings(size=600, scales=(600,), iterations=1, **LAYERS)
    monkeypatch.setattr(stand_in.Device, "mem_info", (3_000_000, 4_000_000))
    says = (
        r"--size 600: the run needs .* of the GPU's memory and 0.00 GB are free; use --size (\d+)"
    )
    with pytest.raises(InputError, match=says) as error:
        transfer(*pictures, small_network, settings, device="cuda")
    size = int(str(error.value).split("use --size ")[1].split()[0])
    assert 20 < size < 200


def test_memory_that_runs_out_all_the_same_ends_with_a_smaller_size(
    rng, small_network, monkeypatch
):
    def run_out(*_):
        raise MemoryError

    pictures = rng.uniform(0, 255, (9, 12, 3)), rng.uniform(0, 255, (10, 8, 3))
    settings = Settings(size=400, iterations=1, **LAYERS)
    monkeypatch.setattr(style_transfer, "build_objective", run_out)
    with pytest.raises(InputError, match=r"the GPU's memory ran out, .*; use --size 3\d\d or less"):
        transfer(*pictures, small_network, settings, device="cuda")
    monkeypatch.setattr(planning, "to_device", run_out)
    with pytest.raises(InputError, match="--device cuda:0: the GPU's memory does not hold the net"):
        transfer(*pictures, small_network, settings, device="cuda")
