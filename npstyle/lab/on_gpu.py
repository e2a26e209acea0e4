"""The battery on an NVIDIA GPU: numerical checks of the kernels.

Functions and derivatives are those of `npstyle.engine.cuda`. The sums of the checks are computed on
the host. Winograd's convolution is checked in float32, its only precision on a GPU. Functions that
are linear between their kinks are checked in float32 and float64, all others in float64. (The
convolutions on tensor cores round their operands to 11 bits, which is too coarse for differences.
They are compared with the textbook instead; see `npstyle.lab.agreement`.)
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle import maths
from npstyle.engine import cuda
from npstyle.engine.bind import bind
from npstyle.engine.objective import StyleObjective
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.lab.subjects import Subject
from npstyle.maths.array import Array
from npstyle.networks.network import Network, configure
from npstyle.run.settings import PRESETS, Settings

Function = Callable[..., Any]

LONG = 1.0
"""Step for linear functions, relative to the entries. A long step makes rounding small."""


def gpu_subjects(seed: int) -> Iterator[Subject]:
    """Yield every kernel; those linear between their kinks in float32, too."""
    for dtype in (np.float64, np.float32):
        draw = partial(_draw, np.random.default_rng(seed), dtype)
        for subject in (*_linear(draw), *_linear_in_weights(draw), *_linear_of_painters(draw)):
            yield replace(subject, name=f"{subject.name} {np.dtype(dtype).name}")
    draw = partial(_draw, np.random.default_rng(seed), np.float64)
    yield from _curved(draw)
    yield from _curved_of_painters(draw)
    yield from _of_pixels(draw)
    yield from _winograd(partial(_draw, np.random.default_rng(seed), np.float32))


def gpu_objectives(network: Network, size: int, seed: int) -> Iterator[Subject]:
    """Yield the objective at the pixels, `size` x `size`, in float64, for every preset."""
    photo, painting = draw_photo(size, size), draw_painting(size, size)
    noise = np.random.default_rng(seed).normal(0, 20, photo.shape)
    pixels = np.clip(photo + noise, 1, 254)
    for name, settings in PRESETS.items():
        yield objective_on_gpu(f"objective {name}", network, settings, photo, painting, pixels)


def objective_on_gpu(
    name: str, network: Network, settings: Settings, photo: Array, painting: Array, pixels: Array
) -> Subject:
    """Return an objective at some pixels, without a pattern: kinks are detected by their jumps."""
    configured = configure(network, settings.pooling, np.float64, settings.padding)
    losses = settings.losses()
    bound = bind(configured, losses.layers, engine=cuda)
    objective = StyleObjective(bound, photo, painting, losses)
    return Subject(
        name, lambda x: objective.value(x)[0], lambda g, x: g * objective(x).gradient, (pixels,)
    )


def _draw(
    rng: np.random.Generator, dtype: type[np.floating[Any]], *shape: int
) -> NDArray[np.floating[Any]]:
    return rng.standard_normal(shape).astype(dtype)


def _on_gpu(function: Function) -> Function:
    """Return the same function, of one or several results, for arrays on the host."""

    def call(*arrays: Any) -> Any:
        found = function(*map(cuda.place, arrays))
        several = isinstance(found, tuple)
        return tuple(map(cuda.to_host, found)) if several else cuda.to_host(found)

    return call


def _number(function: Function) -> Function:
    """Return the same for a loss, which is an array of one value on the GPU."""
    return lambda *arrays: _on_gpu(function)(*arrays)[0]


def _linear(draw: Callable[..., Array]) -> Iterator[Subject]:
    for kernel, stride, padding, channels in [((3, 3), 1, 1, 3), ((3, 2), 2, 1, 6)]:
        w, b = cuda.place(draw(*kernel, channels, 4)), cuda.place(draw(4))
        way = stride, padding
        x = draw(7, 6, channels)
        name = f"conv2d {kernel[0]}x{kernel[1]} /{stride}"
        yield Subject(
            name,
            _on_gpu(lambda x, w=w, b=b, way=way: cuda.conv2d(x, w, b, *way)),
            _on_gpu(lambda g, x, w=w, way=way: cuda.conv2d_backward(g, w, x.shape, *way)),
            (x,),
            linear=(0,),
            step=LONG,
        )
        rectified = partial(_rectified, w, b, way)
        yield Subject(
            f"{name} with ReLU",
            _on_gpu(rectified),
            _on_gpu(
                lambda g, x, w=w, way=way, f=rectified: cuda.conv2d_backward(
                    g, w, x.shape, way[0], way[1], f(x)
                )
            ),
            (x,),
            pattern=_with_pattern(rectified, lambda x, f=rectified: f(x) > 0),
        )
    z = draw(5, 6, 3)
    yield Subject(
        "relu",
        _on_gpu(cuda.relu),
        _on_gpu(lambda g, z: cuda.relu_backward(g, cuda.relu_mask(cuda.relu(z)))),
        (z,),
        pattern=_with_pattern(cuda.relu, lambda z: z > 0),
    )
    for mode in ("avg", "max"):
        for size, stride in [(2, 2), (3, 2)]:
            yield _pooling(mode, size, stride, draw(5, 7, 3))
    yield Subject(
        "replicate",
        _on_gpu(lambda x: cuda.replicate_pad(x, 2)),
        _on_gpu(lambda g, x: cuda.replicate_pad_backward(g, 2)),
        (draw(3, 5, 3),),
        linear=(0,),
        step=LONG,
    )


def _linear_in_weights(draw: Callable[..., Array]) -> Iterator[Subject]:
    """Convolution and depthwise convolution in kernel and bias, by wide and by narrow tiles."""
    image, way = cuda.place(draw(7, 6, 3)), (2, 1)
    for filters in (4, 18):
        yield Subject(
            f"conv2d, weights of {filters} filters",
            _on_gpu(lambda k, b: cuda.conv2d(image, k, b, *way)),
            _on_gpu(lambda g, k, b: cuda.conv2d_backward_weights(g, image, (3, 2), *way)),
            (draw(3, 2, 3, filters), draw(filters)),
            linear=(0, 1),
            step=LONG,
        )
    yield Subject(
        "depthwise_conv2d, weights",
        _on_gpu(lambda k, b: cuda.depthwise_conv2d(image, k, b, *way)),
        _on_gpu(lambda g, k, b: cuda.depthwise_conv2d_backward_weights(g, image, (3, 2), *way)),
        (draw(3, 2, 3), draw(3)),
        linear=(0, 1),
        step=LONG,
    )


def _rectified(w: Array, b: Array, way: tuple[int, int], x: Array) -> Array:
    return cuda.conv2d(x, w, b, *way, rectify=True)


def _with_pattern(function: Function, side: Function) -> Callable[..., tuple[Any, Any]]:
    """Return a function that also returns the side of each kink."""
    return lambda *arrays: (_on_gpu(function)(*arrays), _on_gpu(side)(*arrays))


def _pooling(mode: str, size: int, stride: int, x: Array) -> Subject:
    forward_of = {"avg": cuda.avg_pool2d, "max": cuda.max_pool2d, "l2": cuda.l2_pool2d}
    backward_of = {"max": cuda.max_pool2d_backward, "l2": cuda.l2_pool2d_backward}

    def forward(x: Array) -> Array:
        return forward_of[mode](x, size, stride)

    def backward(g: Array, x: Array) -> Array:
        if mode == "avg":
            return cuda.avg_pool2d_backward(g, x.shape, size, stride)
        return backward_of[mode](g, x, forward(x), size, stride)

    def winners(x: Array) -> tuple[Array, Array]:
        return _on_gpu(forward)(x), maths.max_pool2d_winners(x, size, stride)

    return Subject(
        f"{mode}_pool2d {size}x{size} /{stride}",
        _on_gpu(forward),
        _on_gpu(backward),
        (x,),
        pattern=winners if mode == "max" else None,
        linear=(0,) if mode == "avg" else (),
        step=LONG if mode == "avg" else None,
    )


def _curved(draw: Callable[..., Array]) -> Iterator[Subject]:
    """The losses, total variation and l2 pooling."""
    for size, stride in [(2, 2), (3, 2)]:
        yield _pooling("l2", size, stride, draw(5, 7, 3))
    F = np.abs(draw(4, 5, 3))
    F += F.dtype.type(0.1)
    P, A = cuda.place(np.abs(draw(4, 5, 3))), cuda.place(draw(3, 3))
    w = np.abs(draw(4, 5))
    for name, guide in [("style loss", None), ("style loss, guided", cuda.place(w / w.sum()))]:

        def value(F: Array, w: Array | None = guide) -> Array:
            return cuda.style_loss(F, A, w)

        def slope(g: Array, F: Array, w: Array | None = guide) -> Array:
            return g * cuda.style_loss_backward(F, A, guide=w)

        yield Subject(name, _number(value), _on_gpu(slope), (F,))
    yield Subject(
        "content loss",
        _number(lambda F: cuda.content_loss(F, P)),
        _on_gpu(lambda g, F: g * cuda.content_loss_backward(F, P)),
        (F,),
    )
    yield Subject(
        "total variation",
        _number(cuda.total_variation),
        _on_gpu(lambda g, x: g * cuda.total_variation_backward(x)),
        (draw(4, 5, 3),),
    )


def _linear_of_painters(draw: Callable[..., Array]) -> Iterator[Subject]:
    """Functions of networks that paint in one pass, linear in the picture, and ReLU6."""
    K, b = cuda.place(draw(3, 3, 3, 4)), cuda.place(draw(4))
    D, c = cuda.place(draw(3, 2, 3)), cuda.place(draw(3))
    functions: list[tuple[str, Function, Function]] = [
        ("reflect", lambda x: cuda.reflect_pad(x, 3), lambda g, x: cuda.reflect_pad_backward(g, 3)),
        (
            "zero +0, +1",
            lambda x: cuda.zero_pad(x, 0, 1),
            lambda g, x: cuda.zero_pad_backward(g, 0, 1),
        ),
        (
            "reflect_conv2d",
            lambda x: cuda.reflect_conv2d(x, K, b, 2, 1),
            lambda g, x: cuda.reflect_conv2d_backward(g, K, x.shape, 2, 1),
        ),
        (
            "depthwise_conv2d",
            lambda x: cuda.depthwise_conv2d(x, D, c, 2, 1),
            lambda g, x: cuda.depthwise_conv2d_backward(g, D, x.shape, 2, 1),
        ),
        ("upsample", lambda x: cuda.upsample(x, 2), lambda g, x: cuda.upsample_backward(g, 2)),
        (
            "global_avg_pool",
            cuda.global_avg_pool,
            lambda g, x: cuda.global_avg_pool_backward(g, x.shape),
        ),
    ]
    for name, function, backward in functions:
        x = (draw(5, 6, 3),)
        yield Subject(name, _on_gpu(function), _on_gpu(backward), x, linear=(0,), step=LONG)
    yield Subject(
        "relu6",
        _on_gpu(cuda.relu6),
        _on_gpu(lambda g, z: cuda.relu6_backward(g, cuda.relu6(z))),
        (5 * draw(5, 6, 3),),
        pattern=_with_pattern(cuda.relu6, lambda z: (z > 0) & (z < 6)),
    )


def _curved_of_painters(draw: Callable[..., Array]) -> Iterator[Subject]:
    """Instance normalisation and the sigmoid."""
    yield Subject(
        "instance_norm",
        _on_gpu(lambda x, a, b: cuda.instance_norm(x, a, b, 1e-3)),
        _on_gpu(lambda g, x, a, b: cuda.instance_norm_backward(g, x, a, 1e-3)),
        (draw(5, 6, 3), draw(3), draw(3)),
    )
    yield Subject(
        "sigmoid",
        _on_gpu(cuda.sigmoid),
        _on_gpu(lambda g, z: cuda.sigmoid_backward(g, cuda.sigmoid(z))),
        (2 * draw(5, 6, 3),),
    )


def _winograd(draw: Callable[..., Array]) -> Iterator[Subject]:
    """Winograd's convolution, alone, and with a fixed ReLU mask and average pooling after it."""
    x, b = draw(9, 6, 5), cuda.place(draw(4))
    U = cuda.transform_filters(cuda.place(draw(3, 3, 5, 4)))
    mask = cuda.place(draw(9, 6, 4) > 0)

    def pooled(x: Array) -> Array:
        masked = cuda.relu_backward(cuda.winograd_conv2d(x, U, b), mask)
        return cuda.avg_pool2d(masked)

    yield Subject(
        "winograd_conv2d",
        _on_gpu(lambda x: cuda.winograd_conv2d(x, U, b)),
        _on_gpu(lambda g, x: cuda.winograd_conv2d_backward(g, U)),
        (x,),
        linear=(0,),
        step=LONG,
    )
    yield Subject(
        "winograd_conv2d pooled",
        _on_gpu(pooled),
        _on_gpu(lambda g, x: cuda.winograd_conv2d_backward(g, U, mask, 2)),
        (x,),
        linear=(0,),
        step=LONG,
    )


def _of_pixels(draw: Callable[..., Array]) -> Iterator[Subject]:
    """Preprocessing, and reflection at the walls of the box."""
    mean, scale = (103.939, 116.779, 123.68), (1.0, 0.5, 2.0)
    yield Subject(
        "preprocess",
        _on_gpu(lambda x: cuda.preprocess(x, "BGR", mean, scale, np.float64)),
        _on_gpu(lambda g, x: cuda.preprocess_backward(g, "BGR", scale)),
        (100 * draw(4, 5, 3),),
        linear=(0,),
    )
    z = 400 * draw(4, 5, 3)
    z[0, 0, 0], z[3, 4, 2] = 0.0, 255.0
    yield Subject(
        "mirror",
        _on_gpu(cuda.mirror),
        _on_gpu(cuda.mirror_backward),
        (z,),
        pattern=lambda z: (_on_gpu(cuda.mirror)(z), np.floor(z / maths.PIXEL_MAX)),
    )
