"""npstyle's own derivatives, each ready for `npstyle.lab.gradcheck.check_gradient`.

A chapter of the source (`CHAPTERS`) gives its subjects: a function, its backward function, and
random inputs. What a network gives is in `npstyle.lab.whole`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cpu import conv, gram, losses, relu, winograd
from npstyle.engine.cpu import padding as pad
from npstyle.engine.cpu import pooling as pool
from npstyle.engine.guides import Region, Source
from npstyle.images import image
from npstyle.lab.kinks import kink_pattern
from npstyle.maths.network import Conv, Layer, Pool, Relu
from npstyle.networks.network import Network
from npstyle.run.settings import Settings
from npstyle.maths import box
from npstyle.tiles import cut as tiles
from npstyle.tiles import passes as tile_passes
from npstyle.tiles.objective import TiledObjective

Array = NDArray[Any]


@dataclass(frozen=True)
class Subject:
    """One derivative and where to check it; the fields are `check_gradient`'s parameters."""

    name: str
    function: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: tuple[Array, ...]
    pattern: Callable[..., tuple[Any, Any]] | None = None
    linear: tuple[int, ...] = ()
    smooth: tuple[int, ...] = ()
    step: float | None = None


@dataclass(frozen=True)
class Chapter:
    """A module that derives something, the functions in it, and their subjects."""

    module: ModuleType
    functions: tuple[Callable[..., Any], ...]
    subjects: Callable[[np.random.Generator], Iterator[Subject]]


def conv_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Convolution in image, weight and bias, for several kernels, strides and paddings."""
    for size, stride, padding in [((3, 3), 1, 1), ((3, 2), 2, 1), ((1, 1), 1, 0)]:
        x = rng.standard_normal((5, 6, 3))
        w = rng.standard_normal((*size, 3, 4))
        b = rng.standard_normal(4)

        def function(x: Array, w: Array, b: Array, s: int = stride, p: int = padding) -> Array:
            return conv.conv2d(x, w, b, s, p)

        def backward(
            g: Array, x: Array, w: Array, b: Array, s: int = stride, p: int = padding
        ) -> tuple[Array, Array, Array]:
            kernel = (w.shape[0], w.shape[1])
            return (
                conv.conv2d_backward(g, w, x.shape, s, p),
                *conv.conv2d_backward_weights(g, x, kernel, s, p),
            )

        name = f"conv2d {size[0]}x{size[1]} /{stride} +{padding}"
        yield Subject(name, function, backward, (x, w, b), linear=(0, 1, 2), smooth=(0, 1, 2))


def winograd_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """The fast route, at sizes that are no multiple of its tiles, alone and with its ReLU."""
    x, b = rng.standard_normal((9, 6, 3)), rng.standard_normal(4)
    filters = winograd.transform_filters(rng.standard_normal((3, 3, 3, 4)))

    def rectified(x: Array) -> Array:
        return winograd.winograd_conv2d(x, filters, b, rectify=True)

    yield Subject(
        "winograd_conv2d",
        lambda x: winograd.winograd_conv2d(x, filters, b),
        lambda g, x: winograd.winograd_conv2d_backward(g, filters),
        (x,),
        linear=(0,),
        smooth=(0,),
    )
    yield Subject(
        "winograd_conv2d with ReLU",
        rectified,
        lambda g, x: winograd.winograd_conv2d_backward(g, filters, rectified(x)),
        (x,),
        pattern=lambda x: (rectified(x), rectified(x) > 0),
    )


def relu_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """The rectifier, with two values exactly at its kink."""
    z = rng.standard_normal((5, 6, 3))
    z[0, 0, 0] = z[4, 5, 2] = 0.0
    yield relu_subject("relu", z)


def avg_pool_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Average pooling on odd sizes, with windows that touch and that overlap."""
    for size, stride in [(2, 2), (3, 2)]:
        x = rng.standard_normal((5, 7, 3))
        yield avg_pool_subject(f"avg_pool2d {size}x{size} /{stride}", x, size, stride)


def max_pool_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Max pooling on odd sizes, with a tie."""
    for size, stride in [(2, 2), (3, 2)]:
        x = rng.standard_normal((5, 7, 3))
        x[0, 0, 0] = x[0, 1, 0] = 3.0
        yield max_pool_subject(f"max_pool2d {size}x{size} /{stride}", x, size, stride)


def l2_pool_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Root mean square pooling on odd sizes, with a window of zeros."""
    for size, stride in [(2, 2), (3, 2)]:
        x = rng.standard_normal((5, 7, 3))
        x[:size, :size, 0] = 0.0
        yield l2_pool_subject(f"l2_pool2d {size}x{size} /{stride}", x, size, stride)


