import tracemalloc

import numpy as np
import pytest

from npstyle.engine.feedforward.bind import bind_layers
from npstyle.engine.feedforward.memory import gradient_bytes, layer_shapes, paint_bytes
from npstyle.engine.feedforward.passes import backward, backward_weights, forward, paint
from npstyle.networks.convert_style import convert_style_network
from npstyle.networks.johnson import transformer_layers
from npstyle.onepass.styles import load_named
from npstyle.onepass.stylize import bind_style_network
from tests.networks.fast_neural_style import PUBLISHED, draw_tensors
from tests.networks.foreign import write_safetensors

NETWORKS = ["any_style", "multistyle26", "fast_neural_style"]


def bound_network(name, rng, folder):
    """A network of the package, or a random one with the layers of PyTorch's examples."""
    if name == "fast_neural_style":
        source = write_safetensors(folder / "a.safetensors", draw_tensors(rng, PUBLISHED, 5))
        return bind_style_network(convert_style_network([source], folder / "a.npz"))
    return bind_style_network(load_named(name))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_predicted_peak_is_the_measured_one(rng, name, tmp_path):
    bound = bound_network(name, rng, tmp_path)
    x = rng.uniform(0, 1, (161, 202, 3)).astype(np.float32)
    norms = bound.norms(np.full(bound.network.code, 1 / max(1, bound.network.code)))
    paint(bound.transformer, x, norms)  # the workspace of the thread is not counted
    tracemalloc.start()
    paint(bound.transformer, x, norms)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak == pytest.approx(paint_bytes(bound.transformer, 161, 202), rel=0.05)


def test_shapes_are_those_of_the_outputs(rng):
    bound = bind_style_network(load_named("any_style"))
    x = rng.uniform(0, 1, (34, 41, 3)).astype(np.float32)
    picture = paint(bound.transformer, x, bound.norms(np.zeros(100)))
    assert layer_shapes(bound.transformer, 34, 41)[-1] == picture.shape == (36, 44, 3)
    code = paint(bound.predictor, x)
    assert layer_shapes(bound.predictor, 34, 41)[-1] == code.shape == (1, 1, 100)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_predicted_peak_with_the_way_back_is_the_measured_one(rng, name, tmp_path):
    bound = bound_network(name, rng, tmp_path)
    x = rng.uniform(0, 1, (161, 202, 3)).astype(np.float32)
    norms = bound.norms(np.full(bound.network.code, 1 / max(1, bound.network.code)))

    def run():
        output, cache = forward(bound.transformer, x, norms)
        backward(bound.transformer, cache, output, norms)

    run()  # the workspace of the thread is not counted
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak == pytest.approx(gradient_bytes(bound.transformer, 161, 202), rel=0.08)


@pytest.mark.parametrize(("width", "side"), [(4, 96), (16, 128)])
def test_the_predicted_peak_with_gradients_of_kernels_is_the_measured_one(
    rng, cpu_engine, width, side
):
    bound = bind_layers(transformer_layers(width, 0), engine=cpu_engine)
    x = rng.uniform(-1, 1, (side, side, 3)).astype(np.float32)

    def run():
        output, cache = forward(bound, x, with_kernels=True)
        backward_weights(bound, cache, output)

    run()  # the workspace of the thread is not counted
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak == pytest.approx(gradient_bytes(bound, side, side, with_kernels=True), rel=0.1)
