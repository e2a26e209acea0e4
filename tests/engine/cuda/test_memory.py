"""The predicted memory of a GPU agrees with that of the stand-in's arrays."""

import gc

import numpy as np
import pytest

from npstyle.engine import cuda
from npstyle.engine.bind import bind
from npstyle.engine.losses import Evaluation, Losses
from npstyle.engine.memory import evaluation_bytes
from npstyle.engine.objective import StyleObjective
from npstyle.errors import InputError
from npstyle.maths.layers import Conv, Pool, Relu
from npstyle.networks.network import Network, configure
from npstyle.run import plan as planning
from npstyle.run import transfer as style_transfer
from npstyle.run.machine import Machine
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer
from npstyle.search.memory import vectors_held
from npstyle.search.optimize import optimize
from tests.engine.cuda.gpus import CUPY, needed, stand_in, to

pytestmark = [
    *needed,
    pytest.mark.skipif(CUPY is not None, reason="only the stand-in counts its memory"),
]

WANTED = ["conv1_1", "conv2_1"]
LAYERS = {"content_layers": {"conv2_1": 1.0}, "style_layers": {"conv1_1": 1.0, "conv2_1": 1.0}}


@pytest.fixture
def network(rng):
    """A network whose first convolution is wide enough to be recomputed on the way back."""

    def conv(name, channels, filters):
        kernel = rng.standard_normal((3, 3, channels, filters)) / np.sqrt(9 * channels / 2)
        return Conv(name, kernel.astype("f4"), np.zeros(filters, "f4"), 1, 1)

    layers = [conv("conv1_1", 3, 32), Relu("relu1_1"), conv("conv1_2", 32, 8), Relu("relu1_2")]
    layers += [Pool("pool1", 2, 2, "avg"), conv("conv2_1", 8, 12), Relu("relu2_1")]
    return Network("wide", tuple(layers), "RGB", (0.0,) * 3, (0.02,) * 3, False, "0" * 64)


def peak_bytes(work):
    """Peak of the bytes of GPU arrays that some work adds."""
    gc.collect()
    before = stand_in.Memory.peak = stand_in.Memory.used
    work()
    return stand_in.Memory.peak - before


@pytest.mark.parametrize(
    ("route", "pooling", "multiprocessors"),
    # With 64 multiprocessors, several blocks of the tensor cores' convolution share a tile.
    [("plain", "avg", 4), ("fast", "max", 4), ("tf32", "avg", 4), ("fp16", "max", 64)],
)
def test_the_predicted_memory_of_an_evaluation_is_that_of_its_arrays(
    rng, network, monkeypatch, route, pooling, multiprocessors
):
    monkeypatch.setattr(
        "npstyle.engine.cuda.tensor_cores._multiprocessors", lambda: multiprocessors
    )
    bound = bind(configure(network, pooling, np.float32), WANTED, engine=cuda, route=route)
    picture = rng.uniform(0, 255, (24, 32, 3))
    objective = StyleObjective(bound, picture, picture, Losses(**LAYERS))
    objective.replays = False
    placed = to(picture)
    measured = peak_bytes(lambda: objective(placed))
    # The gradient at the pixels is counted with the search's vectors.
    estimate = evaluation_bytes(bound, WANTED, picture.shape[:2]) + picture.nbytes
    assert measured <= estimate <= 1.3 * measured


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_search_holds_no_more_pictures_than_predicted(rng, optimizer):
    lowest = to(rng.uniform(-50, 300, (30, 40, 3)))
    start = to(np.full(lowest.shape, 100.0))

    def hill(pixels):
        difference = pixels - lowest
        return Evaluation(float((difference**4).sum()) / 1e4, difference**3 / 2500, {})

    options = {"iterations": 15, "optimizer": optimizer, "engine": cuda}
    work = peak_bytes(lambda: optimize(hill, start, **options))
    held, counted = work / lowest.nbytes, vectors_held(optimizer, 15, engine=cuda)
    assert 0.6 * counted <= held <= counted


def test_a_run_too_large_for_the_gpu_is_refused_with_a_size_that_fits(
    rng, small_network, monkeypatch
):
    pictures = rng.uniform(0, 255, (9, 12, 3)), rng.uniform(0, 255, (10, 8, 3))
    settings = Settings(size=600, scales=(600,), iterations=1, **LAYERS)
    monkeypatch.setattr(stand_in.Device, "mem_info", (3_000_000, 4_000_000))
    says = (
        r"--size 600: the run needs .* of the GPU's memory and 0.00 GB are free; use --size (\d+)"
    )
    with pytest.raises(InputError, match=says) as error:
        transfer(*pictures, small_network, settings, Machine(device="cuda"))
    size = int(str(error.value).split("use --size ")[1].split()[0])
    assert 20 < size < 200


def test_if_memory_runs_out_anyway_the_message_names_a_smaller_size(
    rng, small_network, monkeypatch
):
    def run_out(*_, **__):
        raise MemoryError

    pictures = rng.uniform(0, 255, (9, 12, 3)), rng.uniform(0, 255, (10, 8, 3))
    settings = Settings(size=400, iterations=1, **LAYERS)
    monkeypatch.setattr(style_transfer, "StyleObjective", run_out)
    with pytest.raises(InputError, match=r"the GPU's memory ran out, .*; use --size 3\d\d or less"):
        transfer(*pictures, small_network, settings, Machine(device="cuda"))
    monkeypatch.setattr(planning, "bind", run_out)
    with pytest.raises(InputError, match="--device cuda:0: the GPU's memory does not hold the net"):
        transfer(*pictures, small_network, settings, Machine(device="cuda"))
