"""The battery on an NVIDIA card: what the kernels compute, against numbers.

Functions and derivatives are those of the engine, run on the card; the numbers are put together on
the host. Winograd's convolution is checked in float32, the only precision that it has; of the
others, what is linear between its kinks in float32 and in float64, the rest in float64. (The tensor
cores' convolutions round their operands to 11 bits: too coarse for differences. They are held to
NumPy's by the tests.)
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cpu import conv, losses, relu, winograd
from npstyle.engine.cpu import padding as pad
from npstyle.engine.cpu import pooling as pool
from npstyle.engine.cuda import arrays as card
from npstyle.engine.cuda import kernels as gpu
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.lab.battery import Subject
from npstyle.networks.network import Network, configure, to_device
from npstyle.run.settings import PRESETS, Settings
from npstyle.maths import box

Array = NDArray[Any]
Function = Callable[..., Any]

LONG = 1.0
"""A linear function's step, as long as its entries: rounding is least beside it."""


def card_subjects(seed: int) -> Iterator[Subject]:
    """Every kernel; in float32 what is linear between its kinks: differences can resolve that."""
    for dtype in (np.float64, np.float32):
        draw = partial(_draw, np.random.default_rng(seed), dtype)
        for subject in _linear(draw):
            yield replace(subject, name=f"{subject.name} {np.dtype(dtype).name}")
    draw = partial(_draw, np.random.default_rng(seed), np.float64)
    yield from _curved(draw)
    yield from _of_pixels(draw)
    yield from _winograd(partial(_draw, np.random.default_rng(seed), np.float32))


def card_objectives(network: Network, size: int, seed: int) -> Iterator[Subject]:
    """The whole objective at the pixels, `size` x `size`, in float64: every preset."""
    photo, painting = draw_photo(size, size), draw_painting(size, size)
    noise = np.random.default_rng(seed).normal(0, 20, photo.shape)
    pixels = np.clip(photo + noise, 1, 254)
    for name, settings in PRESETS.items():
        yield objective_on_card(f"objective {name}", network, settings, photo, painting, pixels)


def objective_on_card(
    name: str, network: Network, settings: Settings, photo: Array, painting: Array, pixels: Array
) -> Subject:
    """An objective at some pixels; its kinks are seen by their jumps."""
    placed = to_device(configure(network, settings.pooling, np.float64, settings.padding))
    objective = build_objective(placed, photo, painting, settings)
    return Subject(
        name, lambda x: objective.value(x)[0], lambda g, x: g * objective(x).gradient, (pixels,)
    )


def _draw(
    rng: np.random.Generator, dtype: type[np.floating[Any]], *shape: int
) -> NDArray[np.floating[Any]]:
    return rng.standard_normal(shape).astype(dtype)


def _on_card(function: Function) -> Function:
    """The same function from the host's arrays to one of them."""

    def call(*arrays: Any) -> Array:
        return card.to_host(function(*map(card.to_device, arrays)))

    return call


def _number(function: Function) -> Function:
    """The same for a loss, which is an array of one value on the card."""
    return lambda *arrays: _on_card(function)(*arrays)[0]


def _linear(draw: Callable[..., Array]) -> Iterator[Subject]:
    for kernel, stride, padding, channels in [((3, 3), 1, 1, 3), ((3, 2), 2, 1, 6)]:
        w, b = card.to_device(draw(*kernel, channels, 4)), card.to_device(draw(4))
        way = stride, padding
        x = draw(7, 6, channels)
        name = f"conv2d {kernel[0]}x{kernel[1]} /{stride}"
        yield Subject(
            name,
            _on_card(lambda x, w=w, b=b, way=way: conv.conv2d(x, w, b, *way)),
            _on_card(lambda g, x, w=w, way=way: conv.conv2d_backward(g, w, x.shape, *way)),
            (x,),
            linear=(0,),
            step=LONG,
        )
        rectified = partial(_rectified, w, b, way)
        yield Subject(
            f"{name} with ReLU",
            _on_card(rectified),
            _on_card(
                lambda g, x, w=w, way=way, f=rectified: conv.conv2d_backward(
                    g, w, x.shape, way[0], way[1], f(x)
                )
            ),
            (x,),
            pattern=_with_pattern(rectified, lambda x, f=rectified: f(x) > 0),
        )
    z = draw(5, 6, 3)
    yield Subject(
        "relu",
        _on_card(relu.relu),
        _on_card(lambda g, z: relu.relu_backward(g, relu.relu_mask(relu.relu(z)))),
        (z,),
        pattern=_with_pattern(relu.relu, lambda z: z > 0),
    )
    for mode in ("avg", "max"):
        for size, stride in [(2, 2), (3, 2)]:
            yield _pooling(mode, size, stride, draw(5, 7, 3))
    yield Subject(
        "replicate",
        _on_card(lambda x: pad.replicate(x, 2)),
        _on_card(lambda g, x: pad.replicate_backward(g, 2)),
        (draw(3, 5, 3),),
        linear=(0,),
        step=LONG,
    )


