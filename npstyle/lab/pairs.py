"""Results of the engine and of the textbook for the same random inputs, function by function.

Each generator calls one function of the engine, in every way that the engine uses it, and yields
the result on the host with the textbook's. `npstyle.lab.agreement` compares them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from npstyle import maths
from npstyle.maths.array import Array

CONVOLUTIONS = [((3, 3), 1, 1, 3), ((3, 2), 2, 1, 6), ((1, 1), 1, 0, 3), ((3, 3), 1, 0, 8)]
"""Kernel size, stride, padding and channels in."""

WINDOWS = [(2, 2), (3, 2)]
"""Size and stride of pooling windows."""

MEAN, SCALE = (103.939, 116.779, 123.68), (1.0, 0.5, 2.0)
"""Preprocessing with another scale for each channel."""

Pairs = Iterator[tuple[Any, Any]]
"""Results of the engine on the host, each with the textbook's result."""


@dataclass(frozen=True)
class Bench:
    """An engine under test, and random inputs for it."""

    engine: Any
    dtype: np.dtype[Any]
    rng: np.random.Generator

    def draw(self, *shape: int) -> Array:
        """Return normally distributed numbers in float64, rounded to the engine's precision."""
        return self.rounded(self.rng.standard_normal(shape))

    def rounded(self, array: Array) -> Array:
        """Round an array to the engine's precision, and return it in float64."""
        return array.astype(self.dtype).astype(np.float64)

    def guide(self, *shape: int) -> Array:
        """Return positive weights with sum 1."""
        w = np.abs(self.rng.standard_normal(shape))
        return self.rounded(w / w.sum())

    def put(self, array: Array) -> Array:
        """Place a copy of an array on the engine's device, in its precision."""
        placed: Array = self.engine.place(np.array(array, self.dtype))
        return placed

    def get(self, array: Array) -> Array:
        """Bring an array of the engine to the host."""
        found: Array = np.asarray(self.engine.to_host(array))
        return found

    def number(self, value: Any) -> float:
        """Bring one number of the engine to the host."""
        return float(self.engine.numbers([value])[0])


def transport_pairs(b: Bench) -> Pairs:
    """A copy to the engine's device and back, a conversion on the way, and zeros."""
    x = b.draw(4, 5, 3)
    yield b.get(b.put(x)), x
    yield b.get(b.engine.place(x, np.float32)), x.astype(np.float32)
    yield b.get(b.engine.zeros_like(b.put(x))), np.zeros_like(x)


def numbers_pairs(b: Bench) -> Pairs:
    """Several numbers of the engine on the host."""
    x = b.draw(5)
    values = [b.engine.total_variation(b.put(x[:, None, None] * k)) for k in (1, 2)]
    once = maths.total_variation(x[:, None, None])
    yield b.engine.numbers(values), [once, 4 * once]


def conv2d_pairs(b: Bench) -> Pairs:
    """Convolution with bias, with its ReLU, and without bias."""
    for size, stride, padding, channels in CONVOLUTIONS:
        x, K, bias = b.draw(7, 6, channels), b.draw(*size, channels, 4), b.draw(4)
        X, way = b.put(x), (stride, padding)
        Z = maths.conv2d(x, K, bias, *way)
        yield b.get(b.engine.conv2d(X, b.put(K), b.put(bias), *way)), Z
        rectified = b.engine.conv2d(X, b.put(K), b.put(bias), *way, rectify=True)
        yield b.get(rectified), maths.relu(Z)
        yield b.get(b.engine.conv2d(X, b.put(K), None, *way)), maths.conv2d(x, K, None, *way)


