"""The objective of the preset `gatys` in PyTorch, on any device, for `tools/benchmark_gpu.py`.

It consists of plain calls of `torch.nn.functional`, which `torch.compile` can handle. The reference
for numerical comparisons is `tests/peer.py`.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional

from npstyle.maths.layers import Conv, Pool
from npstyle.networks.network import Network
from npstyle.run.settings import Settings

Loss = Callable[[Any], Any]


def torch_objective(
    network: Network, photo: Any, painting: Any, settings: Settings, device: str
) -> tuple[Loss, Any]:
    """Return the loss as a function of the pixels, and the pixels of the photo.

    Parameters
    ----------
    network : Network
        Its arrays are on the host; average pooling.
    photo, painting : arrays (height, width, 3), 0..255
    settings : Settings
        With mean squared differences and without total variation.
    device : str
        PyTorch's name of the device.

    Returns
    -------
    loss : callable
        Takes pixels, float32 (1, 3, height, width), and returns a scalar tensor.
    pixels : tensor (1, 3, height, width)
    """
    assert settings.scaling == "means"
    assert not settings.tv_weight
    names = network.activations()
    content = {network.depth(name): w for name, w in settings.content_layers.items()}
    style = {network.depth(name): w for name, w in settings.style_layers.items()}
    steps = [_step(layer, device) for layer in network.layers[: max({**content, **style}) + 1]]
    assert set(content) | set(style) <= set(names)
    order = [2, 1, 0] if network.channel_order == "BGR" else [0, 1, 2]
    mean, scale = (_tensor(v, device).view(1, 3, 1, 1) for v in (network.mean, network.scale))

    def activations(pixels: Any) -> dict[int, Any]:
        x = (pixels[:, order] - mean) * scale
        found = {}
        for index, step in enumerate(steps):
            x = step(x)
            if index in content or index in style:
                found[index] = x
        return found

    pixels = _picture(photo, device)
    with torch.no_grad():
        found = activations(pixels)
        targets = {index: found[index] for index in content}
        found = activations(_picture(painting, device))
        grams = {index: _gram(found[index]) for index in style}

    def loss(pixels: Any) -> Any:
        found = activations(pixels)
        total = pixels.new_zeros(())
        for index, w in content.items():
            difference = functional.mse_loss(found[index], targets[index])
            total = total + settings.content_weight * w * difference
        for index, w in style.items():
            G = _gram(found[index])
            difference = functional.mse_loss(G, grams[index])
            total = total + settings.style_weight * w / len(G) ** 2 * difference
        return total

    return loss, pixels


def search(loss: Loss, pixels: Any, iterations: int, corrections: int) -> tuple[Any, int]:
    """Run PyTorch's L-BFGS; return the pixels and the number of evaluations."""
    x = pixels.clone().requires_grad_()
    search: Any = torch.optim.LBFGS(
        [x],
        max_iter=iterations,
        max_eval=100 * iterations,
        tolerance_grad=0,
        tolerance_change=0,
        history_size=corrections,
        line_search_fn="strong_wolfe",
    )
    evaluations = 0

    def closure() -> Any:
        nonlocal evaluations
        evaluations += 1
        search.zero_grad()
        value = loss(x)
        value.backward()
        return value

    search.step(closure)
    return x.detach(), evaluations


def evaluate(loss: Loss, pixels: Any) -> tuple[float, Any]:
    """Return the loss and its gradient at the pixels."""
    x = pixels.detach().requires_grad_()
    value = loss(x)
    (gradient,) = torch.autograd.grad(value, x)
    return value.item(), gradient


def set_tf32(allowed: bool) -> None:
    """Allow or forbid tf32 in float32 products, in convolutions and elsewhere."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = True


def _tensor(values: Any, device: str) -> Any:
    return torch.tensor(values, dtype=torch.float32, device=device)


def _picture(pixels: Any, device: str) -> Any:
    return _tensor(pixels.transpose(2, 0, 1)[None].copy(), device)


def _step(layer: Any, device: str) -> Callable[[Any], Any]:
    if isinstance(layer, Conv):
        weight = _tensor(layer.kernel.transpose(3, 2, 0, 1).copy(), device)
        bias, stride, padding = _tensor(layer.bias, device), layer.stride, layer.padding
        return lambda x: functional.conv2d(x, weight, bias, stride, padding)
    if isinstance(layer, Pool):
        size, step = layer.size, layer.stride
        return lambda x: functional.avg_pool2d(x, size, step)
    return functional.relu


def _gram(activation: Any) -> Any:
    F = activation.reshape(activation.shape[1], -1)
    return F @ F.T / F.shape[1]