def _rectified(w: Array, b: Array, way: tuple[int, int], x: Array) -> Array:
    return conv.conv2d(x, w, b, *way, rectify=True)


def _with_pattern(function: Function, side: Function) -> Callable[..., tuple[Any, Any]]:
    """The function, and on which side of its kinks it was."""
    return lambda *arrays: (_on_card(function)(*arrays), _on_card(side)(*arrays))


def _pooling(mode: str, size: int, stride: int, x: Array) -> Subject:
    def forward(x: Array) -> Array:
        return gpu.pool2d(mode, x, size, stride)

    def backward(g: Array, x: Array) -> Array:
        return gpu.pool2d_backward(mode, g, x.shape, x, forward(x), size, stride)

    def winners(x: Array) -> tuple[Array, Array]:
        return _on_card(forward)(x), pool.max_pool2d_winners(x, size, stride)

    return Subject(
        f"{mode}_pool2d {size}x{size} /{stride}",
        _on_card(forward),
        _on_card(backward),
        (x,),
        pattern=winners if mode == "max" else None,
        linear=(0,) if mode == "avg" else (),
        step=LONG if mode == "avg" else None,
    )


def _curved(draw: Callable[..., Array]) -> Iterator[Subject]:
    """The losses, where all units are active and their own gates are open, and l2 pooling."""
    for size, stride in [(2, 2), (3, 2)]:
        yield _pooling("l2", size, stride, draw(5, 7, 3))
    active = np.abs(draw(4, 5, 3))
    active += active.dtype.type(0.1)
    P, A = card.to_device(np.abs(draw(4, 5, 3))), card.to_device(draw(3, 3))
    w = np.abs(draw(4, 5))
    for name, weights in [
        ("style loss", None),
        ("style loss, guided", card.to_device(w / w.sum())),
    ]:

        def value(F: Array, w: Array | None = weights) -> Array:
            return losses.style_loss(losses.mean_gram(F, w), A)

        def slope(g: Array, F: Array, w: Array | None = weights) -> Array:
            return g * losses.style_loss_backward(F, losses.mean_gram(F, w), A, weights=w)

        yield Subject(name, _number(value), _on_card(slope), (active,))
    yield Subject(
        "content loss",
        _number(lambda F: losses.content_loss(F, P)),
        _on_card(lambda g, F: g * losses.content_loss_backward(F, P)),
        (active,),
    )
    yield Subject(
        "total variation",
        _number(losses.total_variation),
        _on_card(lambda g, x: g * losses.total_variation_backward(x)),
        (draw(4, 5, 3),),
    )


def _winograd(draw: Callable[..., Array]) -> Iterator[Subject]:
    """The fast route, alone, and through fixed gates and an average pooling."""
    x, b = draw(9, 6, 5), card.to_device(draw(4))
    U = card.to_device(winograd.transform_filters(draw(3, 3, 5, 4)))
    gate = card.to_device(draw(9, 6, 4) > 0)

    def pooled(x: Array) -> Array:
        gated = relu.relu_backward(winograd.winograd_conv2d(x, U, b), gate)
        return pool.avg_pool2d(gated)

    yield Subject(
        "winograd_conv2d",
        _on_card(lambda x: winograd.winograd_conv2d(x, U, b)),
        _on_card(lambda g, x: winograd.winograd_conv2d_backward(g, U)),
        (x,),
        linear=(0,),
        step=LONG,
    )
    yield Subject(
        "winograd_conv2d pooled",
        _on_card(pooled),
        _on_card(lambda g, x: winograd.winograd_conv2d_backward(g, U, gate, 2)),
        (x,),
        linear=(0,),
        step=LONG,
    )


def _of_pixels(draw: Callable[..., Array]) -> Iterator[Subject]:
    """The network's input, and the walls of the box."""
    mean, scale = (103.939, 116.779, 123.68), (1.0, 0.5, 2.0)
    yield Subject(
        "preprocess",
        _on_card(lambda x: gpu.preprocess(x, "BGR", mean, scale, np.float64)),
        _on_card(lambda g, x: gpu.preprocess_backward(g, "BGR", scale)),
        (100 * draw(4, 5, 3),),
        linear=(0,),
    )
    z = 400 * draw(4, 5, 3)
    z[0, 0, 0], z[3, 4, 2] = 0.0, 255.0
    yield Subject(
        "mirror",
        _on_card(box.mirror),
        _on_card(box.mirror_backward),
        (z,),
        pattern=lambda z: (_on_card(box.mirror)(z), np.floor(z / box.PIXEL_MAX)),
    )
