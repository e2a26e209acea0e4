"""The textbook's derivatives, page by page, at random inputs.

Each function takes a random generator and yields the subjects of one page of `npstyle.maths`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from npstyle import maths
from npstyle.lab.kinks import sides_of_layers
from npstyle.lab.subjects import (
    Subject,
    avg_pool_subject,
    l2_pool_subject,
    max_pool_subject,
    relu_subject,
)
from npstyle.maths.array import Array
from npstyle.maths.layers import Conv, Layer, PaddingMode, Pool, Pooling, Relu, VggLayer
from npstyle.maths.objective import ContentTerm, Preprocessing, StyleTerm


def preprocess_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield preprocessing with another scale for each channel."""
    mean, scale = (103.939, 116.779, 123.68), (1.0, 0.5, 2.0)
    yield Subject(
        "preprocess",
        lambda x: maths.preprocess(x, "BGR", mean, scale),
        lambda g, x: maths.preprocess_backward(g, "BGR", scale),
        (rng.uniform(0, 255, (4, 5, 3)),),
        linear=(0,),
        smooth=(0,),
    )


def zero_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield zero padding."""
    yield from padding_subjects("zero", maths.zero_pad, maths.zero_pad_backward, rng)


def replicate_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield replicate padding, once by more than the image's own height."""
    yield from padding_subjects("replicate", maths.replicate_pad, maths.replicate_pad_backward, rng)


def padding_subjects(
    name: str,
    pad: Callable[[Array, int], Array],
    pad_backward: Callable[[Array, int], Array],
    rng: np.random.Generator,
    height: int = 2,
) -> Iterator[Subject]:
    """Yield a padding by 1 and by 3 of an image with this height."""
    for padding in (1, 3):
        yield Subject(
            f"{name} +{padding}",
            lambda x, p=padding: pad(x, p),
            lambda g, x, p=padding: pad_backward(g, p),
            (rng.standard_normal((height, 5, 3)),),
            linear=(0,),
            smooth=(0,),
        )


def window_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield all slices of a window as one array; adding to them is the derivative."""
    for size, stride in [((2, 2), 2), ((3, 2), 1)]:

        def function(x: Array, k: tuple[int, int] = size, s: int = stride) -> Array:
            return np.stack([view for _, view in maths.windows(x, k, s)])

        def backward(g: Array, x: Array, k: tuple[int, int] = size, s: int = stride) -> Array:
            gradient = np.zeros_like(x)
            for (_, view), upstream in zip(maths.windows(gradient, k, s), g, strict=True):
                view += upstream
            return gradient

        x = rng.standard_normal((5, 7, 3))
        name = f"windows {size[0]}x{size[1]} /{stride}"
        yield Subject(name, function, backward, (x,), linear=(0,), smooth=(0,))


def conv_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield convolution of image, kernel and bias, for several sizes, strides and paddings."""
    for size, stride, padding in [((3, 3), 1, 1), ((3, 2), 2, 1), ((1, 1), 1, 0)]:
        x = rng.standard_normal((5, 6, 3))
        k = rng.standard_normal((*size, 3, 4))
        b = rng.standard_normal(4)

        def function(x: Array, k: Array, b: Array, s: int = stride, p: int = padding) -> Array:
            return maths.conv2d(x, k, b, s, p)

        def backward(
            g: Array, x: Array, k: Array, b: Array, s: int = stride, p: int = padding
        ) -> tuple[Array, Array, Array]:
            return (
                maths.conv2d_backward(g, k, x.shape, s, p),
                *maths.conv2d_backward_weights(g, x, (k.shape[0], k.shape[1]), s, p),
            )

        name = f"conv2d {size[0]}x{size[1]} /{stride} +{padding}"
        yield Subject(name, function, backward, (x, k, b), linear=(0, 1, 2), smooth=(0, 1, 2))


def relu_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield the ReLU, with two values exactly at its kink."""
    z = rng.standard_normal((5, 6, 3))
    z[0, 0, 0] = z[4, 5, 2] = 0.0
    yield relu_subject("relu", z)


def avg_pool_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield average pooling on odd sizes, with windows that touch and that overlap."""
    for size, stride in [(2, 2), (3, 2)]:
        x = rng.standard_normal((5, 7, 3))
        yield avg_pool_subject(f"avg_pool2d {size}x{size} /{stride}", x, size, stride)