def conv2d_backward_pairs(b: Bench) -> Pairs:
    """The derivative of convolution with respect to the image, plain and through the ReLU."""
    for size, stride, padding, channels in CONVOLUTIONS:
        x, K = b.draw(7, 6, channels), b.draw(*size, channels, 4)
        F = maths.relu(maths.conv2d(x, K, None, stride, padding))
        g, way = b.draw(*F.shape), (x.shape, stride, padding)
        found = b.engine.conv2d_backward(b.put(g), b.put(K), *way)
        yield b.get(found), maths.conv2d_backward(g, K, *way)
        mask = b.engine.relu_mask(b.put(F))
        found = b.engine.conv2d_backward(b.put(g), b.put(K), *way, mask)
        yield b.get(found), maths.conv2d_backward(maths.relu_backward(g, F), K, *way)


def conv2d_backward_weights_pairs(b: Bench) -> Pairs:
    """The derivatives of convolution with respect to kernel and bias."""
    for size, stride, padding, channels in CONVOLUTIONS:
        x = b.draw(7, 6, channels)
        g = b.draw(*maths.output_size(x.shape, size, stride, padding), 4)
        found = b.engine.conv2d_backward_weights(b.put(g), b.put(x), size, stride, padding)
        expected = maths.conv2d_backward_weights(g, x, size, stride, padding)
        for of_engine, of_textbook in zip(found, expected, strict=True):
            yield b.get(of_engine), of_textbook


def winograd_pairs(b: Bench) -> Pairs:
    """Winograd's convolution, with and without its ReLU."""
    for height, width, channels in [(9, 6, 5), (4, 4, 3), (1, 7, 4)]:
        x, K, bias = b.draw(height, width, channels), b.draw(3, 3, channels, 4), b.draw(4)
        filters, Z = b.engine.transform_filters(b.put(K)), maths.conv2d(x, K, bias, 1, 1)
        yield b.get(b.engine.winograd_conv2d(b.put(x), filters, b.put(bias))), Z
        rectified = b.engine.winograd_conv2d(b.put(x), filters, b.put(bias), rectify=True)
        yield b.get(rectified), maths.relu(Z)


