"""The engine beside the textbook for networks that paint in one pass, as in `npstyle.lab.pairs`."""

import numpy as np

from npstyle import maths
from npstyle.lab.pairs import Bench, Pairs

REFLECTED = [((9, 9), 1, 4, 3, 5), ((3, 3), 2, 1, 9, 4), ((3, 3), 1, 1, 4, 3), ((5, 5), 2, 2, 2, 3)]
"""Kernel size, stride, padding, channels in and out: by taps, by planes, by rows of the kernel."""

DEPTHWISE = [((3, 3), 1, 1), ((3, 2), 2, 1)]
"""Kernel size, stride and padding."""


def zero_pad_pairs(b: Bench) -> Pairs:
    """Zero padding, also by other numbers before and after, and its derivative."""
    for sides in ((1,), (0, 1)):
        x = b.draw(4, 5, 3)
        yield b.get(b.engine.zero_pad(b.put(x), *sides)), maths.zero_pad(x, *sides)


def zero_pad_backward_pairs(b: Bench) -> Pairs:
    """Its derivative."""
    for sides in ((1,), (0, 1)):
        g = b.draw(6, 7, 3)
        found = b.engine.zero_pad_backward(b.put(g), *sides)
        yield b.get(found), maths.zero_pad_backward(g, *sides)


def reflect_pad_pairs(b: Bench) -> Pairs:
    """Reflect padding, also by all rows but one."""
    for padding in (1, 3):
        x = b.draw(4, 5, 3)
        yield b.get(b.engine.reflect_pad(b.put(x), padding)), maths.reflect_pad(x, padding)


def reflect_pad_backward_pairs(b: Bench) -> Pairs:
    """Its derivative."""
    for padding in (1, 3):
        g = b.draw(4 + 2 * padding, 5 + 2 * padding, 3)
        found = b.engine.reflect_pad_backward(b.put(g), padding)
        yield b.get(found), maths.reflect_pad_backward(g, padding)


def reflect_conv2d_pairs(b: Bench) -> Pairs:
    """Convolution of a mirrored image, with and without its ReLU."""
    for size, stride, padding, channels, filters in REFLECTED:
        x, K, bias = b.draw(9, 8, channels), b.draw(*size, channels, filters), b.draw(filters)
        Z = maths.conv2d(maths.reflect_pad(x, padding), K, bias, stride)
        given = b.put(x), b.put(K), b.put(bias), stride, padding
        yield b.get(b.engine.reflect_conv2d(*given)), Z
        yield b.get(b.engine.reflect_conv2d(*given, rectify=True)), maths.relu(Z)


def reflect_conv2d_backward_pairs(b: Bench) -> Pairs:
    """Its derivative by the image."""
    for size, stride, padding, channels, filters in REFLECTED:
        shape, K = (9, 8, channels), b.draw(*size, channels, filters)
        padded = (9 + 2 * padding, 8 + 2 * padding, channels)
        g = b.draw(*maths.output_size(padded, size, stride), filters)
        found = b.engine.reflect_conv2d_backward(b.put(g), b.put(K), shape, stride, padding)
        at_padded = maths.conv2d_backward(g, K, padded, stride)
        yield b.get(found), maths.reflect_pad_backward(at_padded, padding)


def depthwise_pairs(b: Bench) -> Pairs:
    """Depthwise convolution."""
    for size, *way in DEPTHWISE:
        x, K, bias = b.draw(7, 6, 3), b.draw(*size, 3), b.draw(3)
        found = b.engine.depthwise_conv2d(b.put(x), b.put(K), b.put(bias), *way)
        yield b.get(found), maths.depthwise_conv2d(x, K, bias, *way)


def depthwise_backward_pairs(b: Bench) -> Pairs:
    """Its derivative by the image."""
    for size, *way in DEPTHWISE:
        K, g = b.draw(*size, 3), b.draw(*maths.output_size((7, 6), size, *way), 3)
        found = b.engine.depthwise_conv2d_backward(b.put(g), b.put(K), (7, 6, 3), *way)
        yield b.get(found), maths.depthwise_conv2d_backward(g, K, (7, 6, 3), *way)


def depthwise_backward_weights_pairs(b: Bench) -> Pairs:
    """Its derivatives by kernel and bias."""
    for size, *way in DEPTHWISE:
        x, g = b.draw(7, 6, 3), b.draw(*maths.output_size((7, 6), size, *way), 3)
        found = b.engine.depthwise_conv2d_backward_weights(b.put(g), b.put(x), size, *way)
        expected = maths.depthwise_conv2d_backward_weights(g, x, size, *way)
        for of_engine, of_textbook in zip(found, expected, strict=True):
            yield b.get(of_engine), of_textbook