def max_pool_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield max pooling on odd sizes, with a tie."""
    for size, stride in [(2, 2), (3, 2)]:
        x = rng.standard_normal((5, 7, 3))
        x[0, 0, 0] = x[0, 1, 0] = 3.0
        yield max_pool_subject(f"max_pool2d {size}x{size} /{stride}", x, size, stride)


def l2_pool_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield root mean square pooling on odd sizes, with a window of zeros."""
    for size, stride in [(2, 2), (3, 2)]:
        x = rng.standard_normal((5, 7, 3))
        x[:size, :size, 0] = 0.0
        yield l2_pool_subject(f"l2_pool2d {size}x{size} /{stride}", x, size, stride)


def small_layers(
    rng: np.random.Generator, pooling: Pooling = "avg", padding_mode: PaddingMode = "zero"
) -> list[VggLayer]:
    """Return two blocks of convolution, ReLU and pooling with few channels."""
    layers: list[VggLayer] = []
    for block, channels, filters in [(1, 3, 3), (2, 3, 4)]:
        kernel = rng.standard_normal((3, 3, channels, filters)) / np.sqrt(9 * channels / 2)
        bias = rng.normal(0, 0.3, filters)
        mode: PaddingMode = padding_mode if block == 1 else "zero"
        layers += [
            Conv(f"conv{block}_1", kernel, bias, 1, 1, mode),
            Relu(f"relu{block}_1"),
            Pool(f"pool{block}", 2, 2, pooling),
        ]
    return layers


def network_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield the outputs of two layers of a small network as one vector.

    l2 pooling is left out. Behind a ReLU a window may be so close to 0 that the curvature there
    changes the slope of the Taylor remainder, as a kink does.
    """
    modes: list[tuple[Pooling, PaddingMode]] = [("avg", "zero"), ("max", "replicate")]
    for pooling, padding_mode in modes:
        layers = small_layers(rng, pooling, padding_mode)
        yield network_subject(f"network, {pooling} {padding_mode}", layers, rng)


def network_subject(
    name: str, layers: Sequence[Layer], rng: np.random.Generator, at: Sequence[str] = ()
) -> Subject:
    """Return the outputs of some layers, joined into one vector, at a random 7x8 image.

    `at` names the layers; relu1_1 and the last layer by default.
    """
    names = list(at) or ["relu1_1", layers[-1].name]

    def joined(outputs: dict[str, Array]) -> Array:
        return np.concatenate([outputs[name].ravel() for name in names])

    def backward(g: Array, x: Array) -> Array:
        outputs = maths.forward(layers, x)
        ends = np.cumsum([outputs[name].size for name in names])
        pieces = zip(names, np.split(g, ends[:-1]), strict=True)
        gradients = {name: piece.reshape(outputs[name].shape) for name, piece in pieces}
        return maths.backward(layers, outputs, gradients)

    def traced(x: Array) -> tuple[Array, Array]:
        outputs = maths.forward(layers, x)
        return joined(outputs), sides_of_layers(layers, outputs)

    x = rng.standard_normal((7, 8, 3))
    return Subject(name, lambda x: joined(maths.forward(layers, x)), backward, (x,), traced)


def loss_of_relu(
    name: str, value: Callable[[Array], Any], slope: Callable[[Array], Array], z: Array
) -> Subject:
    """Return a loss of F = max(z, 0) as a function of z; `slope` is its derivative at F."""
    return Subject(
        name,
        lambda z: value(maths.relu(z)),
        lambda g, z: maths.relu_backward(g * slope(maths.relu(z)), maths.relu(z)),
        (z,),
        pattern=lambda z: (value(maths.relu(z)), np.sign(z)),
    )


def content_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield the content loss as a function of F, and of the ReLU's input."""
    P = maths.relu(rng.standard_normal((4, 5, 3)))
    value = partial(maths.content_loss, P=P)
    slope = partial(maths.content_loss_backward, P=P)
    F = rng.standard_normal((4, 5, 3))
    yield Subject("content loss", value, lambda g, F: g * slope(F), (F,), smooth=(0,))
    yield loss_of_relu("content loss of max(z, 0)", value, slope, rng.standard_normal((4, 5, 3)))