def winograd_backward_pairs(b: Bench) -> Pairs:
    """The derivative of Winograd's convolution, plain, through the ReLU, and through pooling."""
    for height, width, channels in [(9, 6, 5), (4, 4, 3)]:
        K, shape = b.draw(3, 3, channels, 4), (height, width, channels)
        filters = b.engine.transform_filters(b.put(K))
        g, F = b.draw(height, width, 4), maths.relu(b.draw(height, width, 4))
        mask = b.engine.relu_mask(b.put(F))
        found = b.engine.winograd_conv2d_backward(b.put(g), filters)
        yield b.get(found), maths.conv2d_backward(g, K, shape, 1, 1)
        at_Z = maths.relu_backward(g, F)
        found = b.engine.winograd_conv2d_backward(b.put(g), filters, mask)
        yield b.get(found), maths.conv2d_backward(at_Z, K, shape, 1, 1)
        pooled = b.draw(height // 2, width // 2, 4)
        at_Z = maths.relu_backward(maths.avg_pool2d_backward(pooled, F.shape), F)
        found = b.engine.winograd_conv2d_backward(b.put(pooled), filters, mask, 2)
        yield b.get(found), maths.conv2d_backward(at_Z, K, shape, 1, 1)


def tensor_conv2d_pairs(b: Bench) -> Pairs:
    """Convolution on tensor cores, with and without its ReLU."""
    x, K, bias = b.draw(9, 18, 20), b.draw(3, 3, 20, 6), b.draw(6)
    for precision in ("tf32", "fp16"):
        packed, out_scale = b.engine.pack_filters(K.astype(np.float32), precision)
        way = packed[0], b.put(bias), precision, out_scale
        Z = maths.conv2d(x, K, bias, 1, 1)
        yield b.get(b.engine.tensor_conv2d(b.put(x), *way)), Z
        yield b.get(b.engine.tensor_conv2d(b.put(x), *way, rectify=True)), maths.relu(Z)


def tensor_conv2d_backward_pairs(b: Bench) -> Pairs:
    """The derivative of convolution on tensor cores, through the ReLU."""
    K, g, F = b.draw(3, 3, 20, 6), b.draw(9, 18, 6), maths.relu(b.draw(9, 18, 6))
    for precision in ("tf32", "fp16"):
        packed, out_scale = b.engine.pack_filters(K.astype(np.float32), precision)
        mask = b.engine.relu_mask(b.put(F))
        way = packed[1], mask, 20, precision, out_scale
        found = b.engine.tensor_conv2d_backward(b.put(g), *way)
        yield b.get(found), maths.conv2d_backward(maths.relu_backward(g, F), K, (9, 18, 20), 1, 1)


def relu_pairs(b: Bench) -> Pairs:
    """The ReLU, also in place."""
    z = b.draw(5, 6, 3)
    z[0, 0, 0] = 0.0
    Z = b.put(z)
    yield b.get(b.engine.relu(Z)), maths.relu(z)
    yield b.get(b.engine.relu(Z, out=Z)), maths.relu(z)


def relu_mask_pairs(b: Bench) -> Pairs:
    """The derivative of the ReLU as booleans."""
    F = maths.relu(b.draw(5, 6, 3))
    yield b.get(b.engine.relu_mask(b.put(F))), maths.relu_backward(np.ones_like(F), F)


def relu_backward_pairs(b: Bench) -> Pairs:
    """The derivative of the ReLU, from the output and from the mask, also in place."""
    F, g = maths.relu(b.draw(5, 6, 3)), b.draw(5, 6, 3)
    expected, mask = maths.relu_backward(g, F), b.engine.relu_mask(b.put(F))
    yield b.get(b.engine.relu_backward(b.put(g), b.put(F))), expected
    yield b.get(b.engine.relu_backward(b.put(g), mask)), expected
    upstream = b.put(g)
    yield b.get(b.engine.relu_backward(upstream, mask, out=upstream)), expected


def pool_pairs(name: str) -> Callable[[Bench], Pairs]:
    """Return the pairs of one pooling function."""

    def pairs(b: Bench) -> Pairs:
        for way in WINDOWS:
            x = b.draw(5, 7, 3)
            yield b.get(getattr(b.engine, name)(b.put(x), *way)), getattr(maths, name)(x, *way)

    return pairs


def avg_pool2d_backward_pairs(b: Bench) -> Pairs:
    """Derivative of average pooling."""
    for way in WINDOWS:
        g, shape = b.draw(2, 3, 3), (5, 7, 3)
        found = b.engine.avg_pool2d_backward(b.put(g), shape, *way)
        yield b.get(found), maths.avg_pool2d_backward(g, shape, *way)


def pool_backward_pairs(name: str) -> Callable[[Bench], Pairs]:
    """Return the pairs of the derivative of max or l2 pooling, at an image with a tie."""

    def pairs(b: Bench) -> Pairs:
        for way in WINDOWS:
            x, g = b.draw(5, 7, 3), b.draw(2, 3, 3)
            x[0, 0, 0] = x[0, 1, 0] = 3.0
            X = b.put(x)
            pooled = getattr(b.engine, name)(X, *way)
            found = getattr(b.engine, f"{name}_backward")(b.put(g), X, pooled, *way)
            yield b.get(found), getattr(maths, f"{name}_backward")(g, x, *way)

    return pairs


def replicate_pad_pairs(b: Bench) -> Pairs:
    """Replicate padding, also by more than the height."""
    for padding in (1, 3):
        x = b.draw(2, 5, 3)
        yield b.get(b.engine.replicate_pad(b.put(x), padding)), maths.replicate_pad(x, padding)


def replicate_pad_backward_pairs(b: Bench) -> Pairs:
    """The derivative of replicate padding."""
    for padding in (1, 3):
        g = b.draw(2 + 2 * padding, 5 + 2 * padding, 3)
        found = b.engine.replicate_pad_backward(b.put(g), padding)
        yield b.get(found), maths.replicate_pad_backward(g, padding)


def gram_pairs(b: Bench) -> Pairs:
    """Gram matrix, plain and guided."""
    F, w = b.draw(4, 5, 6), b.guide(4, 5)
    yield b.get(b.engine.gram(b.put(F))), maths.gram(F)
    yield b.get(b.engine.gram(b.put(F), b.put(w))), maths.gram(F, w)


def gram_backward_pairs(b: Bench) -> Pairs:
    """The derivative of the Gram matrix, plain, guided, and added to an array."""
    F, w, D, out = b.draw(4, 5, 6), b.guide(4, 5), b.draw(6, 6), b.draw(4, 5, 6)
    yield b.get(b.engine.gram_backward(b.put(D), b.put(F))), maths.gram_backward(D, F)
    expected = maths.gram_backward(D, F, w)
    yield b.get(b.engine.gram_backward(b.put(D), b.put(F), b.put(w))), expected
    found = b.engine.gram_backward(b.put(D), b.put(F), b.put(w), b.put(out))
    yield b.get(found), out + expected


def mean_gram_pairs(b: Bench) -> Pairs:
    """Mean Gram matrix, plain and guided."""
    F, w = b.draw(4, 5, 6), b.guide(4, 5)
    yield b.get(b.engine.mean_gram(b.put(F))), maths.mean_gram(F)
    yield b.get(b.engine.mean_gram(b.put(F), b.put(w))), maths.mean_gram(F, w)


def content_loss_pairs(b: Bench) -> Pairs:
    """Content loss."""
    F, P = b.draw(4, 5, 3), b.draw(4, 5, 3)
    yield b.number(b.engine.content_loss(b.put(F), b.put(P))), maths.content_loss(F, P)


def content_loss_backward_pairs(b: Bench) -> Pairs:
    """The derivative of the content loss, plain, weighted, and added to an array."""
    F, P, out = b.draw(4, 5, 3), b.draw(4, 5, 3), b.draw(4, 5, 3)
    slope = maths.content_loss_backward(F, P)
    yield b.get(b.engine.content_loss_backward(b.put(F), b.put(P))), slope
    found = b.engine.content_loss_backward(b.put(F), b.put(P), 0.5, b.put(out))
    yield b.get(found), out + 0.5 * slope


def gram_loss_pairs(b: Bench) -> Pairs:
    """Style loss of a given mean Gram matrix."""
    F, A = b.draw(4, 5, 6), b.draw(6, 6)
    G = b.put(maths.mean_gram(F))
    yield b.number(b.engine.gram_loss(G, b.put(A))), maths.style_loss(F, A)


def gram_loss_backward_pairs(b: Bench) -> Pairs:
    """D = dE/dG' = 1/(2 N^2) (G' - A'), weighted, and the derivative with respect to F."""
    F, A = b.draw(4, 5, 6), b.draw(6, 6)
    A = A + A.T
    G = maths.mean_gram(F)
    D = b.get(b.engine.gram_loss_backward(b.put(G), b.put(A), 0.5)).astype(np.float64)
    yield D, 0.5 * (G - A) / (2 * 6**2)
    yield maths.mean_gram_backward(D, F), 0.5 * maths.style_loss_backward(F, A)


def style_loss_pairs(b: Bench) -> Pairs:
    """Style loss, plain and guided."""
    F, A, w = b.draw(4, 5, 6), b.draw(6, 6), b.guide(4, 5)
    X, target = b.put(F), b.put(A)
    yield b.number(b.engine.style_loss(X, target)), maths.style_loss(F, A)
    yield b.number(b.engine.style_loss(X, target, b.put(w))), maths.style_loss(F, A, w)


def style_loss_backward_pairs(b: Bench) -> Pairs:
    """The derivative of the style loss: weighted, guided, with a known Gram matrix, added."""
    F, A, w, out = b.draw(4, 5, 6), b.draw(6, 6), b.guide(4, 5), b.draw(4, 5, 6)
    A = A + A.T
    X, target, guide = b.put(F), b.put(A), b.put(w)
    plain, guided = maths.style_loss_backward(F, A), maths.style_loss_backward(F, A, w)
    yield b.get(b.engine.style_loss_backward(X, target)), plain
    found = b.engine.style_loss_backward(X, target, 0.5, guide)
    yield b.get(found), 0.5 * guided
    for own, slope in [(None, plain), (guide, guided)]:
        gram = b.engine.mean_gram(X, own)
        found = b.engine.style_loss_backward(X, target, 0.5, own, gram, b.put(out))
        yield b.get(found), out + 0.5 * slope


def total_variation_pairs(b: Bench) -> Pairs:
    """Total variation, of one row and of several."""
    for shape in [(4, 5, 3), (1, 5, 3), (70, 3, 3)]:
        x = b.draw(*shape)
        yield b.number(b.engine.total_variation(b.put(x))), maths.total_variation(x)


def total_variation_backward_pairs(b: Bench) -> Pairs:
    """The derivative of total variation, plain, weighted, and added to an array."""
    for shape in [(4, 5, 3), (1, 5, 3), (70, 3, 3)]:
        x, out = b.draw(*shape), b.draw(*shape)
        slope = maths.total_variation_backward(x)
        yield b.get(b.engine.total_variation_backward(b.put(x))), slope
        found = b.engine.total_variation_backward(b.put(x), 0.5, b.put(out))
        yield b.get(found), out + 0.5 * slope


def preprocess_pairs(b: Bench) -> Pairs:
    """Preprocessing of float64 pixels in both channel orders."""
    for order in ("BGR", "RGB"):
        x = 100 * b.rng.standard_normal((4, 5, 3))
        found = b.engine.preprocess(b.engine.place(x), order, MEAN, SCALE, b.dtype)
        yield b.get(found), maths.preprocess(x, order, MEAN, SCALE)


def preprocess_backward_pairs(b: Bench) -> Pairs:
    """The derivative of preprocessing, in float64, in both channel orders."""
    for order in ("BGR", "RGB"):
        g = b.draw(4, 5, 3)
        found = b.engine.preprocess_backward(b.put(g), order, SCALE)
        yield b.get(found), maths.preprocess_backward(g, order, SCALE)


def mirror_pairs(b: Bench) -> Pairs:
    """Reflection of numbers at the walls and far beyond them."""
    z = _numbers_around_the_box(b)
    yield b.get(b.engine.mirror(b.put(z))), maths.mirror(z)


def mirror_backward_pairs(b: Bench) -> Pairs:
    """The derivative of the reflection."""
    z, g = _numbers_around_the_box(b), b.draw(4, 5, 3)
    expected = maths.mirror_backward(g, z)  # before the engine, which may overwrite z
    yield b.get(b.engine.mirror_backward(b.put(g), b.put(z))), expected


def precondition_pairs(b: Bench) -> Pairs:
    """Pixels from the coordinates of the search."""
    w, s = b.draw(6, 7, 3), maths.spectrum(6, 7, 0.4, 1 / 256, 0.1, (1.0, 0.7, 0.5))
    yield b.get(b.engine.precondition(b.put(w), b.put(s))), maths.precondition(w, s)


def precondition_backward_pairs(b: Bench) -> Pairs:
    """Its derivative."""
    g, s = b.draw(6, 7, 3), maths.spectrum(6, 7, 0.4, 1 / 256, 0.1, (1.0, 0.7, 0.5))
    found = b.engine.precondition_backward(b.put(g), b.put(s))
    yield b.get(found), maths.precondition_backward(g, s)


def _numbers_around_the_box(b: Bench) -> Array:
    z = 400 * b.draw(4, 5, 3)
    z[0, 0, 0], z[3, 4, 2] = 0.0, 255.0
    return z


def inner_products_pairs(b: Bench) -> Pairs:
    """B v, by the formula."""
    B, v = b.draw(5, 1000), b.draw(1000)
    yield b.get(b.engine.inner_products(b.put(B), b.put(v))), B @ v


def combination_pairs(b: Bench) -> Pairs:
    """c B, by the formula."""
    B, c = b.draw(5, 1000), b.draw(5)
    yield b.get(b.engine.combination(c, b.put(B))), c @ B
