"""The derivatives of a whole style network against PyTorch's autograd, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed; pip install -e '.[peers]' to compare with it"
)

from npstyle import maths
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.onepass.styles import load_named
from npstyle.onepass.stylize import bind_style_network, paint_backward
from tests.numeric import relative_error
from tests.style_peer import hwc, planes, tensor, torch_forward, torch_layers

pytestmark = pytest.mark.peers

BOUND = 1e-10


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