def gram_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield the Gram matrix and its mean, over all positions alike and guided."""
    F = rng.standard_normal((4, 5, 6))
    w = rng.uniform(0, 1, (4, 5))
    mean, mean_backward = maths.mean_gram, maths.mean_gram_backward
    for name, gram, backward, guide in [
        ("gram", maths.gram, maths.gram_backward, None),
        ("gram, guided", maths.gram, maths.gram_backward, w),
        ("mean gram", mean, mean_backward, None),
        ("mean gram, guided", mean, mean_backward, w / w.sum()),
    ]:
        yield Subject(
            name,
            partial(gram, guide=guide),
            partial(backward, guide=guide),
            (F,),
            smooth=(0,),
        )


def style_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield the style loss with a painting of another size, guided, and through the ReLU."""
    A = maths.mean_gram(maths.relu(rng.standard_normal((3, 7, 3))))
    w = rng.uniform(0, 1, (4, 5))
    for name, guide in [("style loss", None), ("style loss, guided", w / w.sum())]:
        value = partial(maths.style_loss, A=A, guide=guide)
        slope = partial(maths.style_loss_backward, A=A, guide=guide)
        F = np.abs(rng.standard_normal((4, 5, 3))) + 0.1
        yield Subject(name, value, lambda g, F, s=slope: g * s(F), (F,), smooth=(0,))
        yield loss_of_relu(f"{name} of max(z, 0)", value, slope, rng.standard_normal((4, 5, 3)))


def tv_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield the total variation."""
    yield Subject(
        "total variation",
        maths.total_variation,
        lambda g, x: g * maths.total_variation_backward(x),
        (rng.uniform(0, 255, (4, 5, 3)),),
        smooth=(0,),
    )


def checkerboard_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield the checkerboards of 2 x 2 windows, and of rows and columns that are left out."""
    for name, shape in [("checkerboard", (8, 8, 2)), ("checkerboard, cut", (6, 9, 2))]:
        yield Subject(
            name,
            lambda x: maths.checkerboard_loss(x, 2, 4),
            lambda g, x: g * maths.checkerboard_loss_backward(x, 2, 4),
            (rng.uniform(0, 8, shape),),
            smooth=(0,),
        )


def objective_subject(
    name: str,
    pixels: Array,
    layers: Sequence[Layer],
    preprocessing: Preprocessing,
    terms: Sequence[ContentTerm | StyleTerm],
    gamma: float,
) -> Subject:
    """Return the textbook's objective at some pixels, with the kinks of the network's layers."""

    def evaluate(x: Array) -> tuple[Any, Array]:
        return maths.objective(x, layers, preprocessing, terms, gamma)

    def traced(x: Array) -> tuple[Any, Array]:
        prep = preprocessing
        image = maths.preprocess(x, prep.channel_order, prep.mean, prep.scale)
        outputs = maths.forward(layers, image)
        loss = sum((t.loss(outputs[t.layer]) for t in terms), gamma * maths.total_variation(x))
        return loss, sides_of_layers(layers, outputs)

    return Subject(
        name,
        lambda x: evaluate(x)[0],
        lambda g, x: g * evaluate(x)[1],
        (pixels,),
        pattern=traced,
    )


def objective_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield the objective of a small network: content, guided style, two terms at one layer."""
    layers = small_layers(rng)
    prep = Preprocessing("BGR", (103.939, 116.779, 123.68), (0.02, 0.02, 0.02))
    photo, painting, pixels = (rng.uniform(0, 255, (7, 8, 3)) for _ in range(3))
    of_photo, of_painting = (
        maths.forward(layers, maths.preprocess(x, prep.channel_order, prep.mean, prep.scale))
        for x in (photo, painting)
    )
    w = rng.uniform(0, 1, of_photo["relu1_1"].shape[:2])
    terms: list[ContentTerm | StyleTerm] = [
        ContentTerm("relu2_1", 2.0, of_photo["relu2_1"]),
        StyleTerm("relu1_1", 130.0, maths.mean_gram(of_painting["relu1_1"]), w / w.sum()),
        StyleTerm("relu2_1", 1250.0, maths.mean_gram(of_painting["relu2_1"])),
    ]
    yield objective_subject("objective", pixels, layers, prep, terms, 1e-5)


def precondition_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield the coordinates of the search, for an image of odd and even sides."""
    s = maths.spectrum(5, 4, 0.5, 1 / 64, 0.25, (1.0, 0.7, 0.5))
    yield Subject(
        "precondition",
        lambda w: maths.precondition(w, s),
        lambda g, w: maths.precondition_backward(g, s),
        (rng.standard_normal((5, 4, 3)),),
        linear=(0,),
        smooth=(0,),
    )


def mirror_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield numbers reflected at 0 and 255, some several times, and two exactly at a wall."""
    z = rng.uniform(-800, 1000, (4, 5, 3))
    z[0, 0, 0], z[3, 4, 2] = 0.0, 255.0
    yield Subject(
        "mirror",
        maths.mirror,
        maths.mirror_backward,
        (z,),
        pattern=lambda z: (maths.mirror(z), np.floor(z / maths.PIXEL_MAX)),
    )
