"""Convolutions on tensor cores, by themselves and in the whole objective."""

from dataclasses import replace

import numpy as np
import pytest

from npstyle.engine import cuda
from npstyle.engine.bind import bind
from npstyle.engine.device import Device
from npstyle.engine.layers import TensorConv
from npstyle.engine.objective import StyleObjective
from npstyle.errors import InputError
from npstyle.lab.agreement import agreement_outcomes
from npstyle.maths import avg_pool2d_backward, conv2d, conv2d_backward, relu
from npstyle.networks.network import configure
from npstyle.run.machine import Machine
from npstyle.run.pictures import Pictures
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer, transfer_pictures
from tests.engine.cuda.gpus import CUPY, back, needed, needs_tensor_cores, to
from tests.masks import errors, relu_masks
from tests.numeric import relative_error

pytestmark = needed

TOLERANCE = 1e-3
"""Relative error of a sum of some hundred products of numbers with eleven bits."""


@needs_tensor_cores
@pytest.mark.parametrize("precision", ["tf32", "fp16"])
@pytest.mark.parametrize("size", [1e-7, 1.0, 1e7])
def test_convolution_with_relu_and_back_at_any_scale(rng, precision, size):
    image = (rng.standard_normal((9, 18, 20)) * size).astype("f4")
    kernel = rng.standard_normal((3, 3, 20, 6)).astype("f4") * np.float32(1e-6)
    bias = (rng.standard_normal(6) * size * 1e-6).astype("f4")
    packed, out_scale = cuda.pack_filters(kernel, precision)
    options = precision, out_scale
    F = back(cuda.tensor_conv2d(to(image), packed[0], to(bias), *options, rectify=True))
    assert relative_error(F, relu(conv2d(image, kernel, bias, 1, 1))) < TOLERANCE
    for pooling in (1, 2):
        g = (rng.standard_normal((9 // pooling, 18 // pooling, 6)) * size).astype("f4")
        found = cuda.tensor_conv2d_backward(to(g), packed[1], to(F > 0), 20, *options, pooling)
        passed = g if pooling == 1 else avg_pool2d_backward(g, F.shape, 2)
        expected = conv2d_backward(passed * (F > 0), kernel, image.shape, 1, 1)
        assert relative_error(back(found), expected) < TOLERANCE


@needs_tensor_cores
@pytest.mark.parametrize("precision", ["tf32", "fp16"])
@pytest.mark.parametrize(("pooling", "padding"), [("avg", "zero"), ("l2", "replicate")])
def test_the_objectives_gradient_is_right_to_three_thousandths(
    rng, small_network, monkeypatch, precision, pooling, padding
):
    monkeypatch.setattr("npstyle.engine.bind.WIDE", 20)  # the second and third convolution
    settings = Settings(
        content_layers={"conv2_1": 1.0}, style_layers={"conv1_1": 0.01, "conv1_2": 0.1}
    )
    photo, painting, pixels = (rng.uniform(0, 255, (12, 15, 3)) for _ in range(3))
    network = configure(small_network, pooling, np.float64, padding)
    exact = StyleObjective(bind(network), photo, painting, settings.losses())
    network = configure(small_network, pooling, np.float32, padding)
    bound = bind(network, ["conv2_1"], engine=cuda, route=precision)
    assert sum(isinstance(layer, TensorConv) for layer in bound.layers) == 2
    objective = StyleObjective(bound, photo, painting, settings.losses())
    found = errors(objective, pixels, exact(pixels), relu_masks(exact, pixels))
    assert found.gradient_with_masks < 3e-3
    assert found.loss < 3e-3
    assert found.other_masks < 0.01 * found.units


@needs_tensor_cores
def test_a_run_reports_its_route_and_ends_near_the_cpus(rng, small_network, monkeypatch, capsys):
    from npstyle.cli.console import print_plan

    monkeypatch.setattr("npstyle.engine.bind.WIDE", 20)
    pictures = rng.uniform(0, 255, (9, 12, 3)), rng.uniform(0, 255, (10, 8, 3))
    layers = {"content_layers": {"conv2_1": 1.0}, "style_layers": {"conv1_1": 1.0}}
    settings = Settings(size=12, iterations=3, optimizer="adam", precision="tf32", **layers)
    photo, painting = pictures
    done = transfer_pictures(
        Pictures(photo, (painting,)),
        small_network,
        settings,
        Machine(device="cuda"),
        announce=lambda plan: print_plan(plan, "small", "out.png"),
    )
    assert "tensor cores in tf32 in 2 of 3 convolutions" in capsys.readouterr().out
    assert done.record["precision"] == "tf32"
    settings = replace(settings, precision="float32")
    on_cpu = transfer(*pictures, small_network, settings, Machine(device="cpu"))
    assert done.result.loss == pytest.approx(on_cpu.result.loss, rel=2e-3)


@pytest.mark.skipif(CUPY is not None, reason="replaces a part of the stand-in")
def test_filters_are_not_packed_on_a_gpu_whose_kernels_would_trap(rng, gpus, monkeypatch):
    kernel = rng.standard_normal((3, 3, 4, 6)).astype("f4")
    monkeypatch.setattr(gpus.cuda.Device, "compute_capability", "75")
    with pytest.raises(ValueError, match=r"tf32: needs a GPU of compute capability 8\.0"):
        cuda.pack_filters(kernel, "tf32")
    assert not [name for name, _ in agreement_outcomes(cuda) if "tensor" in name]


def test_a_device_without_tensor_cores_is_refused(rng, small_network, monkeypatch):
    picture = rng.uniform(0, 255, (9, 12, 3))
    settings = Settings(precision="fp16")
    with pytest.raises(InputError, match="--precision fp16: is for a GPU's tensor cores; on the"):
        transfer(picture, picture, small_network, settings, Machine(device="cpu"))
    old = Device(0, "An old GPU", 75)
    monkeypatch.setattr("npstyle.run.transfer.choose_device", lambda machine: old)
    with pytest.raises(InputError, match=r"needs compute capability 8\.0 .* An old GPU has 7\.5"):
        transfer(picture, picture, small_network, settings, Machine(device="cuda"))
    none = Device(missing="it rains")
    monkeypatch.setattr("npstyle.run.transfer.choose_device", lambda machine: none)
    with pytest.raises(InputError, match="tensor cores, and there is none: it rains; on the CPU"):
        transfer(picture, picture, small_network, settings)


@pytest.mark.parametrize("change", [{"exact": True}, {"dtype": "float64"}])
def test_settings_that_contradict_the_precision_are_refused(change):
    with pytest.raises(InputError, match="--precision tf32: contradicts --"):
        Settings(precision="tf32", **change)