def replicate_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Padding with the edge's pixels, by more than the image's own height, too."""
    for padding in (1, 3):
        yield Subject(
            f"replicate +{padding}",
            lambda x, p=padding: pad.replicate(x, p),
            lambda g, x, p=padding: pad.replicate_backward(g, p),
            (rng.standard_normal((2, 5, 3)),),
            linear=(0,),
            smooth=(0,),
        )


def relu_subject(name: str, z: Array) -> Subject:
    """The rectifier at z."""
    return Subject(
        name,
        relu.relu,
        lambda g, z: relu.relu_backward(g, relu.relu(z)),
        (z,),
        pattern=lambda z: (relu.relu(z), np.sign(z)),
    )


def avg_pool_subject(name: str, x: Array, size: int, stride: int) -> Subject:
    """Average pooling at x."""
    return Subject(
        name,
        lambda x: pool.avg_pool2d(x, size, stride),
        lambda g, x: pool.avg_pool2d_backward(g, x.shape, size, stride),
        (x,),
        linear=(0,),
        smooth=(0,),
    )


def max_pool_subject(name: str, x: Array, size: int, stride: int) -> Subject:
    """Max pooling at x; its kinks are where another place wins."""
    return Subject(
        name,
        lambda x: pool.max_pool2d(x, size, stride),
        lambda g, x: pool.max_pool2d_backward(g, x, pool.max_pool2d(x, size, stride), size, stride),
        (x,),
        pattern=lambda x: (
            pool.max_pool2d(x, size, stride),
            pool.max_pool2d_winners(x, size, stride),
        ),
    )


def l2_pool_subject(name: str, x: Array, size: int, stride: int) -> Subject:
    """Root mean square pooling at x; its kinks are where a window is all zeros."""
    return Subject(
        name,
        lambda x: pool.l2_pool2d(x, size, stride),
        lambda g, x: pool.l2_pool2d_backward(g, x, pool.l2_pool2d(x, size, stride), size, stride),
        (x,),
        pattern=lambda x: (pool.l2_pool2d(x, size, stride), pool.l2_pool2d(x, size, stride) > 0),
    )


def gram_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """The Gram matrix, over all positions alike and with weights."""
    x = rng.standard_normal((4, 5, 6))
    yield Subject("gram", gram.gram, gram.gram_backward, (x,), smooth=(0,))
    w = rng.uniform(0, 1, (4, 5))
    yield Subject(
        "gram, guided",
        lambda x: gram.gram(x, w),
        lambda g, x: gram.gram_backward(g, x, weights=w),
        (x,),
        smooth=(0,),
    )


def _active(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Activations of units that are all active, so that a loss's gate is open."""
    return np.abs(rng.standard_normal(shape)) + 0.1


def content_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """The content loss where all units are active, and as a function of the pre-activations."""
    target = relu.relu(rng.standard_normal((4, 5, 3)))
    yield Subject(
        "content loss",
        lambda f: losses.content_loss(f, target),
        lambda g, f: g * losses.content_loss_backward(f, target),
        (_active(rng, (4, 5, 3)),),
        smooth=(0,),
    )
    yield _gated(
        "content loss of max(z, 0)",
        lambda f: losses.content_loss(f, target),
        lambda f: losses.content_loss_backward(f, target),
        rng.standard_normal((4, 5, 3)),
    )


def style_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """The style loss with a painting of another size, in a region, and through the ReLU."""
    target = losses.mean_gram(relu.relu(rng.standard_normal((3, 7, 3))))
    guide = rng.uniform(0, 1, (4, 5))
    for name, weights in [("style loss", None), ("style loss, guided", guide / guide.sum())]:

        def value(f: Array, w: Array | None = weights) -> Any:
            return losses.style_loss(losses.mean_gram(f, w), target)

        def slope(f: Array, w: Array | None = weights) -> Array:
            return losses.style_loss_backward(f, losses.mean_gram(f, w), target, weights=w)

        active = _active(rng, (4, 5, 3))
        yield Subject(name, value, lambda g, f, s=slope: g * s(f), (active,), smooth=(0,))
        yield _gated(f"{name} of max(z, 0)", value, slope, rng.standard_normal((4, 5, 3)))


def _gated(
    name: str, value: Callable[[Array], Any], slope: Callable[[Array], Array], z: Array
) -> Subject:
    """A loss of F = max(z, 0) as a function of z: its own gate is the ReLU's derivative."""
    return Subject(
        name,
        lambda z: value(relu.relu(z)),
        lambda g, z: g * slope(relu.relu(z)),
        (z,),
        pattern=lambda z: (value(relu.relu(z)), np.sign(z)),
    )


