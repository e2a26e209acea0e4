"""Wrong derivatives of layers and losses; see `npstyle.lab.mutations`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npstyle import maths
from npstyle.lab.battery import CHAPTERS
from npstyle.lab.pages import loss_of_relu
from npstyle.lab.subjects import Subject
from npstyle.maths.array import Array

Build = Callable[[np.random.Generator], Subject]
"""Returns a subject whose backward function is wrong."""

EPSILON = 1e-4
"""Of instance normalisation, as in the subjects of its chapter."""


@dataclass(frozen=True)
class Mutation:
    """A wrong derivative.

    Attributes
    ----------
    chapter : str
        One of `npstyle.lab.battery.CHAPTERS`.
    mistake : str
        What is wrong, a plain sentence.
    build : callable
        From a random generator to a subject with the wrong derivative.
    """

    chapter: str
    mistake: str
    build: Build


def first(chapter: str, rng: np.random.Generator, k: int = 0) -> Subject:
    """Return a chapter's k-th subject."""
    return list(CHAPTERS[chapter].subjects(rng))[k]


def wrong(chapter: str, backward: Callable[..., Any], k: int = 0) -> Build:
    """Replace the backward function of a chapter's k-th subject."""
    return lambda rng: replace(first(chapter, rng, k), backward=backward)


def square_conv(
    rng: np.random.Generator,
    to_image: Callable[..., Array] | None = None,
    to_kernel: Callable[..., Array] | None = None,
) -> Subject:
    """Return a convolution with as many channels out as in, so that swapped ones keep their shapes.

    `to_image(g, K)` and `to_kernel(g, x)` replace the derivatives.
    """
    x, k = rng.standard_normal((5, 6, 3)), rng.standard_normal((3, 3, 3, 3))
    return Subject(
        "conv2d",
        lambda x, k, b: maths.conv2d(x, k, b, 1, 1),
        lambda g, x, k, b: (
            to_image(g, k) if to_image else maths.conv2d_backward(g, k, x.shape, 1, 1),
            to_kernel(g, x) if to_kernel else maths.conv2d_backward_weights(g, x, (3, 3), 1, 1)[0],
            g.sum(axis=(0, 1)),
        ),
        (x, k, rng.standard_normal(3)),
        linear=(0, 1, 2),
    )


def _not_flipped(g: Array, k: Array) -> Array:
    return maths.conv2d(g, k.transpose(0, 1, 3, 2), None, 1, 1)


def _channels_not_swapped(g: Array, k: Array) -> Array:
    return maths.conv2d(g, k[::-1, ::-1], None, 1, 1)


def _off_by_one(g: Array, k: Array) -> Array:
    flipped = k[::-1, ::-1].transpose(0, 1, 3, 2)
    return maths.conv2d(np.pad(g, ((0, 2), (1, 1), (0, 0))), flipped)


def _to_every_winner(g: Array, x: Array) -> Array:
    wins = x[:4, :6] == maths.max_pool2d(x, 2, 2).repeat(2, 0).repeat(2, 1)
    gradient = np.zeros_like(x)
    gradient[:4, :6] = g.repeat(2, 0).repeat(2, 1) * wins
    return gradient


def _window_sums(g: Array, x: Array) -> Array:
    """Derivative of the sum of each window of x squared, divided by 2."""
    return 4 * maths.avg_pool2d_backward(g, x.shape, 2, 2) * x


def _gram_without_transpose(g: Array, x: Array) -> Array:
    return (x.reshape(-1, x.shape[2]) @ (2 * g)).reshape(x.shape)


def _around_the_edge(g: Array, x: Array) -> Array:
    rolled = [2 * x - np.roll(x, 1, axis) - np.roll(x, -1, axis) for axis in (0, 1)]
    return 2 * g * (rolled[0] + rolled[1])


def _without_corners(g: Array, x: Array) -> Array:
    inner = g.copy()
    inner[0, 0] = inner[0, -1] = inner[-1, 0] = inner[-1, -1] = 0
    return maths.replicate_pad_backward(inner, 1)


def _overwritten(g: Array, x: Array) -> Array:
    gradient = np.zeros_like(x)
    for (_, view), upstream in zip(maths.windows(gradient, (3, 2), 1), g, strict=True):
        view[:] = upstream
    return gradient


def _side_by_side(g: Array, x: Array) -> Array:
    gradient = np.zeros_like(x)
    for (_, view), upstream in zip(maths.windows(gradient, (2, 2), 1), g, strict=True):
        view[: upstream.shape[0], : upstream.shape[1]] += upstream
    return gradient


def _column_by_column(g: Array, x: Array) -> Array:
    gradient = np.zeros_like(x)
    for (_, view), upstream in zip(
        maths.windows(gradient, (2, 2), 2), g[[0, 2, 1, 3]], strict=True
    ):
        view += upstream
    return gradient


def normalized(x: Array, epsilon: float = EPSILON) -> tuple[Array, Array]:
    """Return n and s of `npstyle.maths.normalization`."""
    s = np.sqrt(x.var(axis=(0, 1)) + epsilon)
    return (x - x.mean(axis=(0, 1))) / s, s