def instance_statistics_pairs(b: Bench) -> Pairs:
    """Mean and inverse deviation of every channel, by the formula, far from 0 too."""
    for offset in (0.0, 30.0):
        x = b.rounded(b.draw(70, 9, 3) + offset)
        m, inverse = b.engine.instance_statistics(b.put(x), 1e-3)
        yield b.get(m), x.mean(axis=(0, 1))
        yield b.get(inverse), 1 / np.sqrt(x.var(axis=(0, 1)) + 1e-3)


def instance_norm_pairs(b: Bench) -> Pairs:
    """Instance normalisation, in place, with its ReLU, and with known statistics."""
    x, scale, shift = b.draw(70, 9, 3), b.draw(3), b.draw(3)
    Y, given = maths.instance_norm(x, scale, shift, 1e-3), (b.put(scale), b.put(shift), 1e-3)
    yield b.get(b.engine.instance_norm(b.put(x), *given)), Y
    X = b.put(x)
    statistics = b.engine.instance_statistics(X, 1e-3)
    yield b.get(b.engine.instance_norm(X, *given, statistics, rectify=True)), maths.relu(Y)
    yield b.get(b.engine.instance_norm(X, *given, statistics, X)), Y


def instance_norm_backward_pairs(b: Bench) -> Pairs:
    """Its derivatives by image, scale and shift, also in place."""
    x, g, scale = b.draw(70, 9, 3), b.draw(70, 9, 3), b.draw(3)
    X, upstream = b.put(x), b.put(g)
    expected = (
        maths.instance_norm_backward(g, x, scale, 1e-3),
        *maths.instance_norm_backward_weights(g, x, 1e-3),
    )
    found = b.engine.instance_norm_backward(upstream, X, b.put(scale), 1e-3)
    for of_engine, of_textbook in zip(found, expected, strict=True):
        yield b.get(of_engine), of_textbook
    statistics = b.engine.instance_statistics(X, 1e-3)
    way = X, b.put(scale), 1e-3, statistics, upstream
    yield b.get(b.engine.instance_norm_backward(upstream, *way)[0]), expected[0]


def add_pairs(b: Bench) -> Pairs:
    """The residual sum, also in place."""
    x, s = b.draw(5, 6, 3), b.draw(5, 6, 3)
    X = b.put(x)
    yield b.get(b.engine.add(X, b.put(s))), x + s
    yield b.get(b.engine.add(X, b.put(s), out=X)), x + s


def relu6_pairs(b: Bench) -> Pairs:
    """ReLU6, also in place."""
    z = b.rounded(5 * b.draw(5, 6, 3))
    Z = b.put(z)
    yield b.get(b.engine.relu6(Z)), maths.relu6(z)
    yield b.get(b.engine.relu6(Z, out=Z)), maths.relu6(z)


def relu6_backward_pairs(b: Bench) -> Pairs:
    """Its derivative."""
    F, g = maths.relu6(b.rounded(5 * b.draw(5, 6, 3))), b.draw(5, 6, 3)
    yield b.get(b.engine.relu6_backward(b.put(g), b.put(F))), maths.relu6_backward(g, F)


def sigmoid_pairs(b: Bench) -> Pairs:
    """The sigmoid, also in place."""
    z = b.rounded(3 * b.draw(5, 6, 3))
    Z = b.put(z)
    yield b.get(b.engine.sigmoid(Z)), maths.sigmoid(z)
    yield b.get(b.engine.sigmoid(Z, out=Z)), maths.sigmoid(z)


def sigmoid_backward_pairs(b: Bench) -> Pairs:
    """Its derivative."""
    Y, g = b.rounded(maths.sigmoid(b.draw(5, 6, 3))), b.draw(5, 6, 3)
    yield b.get(b.engine.sigmoid_backward(b.put(g), b.put(Y))), maths.sigmoid_backward(g, Y)


def upsample_pairs(b: Bench) -> Pairs:
    """Nearest-neighbour upsampling."""
    for factor in (2, 3):
        x = b.draw(3, 4, 2)
        yield b.get(b.engine.upsample(b.put(x), factor)), maths.upsample(x, factor)


def upsample_backward_pairs(b: Bench) -> Pairs:
    """Its derivative."""
    for factor in (2, 3):
        g = b.draw(3 * factor, 4 * factor, 2)
        found = b.engine.upsample_backward(b.put(g), factor)
        yield b.get(found), maths.upsample_backward(g, factor)


def global_pool_pairs(b: Bench) -> Pairs:
    """Global average pooling."""
    x = b.draw(4, 5, 3)
    yield b.get(b.engine.global_avg_pool(b.put(x))), maths.global_avg_pool(x)


def global_pool_backward_pairs(b: Bench) -> Pairs:
    """Its derivative."""
    g = b.draw(1, 1, 3)
    found = b.engine.global_avg_pool_backward(b.put(g), (4, 5, 3))
    yield b.get(found), maths.global_avg_pool_backward(g, (4, 5, 3))