def tv_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Total variation."""
    yield Subject(
        "total variation",
        losses.total_variation,
        lambda g, x: g * losses.total_variation_backward(x),
        (rng.uniform(0, 255, (4, 5, 3)),),
        smooth=(0,),
    )


def preprocess_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """From pixels to the network's input."""
    mean, scale = (103.939, 116.779, 123.68), (1.0, 0.5, 2.0)
    yield Subject(
        "preprocess",
        lambda x: image.preprocess(x, "BGR", mean, scale, np.float64),
        lambda g, x: image.preprocess_backward(g, "BGR", scale),
        (rng.uniform(0, 255, (4, 5, 3)),),
        linear=(0,),
    )


def mirror_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Numbers reflected at 0 and 255, some several times, and two that stand at a wall."""
    z = rng.uniform(-800, 1000, (4, 5, 3))
    z[0, 0, 0], z[3, 4, 2] = 0.0, 255.0
    yield Subject(
        "mirror",
        box.mirror,
        box.mirror_backward,
        (z,),
        pattern=lambda z: (box.mirror(z), np.floor(z / box.PIXEL_MAX)),
    )


def tile_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """The gradient by tiles, beside the objective of the whole picture: two regions, TV."""
    layers: list[Layer] = []
    for name, channels, filters in [("conv1_1", 3, 3), ("conv2_1", 3, 4)]:
        weight = rng.standard_normal((3, 3, channels, filters)) / np.sqrt(9 * channels / 2)
        layers.append(Conv(name, weight, rng.normal(0, 0.3, filters), 1, 1))
        layers.append(Relu(name.replace("conv", "relu")))
        layers.append(Pool(name.replace("conv", "pool").removesuffix("_1"), 2, 2, "avg"))
    network = Network("small", tuple(layers), "BGR", (120.0,) * 3, (0.02,) * 3, False, "")
    settings = Settings(
        content_layers={"conv2_1": 3.0},
        style_layers={"conv1_1": 1.0, "conv2_1": 1.0},
        tv_weight=0.1,
    )
    photo, painting, x = (rng.uniform(0, 255, (7, 11, 3)) for _ in range(3))
    left = rng.uniform(0, 1, (7, 11))
    regions = [Region((Source(painting),), left), Region((Source(photo),), 1 - left)]
    whole = build_objective(network, photo, regions, settings)
    tiled = TiledObjective(network, photo, regions, settings, tile=2)

    def traced(x: Array) -> tuple[float, Array]:
        loss, cache = whole.value(x)
        return loss, kink_pattern(network, cache)

    yield Subject(
        "objective by tiles",
        lambda x: whole.value(x)[0],
        lambda g, x: g * tiled(x).gradient,
        (x,),
        pattern=traced,
    )


CHAPTERS = {
    "conv2d": Chapter(
        conv, (conv.conv2d, conv.conv2d_backward, conv.conv2d_backward_weights), conv_subjects
    ),
    "winograd": Chapter(
        winograd, (winograd.winograd_conv2d, winograd.winograd_conv2d_backward), winograd_subjects
    ),
    "relu": Chapter(relu, (relu.relu, relu.relu_backward), relu_subjects),
    "avg_pool2d": Chapter(pool, (pool.avg_pool2d, pool.avg_pool2d_backward), avg_pool_subjects),
    "max_pool2d": Chapter(pool, (pool.max_pool2d, pool.max_pool2d_backward), max_pool_subjects),
    "l2_pool2d": Chapter(pool, (pool.l2_pool2d, pool.l2_pool2d_backward), l2_pool_subjects),
    "replicate": Chapter(pad, (pad.replicate, pad.replicate_backward), replicate_subjects),
    "gram": Chapter(gram, (gram.gram, gram.gram_backward), gram_subjects),
    "content": Chapter(
        losses, (losses.content_loss, losses.content_loss_backward), content_subjects
    ),
    "style": Chapter(
        losses, (losses.mean_gram, losses.style_loss, losses.style_loss_backward), style_subjects
    ),
    "tv": Chapter(losses, (losses.total_variation, losses.total_variation_backward), tv_subjects),
    "preprocess": Chapter(
        image, (image.preprocess, image.preprocess_backward), preprocess_subjects
    ),
    "mirror": Chapter(box, (box.mirror, box.mirror_backward), mirror_subjects),
    "tiles": Chapter(
        tiles,
        (tiles.receptive_field, tile_passes.tile_forward, tile_passes.tile_backward),
        tile_subjects,
    ),
}