def norm(
    to_image: Callable[..., Array] | None = None,
    to_weights: Callable[..., tuple[Array, Array]] | None = None,
    k: int = 0,
) -> Build:
    """Replace one of the derivatives of instance normalisation."""

    def backward(g: Array, x: Array, a: Array, b: Array) -> tuple[Array, ...]:
        return (
            to_image(g, x, a) if to_image else maths.instance_norm_backward(g, x, a, EPSILON),
            *(
                to_weights(g, x)
                if to_weights
                else maths.instance_norm_backward_weights(g, x, EPSILON)
            ),
        )

    return wrong("instance_norm", backward, k)


def _without_the_mean(g: Array, x: Array, a: Array) -> Array:
    n, s = normalized(x)
    return (a * g - n * (a * g * n).mean(axis=(0, 1))) / s


def _without_the_variance(g: Array, x: Array, a: Array) -> Array:
    return (a * g - (a * g).mean(axis=(0, 1))) / normalized(x)[1]


def depthwise(
    to_image: Callable[..., Array] | None = None,
    to_kernel: Callable[..., Array] | None = None,
    k: int = 0,
) -> Build:
    """Replace one of the derivatives of depthwise convolution."""
    way = [(1, 1), (2, 1)][k]

    def backward(g: Array, x: Array, K: Array, b: Array) -> tuple[Array, Array, Array]:
        size = (K.shape[0], K.shape[1])
        right = maths.depthwise_conv2d_backward_weights(g, x, size, *way)
        return (
            to_image(g, K, x.shape)
            if to_image
            else maths.depthwise_conv2d_backward(g, K, x.shape, *way),
            to_kernel(g, x, size) if to_kernel else right[0],
            right[1],
        )

    return wrong("depthwise", backward, k)


def content(slope: Callable[[Array, Array], Array]) -> Build:
    """Return the content loss of max(z, 0), with its derivative at z replaced."""

    def build(rng: np.random.Generator) -> Subject:
        P = maths.relu(rng.standard_normal((4, 5, 3)))
        return of_input(lambda F: maths.content_loss(F, P), lambda F: slope(F, P), rng)

    return build


def style(slope: Callable[[Array, Array, Array], Array]) -> Build:
    """Return the style loss of max(z, 0), with its derivative at z replaced."""

    def build(rng: np.random.Generator) -> Subject:
        A = maths.mean_gram(maths.relu(rng.standard_normal((3, 7, 3))))
        return of_input(
            lambda F: maths.style_loss(F, A), lambda F: slope(F, maths.mean_gram(F), A), rng
        )

    return build


def of_input(
    value: Callable[[Array], Any], slope: Callable[[Array], Array], rng: np.random.Generator
) -> Subject:
    """Return a loss of F = max(z, 0) as a function of z; `slope` is its derivative at z, from F."""
    subject = loss_of_relu("loss", value, slope, rng.standard_normal((4, 5, 3)))
    return replace(subject, backward=lambda g, z: g * slope(maths.relu(z)))


def right_style(F: Array, G: Array, A: Array, w: Array | None = None) -> Array:
    """dE/dz from G = the mean Gram matrix of F: the paper's equation 6, condition included."""
    D = (G - A) / (2 * len(A) ** 2)
    return maths.relu_backward(maths.mean_gram_backward(D, F, w), F)


