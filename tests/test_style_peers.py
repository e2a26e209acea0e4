"""The derivatives of a whole style network against PyTorch's autograd, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed; pip install -e '.[peers]' to compare with it"
)
import torch.nn.functional as functional

from npstyle import maths
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.maths.conditional import ConditionalNorm
from npstyle.maths.layers import (
    Add,
    Conv,
    DepthwiseConv,
    GlobalPool,
    InstanceNorm,
    Pad,
    Relu,
    Relu6,
    Sigmoid,
    Upsample,
)
from npstyle.onepass.styles import load_named
from npstyle.onepass.stylize import bind_style_network, paint_backward
from tests.numeric import relative_error

pytestmark = pytest.mark.peers

BOUND = 1e-10


def tensor(array):
    return torch.tensor(np.ascontiguousarray(array, np.float64), requires_grad=True)


def torch_layers(layers):
    """The arrays of layers as leaves of PyTorch's graph, by layer and name."""
    return {
        layer.name: {
            name: tensor(value)
            for name, value in vars(layer).items()
            if isinstance(value, np.ndarray)
        }
        for layer in layers
    }


def torch_forward(layers, arrays, x, code=None):
    """The output (1, channels, height, width) of a network, with the normalisations' scales."""
    outputs, norms = {"image": x}, {}
    for layer in layers:
        own = arrays[layer.name]
        match layer:
            case Conv():
                p = layer.padding
                if layer.padding_mode == "reflect":
                    x, p = functional.pad(x, [p] * 4, mode="reflect"), 0
                kernel = own["kernel"].permute(3, 2, 0, 1)
                x = functional.conv2d(x, kernel, own["bias"], layer.stride, p)
            case DepthwiseConv():
                kernel = own["kernel"].permute(2, 0, 1)[:, None]
                way = layer.stride, layer.padding, 1, len(kernel)
                x = functional.conv2d(x, kernel, own["bias"], *way)
            case ConditionalNorm() | InstanceNorm():
                scale, shift = own.get("scale"), own.get("shift")
                if isinstance(layer, ConditionalNorm):
                    scale = own["scale_weights"] @ code + own["scale_bias"]
                    shift = own["shift_weights"] @ code + own["shift_bias"]
                scale.retain_grad()
                shift.retain_grad()
                norms[layer.name] = {"scale": scale, "shift": shift}
                x = functional.instance_norm(x, weight=scale, bias=shift, eps=layer.epsilon)
            case Relu():
                x = functional.relu(x)
            case Relu6():
                x = functional.relu6(x)
            case Add():
                x = x + outputs[layer.skip]
            case Upsample():
                x = functional.interpolate(x, scale_factor=layer.factor, mode="nearest")
            case Pad():
                x = functional.pad(x, [layer.before, layer.after] * 2)
            case GlobalPool():
                x = x.mean((2, 3), keepdim=True)
            case Sigmoid():
                x = torch.sigmoid(x)
        outputs[layer.name] = x
    return x, norms


def planes(pixels):
    return tensor(pixels.transpose(2, 0, 1)[None])


def hwc(gradient):
    return gradient.numpy()[0].transpose(1, 2, 0)


@pytest.mark.parametrize("name", ["any_style", "multistyle26"])
@pytest.mark.parametrize("size", [(36, 44), (37, 46)])
def test_picture_code_scales_and_shifts(rng, name, size):
    network = load_named(name)
    photo = draw_photo(*size)
    code = 0.3 * rng.standard_normal(network.code)
    if network.styles:
        code = np.abs(code) / np.abs(code).sum()
    target = draw_painting(*size)

    x, c = planes(photo), tensor(code)
    arrays = torch_layers(network.transformer)
    output, norms = torch_forward(network.transformer, arrays, x / 255, c)
    picture = 255 * output[:, :, : size[0], : size[1]]
    loss = 0.5 * ((picture - planes(target).detach()) ** 2).sum()
    loss.backward()

    bound = bind_style_network(network, dtype=np.float64)
    found, gradient = paint_backward(bound, lambda y: y - target, photo, code)
    assert relative_error(found, hwc(picture.detach())) <= BOUND
    assert relative_error(gradient.photo, hwc(x.grad)) <= BOUND
    assert relative_error(gradient.code, c.grad.numpy()) <= BOUND
    for of, right in (
        ("scale", torch.cat([n["scale"].grad for n in norms.values()])),
        ("shift", torch.cat([n["shift"].grad for n in norms.values()])),
    ):
        ours = np.concatenate([gradient.norms[layer][of] for layer in norms])
        assert relative_error(ours, right.numpy()) <= BOUND


@pytest.mark.parametrize("name", ["any_style", "multistyle26"])
def test_every_weight_in_the_textbook(rng, name):
    network, photo = load_named(name), draw_photo(24, 20)
    code = 0.3 * rng.standard_normal(network.code)
    arrays = torch_layers(network.transformer)
    output, _ = torch_forward(network.transformer, arrays, planes(photo) / 255, tensor(code))
    g = rng.standard_normal(hwc(output.detach()).shape)
    output.backward(planes(g).detach())

    layers = maths.conditioned(network.transformer, code)
    outputs = maths.forward(layers, photo / 255)
    arriving = maths.backward_everywhere(layers, outputs, {layers[-1].name: g})
    found = maths.backward_weights(layers, outputs, arriving)
    found |= maths.conditioned_backward(network.transformer, code, found)[1]
    # All of them together: a bias in front of a normalisation has the derivative 0.
    wanted = [
        (layer, name) for layer, own in arrays.items() for name in own if own[name].grad is not None
    ]
    assert {name for _, name in wanted} >= {"kernel", "bias", "scale_weights", "shift_bias"}
    ours = np.concatenate([found[layer][name].ravel() for layer, name in wanted])
    right = np.concatenate([arrays[layer][name].grad.numpy().ravel() for layer, name in wanted])
    assert relative_error(ours, right) <= BOUND


def test_the_predictor(rng):
    network, painting = load_named("any_style"), draw_painting(48, 40)
    x, arrays = planes(painting), torch_layers(network.predictor)
    code, _ = torch_forward(network.predictor, arrays, x / 255)
    g = rng.standard_normal(network.code)
    code.backward(torch.tensor(g[None, :, None, None]))

    layers, image = network.predictor, painting / 255
    outputs = maths.forward(layers, image)
    assert relative_error(outputs[layers[-1].name].ravel(), code.detach().numpy().ravel()) <= BOUND
    at_image = maths.backward(layers, outputs, {layers[-1].name: g[None, None]})
    assert relative_error(at_image / 255, hwc(x.grad)) <= BOUND
