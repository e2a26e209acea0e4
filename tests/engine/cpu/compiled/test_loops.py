"""The loops beside Winograd's: a first convolution, average pooling; and the engine as a whole."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="compiled loops need Numba, the extra `fast`")

from npstyle.engine import cpu
from npstyle.engine.bind import bind
from npstyle.engine.cpu import compiled
from npstyle.engine.memory import evaluation_bytes
from npstyle.engine.threads import use_threads
from npstyle.networks.network import configure, load_network
from npstyle.run.settings import Settings
from tests.numeric import make_objective, relative_error

SIZES = [(1, 1, 4), (2, 3, 5), (17, 9, 16), (40, 33, 7)]


@pytest.mark.parametrize(("height", "width", "filters"), SIZES)
def test_a_first_convolution_and_its_derivative_are_those_of_float64(rng, height, width, filters):
    image = rng.standard_normal((height, width, 3)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, 3, filters)).astype(np.float32)
    bias = rng.standard_normal(filters).astype(np.float32)
    upstream = rng.standard_normal((height, width, filters)).astype(np.float32)
    exact = cpu.conv2d(image.astype(float), kernel.astype(float), bias.astype(float), 1, 1)
    assert relative_error(compiled.conv2d(image, kernel, bias, 1, 1), exact) < 1e-6
    F = compiled.conv2d(image, kernel, bias, 1, 1, rectify=True)
    assert relative_error(F, np.maximum(exact, 0)) < 1e-6
    expected = cpu.conv2d_backward(upstream * (F > 0.0), kernel.astype(float), image.shape, 1, 1)
    for mask in (F, F > 0):
        found = compiled.conv2d_backward(upstream.copy(), kernel, image.shape, 1, 1, mask)
        assert relative_error(found, expected) < 1e-6


def test_every_other_convolution_is_numpys(rng):
    image, kernel = rng.standard_normal((8, 9, 5)), rng.standard_normal((5, 3, 5, 4))
    expected = cpu.conv2d(image, kernel, None, 2, 1)
    assert np.array_equal(compiled.conv2d(image, kernel, None, 2, 1), expected)
    upstream = rng.standard_normal(expected.shape)
    found = compiled.conv2d_backward(upstream, kernel, image.shape, 2, 1)
    assert np.array_equal(found, cpu.conv2d_backward(upstream, kernel, image.shape, 2, 1))


@pytest.mark.parametrize("shape", [(3, 3, 1), (5, 7, 3), (64, 130, 70)])
@pytest.mark.parametrize("window", [(2,), (2, 2), (3, 2), (2, 1)])
def test_average_pooling_equals_numpys_bit_for_bit(rng, shape, window):
    image = rng.standard_normal(shape).astype(np.float32)
    expected = cpu.avg_pool2d(image, *window)
    assert np.array_equal(compiled.avg_pool2d(image, *window), expected)


def test_another_precision_is_refused_when_the_network_is_bound():
    network = configure(load_network("builtin"), "avg", np.float64)
    with pytest.raises(ValueError, match="float32"):
        bind(network, engine=compiled, route="fast")


def test_a_window_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="larger than the image"):
        compiled.avg_pool2d(np.zeros((1, 5, 2), np.float32))


def test_an_evaluation_does_not_depend_on_the_threads_and_takes_the_memory_that_is_counted(rng):
    settings = Settings()
    names = [*settings.content_layers, *settings.style_layers]
    network = bind(load_network("builtin"), names, engine=compiled, route="fast")
    photo, pixels = (rng.uniform(0, 255, (240, 320, 3)) for _ in range(2))
    layers = {
        "content_layers": settings.content_layers,
        "style_layers": settings.style_layers,
    }
    objective = make_objective(network, photo, photo, **layers)
    found = []
    for threads in (1, 2, 3):
        with use_threads(threads):
            found.append(objective(pixels))
    assert all(np.array_equal(f.gradient, found[0].gradient) for f in found)
    assert len({f.loss for f in found}) == 1
    measured = 240 * 320 * 3 * 4 + objective.arena.used
    assert evaluation_bytes(network, names, (240, 320)) == pytest.approx(measured, rel=0.15)