LAYERS = {
    "preprocess_channels_not_swapped_back": Mutation(
        "preprocess",
        "The gradient's channels are left in the network's order BGR.",
        wrong("preprocess", lambda g, x: maths.preprocess_backward(g, "RGB", (1.0, 0.5, 2.0))),
    ),
    "preprocess_scale_forgotten": Mutation(
        "preprocess",
        "The scale s is left out.",
        wrong("preprocess", lambda g, x: maths.preprocess_backward(g, "BGR", (1.0, 1.0, 1.0))),
    ),
    "replicate_border_dropped": Mutation(
        "replicate",
        "The gradient at the border is dropped, as if the border were zeros.",
        wrong("replicate", lambda g, x: g[1:-1, 1:-1].copy()),
    ),
    "replicate_corners_dropped": Mutation(
        "replicate",
        "The gradient at the four corners is dropped.",
        wrong("replicate", _without_corners),
    ),
    "conv_kernel_not_flipped": Mutation(
        "conv2d",
        "The upstream gradient is convolved with the kernel as it is, not flipped.",
        lambda rng: square_conv(rng, _not_flipped),
    ),
    "conv_channels_not_swapped": Mutation(
        "conv2d",
        "The kernel's channels in and out are not swapped.",
        lambda rng: square_conv(rng, _channels_not_swapped),
    ),
    "conv_padding_off_by_one": Mutation(
        "conv2d",
        "The padding is off by one row.",
        lambda rng: square_conv(rng, _off_by_one),
    ),
    "depthwise_kernel_flipped": Mutation(
        "depthwise",
        "The kernel is flipped before its entries are added to the windows.",
        depthwise(
            lambda g, K, shape: maths.depthwise_conv2d_backward(g, K[::-1, ::-1], shape, 1, 1)
        ),
    ),
    "depthwise_channels_rolled": Mutation(
        "depthwise",
        "Each channel uses the filter of its neighbour.",
        depthwise(
            lambda g, K, shape: maths.depthwise_conv2d_backward(g, np.roll(K, 1, 2), shape, 1, 1)
        ),
    ),
    "relu_mask_forgotten": Mutation(
        "relu", "The mask is forgotten: all of the gradient passes.", wrong("relu", lambda g, z: g)
    ),
    "relu_mask_of_the_upstream_gradient": Mutation(
        "relu",
        "The mask is where the gradient is above 0, not where the output is.",
        wrong("relu", lambda g, z: g * (g > 0)),
    ),
    "avg_pool_factor_lost": Mutation(
        "avg_pool2d",
        "The factor 1/4 is lost.",
        wrong("avg_pool2d", lambda g, x: 4 * maths.avg_pool2d_backward(g, x.shape, 2, 2)),
    ),
    "max_pool_gradient_to_every_winner": Mutation(
        "max_pool2d",
        "Where two positions tie, both receive the gradient.",
        wrong("max_pool2d", _to_every_winner),
    ),
    "l2_pool_root_forgotten": Mutation(
        "l2_pool2d",
        "The derivative of the root, the division by Y, is forgotten.",
        wrong("l2_pool2d", lambda g, x: _window_sums(g, x) / 4),
    ),
    "norm_mean_not_differentiated": Mutation(
        "instance_norm",
        "The mean is treated as a constant.",
        norm(_without_the_mean),
    ),
    "norm_variance_not_differentiated": Mutation(
        "instance_norm",
        "The variance is treated as a constant.",
        norm(_without_the_variance),
    ),
    "upsample_one_pixel_of_the_block": Mutation(
        "upsample",
        "Only one of the four copies sends its gradient back.",
        wrong("upsample", lambda g, x: g[::2, ::2].copy()),
    ),
    "upsample_mean_of_the_block": Mutation(
        "upsample",
        "The gradients of the copies are averaged, not added.",
        wrong("upsample", lambda g, x: maths.upsample_backward(g, 2) / 4),
    ),
    "sigmoid_of_the_input": Mutation(
        "sigmoid",
        "Y (1 - Y) is computed from the input, not from the output.",
        wrong("sigmoid", lambda g, z: g * z * (1 - z)),
    ),
    "sigmoid_factor_lost": Mutation(
        "sigmoid",
        "The factor 1 - Y is lost.",
        wrong("sigmoid", lambda g, z: g * maths.sigmoid(z)),
    ),
    "content_mask_of_the_photo": Mutation(
        "content",
        "The ReLU's mask is taken from the photo's activations P.",
        content(lambda F, P: (F - P) * (P > 0)),
    ),
    "content_sign": Mutation(
        "content", "The sign is wrong: P - F.", content(lambda F, P: (P - F) * (F > 0))
    ),
    "gram_factor_two_lost": Mutation(
        "gram",
        "F occurs twice in G, and only one of the two is differentiated.",
        wrong("gram", lambda g, x: maths.gram_backward(g, x) / 2),
    ),
    "gram_transpose_of_the_upstream_forgotten": Mutation(
        "gram",
        "2 D takes the place of D + D^T, which is right for a symmetric D only.",
        wrong("gram", _gram_without_transpose),
    ),
    "style_quarter_lost": Mutation(
        "style",
        "The factor 1/4 is lost.",
        style(lambda F, G, A: 4 * right_style(F, G, A)),
    ),
    "style_positions_of_the_painting": Mutation(
        "style",
        "The gradient is divided by the painting's number of positions, 21, not by 20.",
        style(lambda F, G, A: 20 / 21 * right_style(F, G, A)),
    ),
    "style_gram_not_subtracted": Mutation(
        "style",
        "The painting's Gram matrix is not subtracted.",
        style(lambda F, G, A: right_style(F, G, np.zeros_like(A))),
    ),
    "tv_factor_two_lost": Mutation(
        "tv",
        "The factor 2 of the square's derivative is lost.",
        wrong("tv", lambda g, x: g * maths.total_variation_backward(x) / 2),
    ),
    "tv_wraps_around": Mutation(
        "tv",
        "The first row is taken for a neighbour of the last, and so are the columns.",
        wrong("tv", _around_the_edge),
    ),
    "windows_overwritten": Mutation(
        "windows",
        "A slice overwrites what the slices before it have added.",
        wrong("windows", _overwritten, 1),
    ),
    "windows_side_by_side": Mutation(
        "windows",
        "The stride is forgotten: the slices of the gradient lie side by side.",
        wrong("windows", _side_by_side),
    ),
    "windows_rows_and_columns_exchanged": Mutation(
        "windows",
        "The slices are read column by column, where the window was read row by row.",
        wrong("windows", _column_by_column),
    ),
}
"""By name, in the order of the chapters."""
