"""Paint photos in one pass: arrays in, arrays out.

A photo is an array (height, width, 3), RGB, 0..255. The style is a code (`npstyle.maths.
conditional`): read from a painting, or a mixture of learned styles. Codes form a vector space, so
styles can be blended, and a code between the photo's own and the painting's gives a weaker style:

    c = (1 - strength) c_photo + strength sum_k blend_k c_k
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import DTypeLike

from npstyle.engine import cpu
from npstyle.engine.feedforward.bind import BoundLayers, bind_layers
from npstyle.engine.feedforward.passes import (
    Cache,
    Gradients,
    Norms,
    backward,
    backward_norms,
    backward_weights,
    forward,
)
from npstyle.engine.feedforward.passes import paint as run_layers
from npstyle.errors import InputError
from npstyle.images.resize import resize
from npstyle.maths.array import Array
from npstyle.maths.conditional import conditioned, conditioned_backward
from npstyle.maths.layers import InstanceNorm
from npstyle.networks.style_network import StyleNetwork

READ_SIDE = 256
"""Shorter side in pixels at which the code of a painting is read. The predictor was trained on
squares of this size. On three pairs, VGG-19's style loss was lower than for paintings squeezed into
a square in two, and lower than for the middle square in two."""

LONGEST_READ = 4 * READ_SIDE
"""Longer side in pixels to which a very long painting is squeezed."""

LEAST_SIDE = 16
"""Least side of a photo in pixels: the networks see 4 pixels beyond each edge, at a quarter of the
size 1."""


Upstream = Array | Callable[[Array], Array]
"""dL/dpicture, or a function that computes it from the picture."""


@dataclass(frozen=True)
class BoundStyleNetwork:
    """A style network bound to an engine.

    Attributes
    ----------
    network : StyleNetwork
    transformer : BoundLayers
    predictor : BoundLayers or None
    """

    network: StyleNetwork
    transformer: BoundLayers
    predictor: BoundLayers | None

    @property
    def engine(self) -> ModuleType:
        """`npstyle.engine.cpu` or `npstyle.engine.cuda`."""
        return self.transformer.engine

    def preprocess(self, pixels: Array) -> Array:
        """Return the networks' input from pixels on the host."""
        n, placed = self.network, self.engine.place(np.asarray(pixels, np.float64))
        prepared: Array = self.engine.preprocess(
            placed, n.channel_order, n.mean, n.scale, self.transformer.dtype
        )
        return prepared

    def norms(self, code: Array) -> Norms:
        """Return the normalisations for a style code."""
        layers = conditioned(self.network.transformer, np.asarray(code, self.transformer.dtype))
        return {layer.name: layer for layer in layers if isinstance(layer, InstanceNorm)}


def bind_style_network(
    network: StyleNetwork, *, engine: ModuleType = cpu, dtype: DTypeLike = np.float32
) -> BoundStyleNetwork:
    """Bind a style network to an engine, in float32 or another precision."""
    predictor = None
    if network.predictor:
        predictor = bind_layers(network.predictor, engine=engine, dtype=dtype)
    transformer = bind_layers(network.transformer, engine=engine, dtype=dtype)
    return BoundStyleNetwork(network, transformer, predictor)


def read_size(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) at which `read_code` reads a painting of this size."""
    shorter = min(height, width)
    return (
        min(LONGEST_READ, round(READ_SIDE * height / shorter)),
        min(LONGEST_READ, round(READ_SIDE * width / shorter)),
    )


def read_code(bound: BoundStyleNetwork, painting: Array) -> Array:
    """Read the style code (code,) of a painting (height, width, 3), RGB, 0..255.

    The painting is resized to a shorter side of 256 pixels, and a longer one of at most 1024.

    Raises
    ------
    InputError
        If the network has learned its styles and reads no painting.
    """
    if bound.predictor is None:
        raise InputError(
            f"--painting: network {bound.network.name} has learned its styles; choose by --style"
        )
    size = read_size(painting.shape[0], painting.shape[1])
    point = run_layers(bound.predictor, bound.preprocess(resize(painting, size)))
    code: Array = bound.engine.to_host(point).reshape(-1)
    return code


def blended_code(codes: Sequence[Array], blend: Sequence[float] = ()) -> Array:
    """Return the mean of style codes, weighted by `blend`; its numbers are divided by their sum."""
    shares = np.asarray(blend or [1.0] * len(codes))
    mean: Array = np.tensordot(shares / shares.sum(), np.stack(codes), axes=1)
    return mean


def paint(bound: BoundStyleNetwork, photo: Array, code: Array) -> Array:
    """Paint a photo in the style of a code.

    Parameters
    ----------
    bound : BoundStyleNetwork
    photo : array (height, width, 3), RGB, 0..255
    code : array (code,)
        Empty for a network with one style.

    Returns
    -------
    array (height, width, 3), RGB, 0..255
        In the precision of the network.

    Raises
    ------
    InputError
        If the photo has less than 16 pixels on a side.
    """
    check_photo(photo.shape)
    output = run_layers(bound.transformer, bound.preprocess(photo), bound.norms(code))
    return _pixels(bound, output, photo.shape)


def _pixels(bound: BoundStyleNetwork, output: Array, shape: tuple[int, ...]) -> Array:
    """The picture of this shape in the network's output, which is rounded up to multiples of 4."""
    found: Array = bound.engine.to_host(output)[: shape[0], : shape[1]]
    found = found * found.dtype.type(bound.network.output_scale)
    return found[..., ::-1] if bound.network.channel_order == "BGR" else found


def check_photo(shape: tuple[int, ...]) -> None:
    """Raise InputError if a photo of this shape is too small to be painted."""
    if min(shape[:2]) < LEAST_SIDE:
        raise InputError(
            f"a photo of {shape[1]}x{shape[0]} pixels is too small to be painted; use one with "
            f"{LEAST_SIDE} pixels or more on each side"
        )


def stylize(
    bound: BoundStyleNetwork,
    photo: Array,
    paintings: Sequence[Array],
    *,
    blend: Sequence[float] = (),
    strength: float = 1.0,
) -> Array:
    """Paint a photo in the style of one or more paintings.

    Parameters
    ----------
    bound : BoundStyleNetwork
        Of a network that reads paintings.
    photo, paintings : arrays (height, width, 3), RGB, 0..255
    blend : sequence of float
        Shares of the paintings; equal by default.
    strength : float
        0: in the photo's own style; 1: in the paintings'.

    Returns
    -------
    array (height, width, 3), RGB, 0..255
    """
    code = blended_code([read_code(bound, painting) for painting in paintings], blend)
    if strength != 1:
        code = blended_code([read_code(bound, photo), code], (1 - strength, strength))
    return paint(bound, photo, code)


@dataclass(frozen=True)
class StyleGradient:
    """Derivatives of a loss of the painted picture.

    Attributes
    ----------
    photo : array (height, width, 3)
    code : array (code,)
    norms : dict of dict of arrays
        By the name of a normalisation, "scale" and "shift".
    """

    photo: Array
    code: Array
    norms: Gradients


def paint_backward(
    bound: BoundStyleNetwork, upstream: Upstream, photo: Array, code: Array
) -> tuple[Array, StyleGradient]:
    """Paint a photo, and carry a derivative at the picture back to photo, code and normalisations.

    Parameters
    ----------
    bound, photo, code
        As in `paint`.
    upstream : callable or array (height, width, 3)
        dL/dpicture, or a function that computes it from the picture.

    Returns
    -------
    picture : array (height, width, 3), RGB, 0..255
        As `paint` returns it.
    gradient : StyleGradient
        In the precision of the network.
    """
    engine, norms = bound.engine, bound.norms(code)
    picture, cache, at_output = _painted(bound, upstream, photo, norms)
    at_input, found = backward(bound.transformer, cache, at_output, norms)
    at_photo = engine.to_host(
        engine.preprocess_backward(at_input, bound.network.channel_order, bound.network.scale)
    )
    at_norms = _on_host(bound, found)
    at_code, _ = conditioned_backward(bound.network.transformer, np.asarray(code), at_norms)
    return picture, StyleGradient(at_photo, at_code, at_norms)


def paint_backward_norms(
    bound: BoundStyleNetwork, upstream: Upstream, photo: Array, norms: Norms
) -> tuple[Array, Gradients]:
    """Do as `paint_backward` for the normalisations alone, which need not come from a code.

    Parameters
    ----------
    bound, upstream, photo
        As in `paint_backward`.
    norms : dict of InstanceNorm
        In the place of the network's conditional normalisations, by name.

    Returns
    -------
    picture : array (height, width, 3), RGB, 0..255
    at_norms : dict of dict of arrays
        dL/dscale and dL/dshift, as in `StyleGradient.norms`.
    """
    picture, cache, at_output = _painted(bound, upstream, photo, norms)
    return picture, _on_host(bound, backward_norms(bound.transformer, cache, at_output, norms))


def paint_backward_weights(
    bound: BoundStyleNetwork, upstream: Upstream, photo: Array
) -> tuple[Array, Gradients]:
    """Do as `paint_backward` for all weights of a network with one style.

    Parameters
    ----------
    bound, upstream, photo
        As in `paint_backward`.

    Returns
    -------
    picture : array (height, width, 3), RGB, 0..255
    gradients : dict of dict of arrays
        By the name of a layer, "kernel" and "bias", or "scale" and "shift".
    """
    picture, cache, at_output = _painted(bound, upstream, photo, {}, with_kernels=True)
    return picture, _on_host(bound, backward_weights(bound.transformer, cache, at_output))


def _painted(
    bound: BoundStyleNetwork,
    upstream: Upstream,
    photo: Array,
    norms: Norms,
    *,
    with_kernels: bool = False,
) -> tuple[Array, Cache, Array]:
    """The picture, the cache of the pass, and the derivative at the network's output."""
    check_photo(photo.shape)
    image = bound.preprocess(photo)
    output, cache = forward(bound.transformer, image, norms, with_kernels=with_kernels)
    picture = _pixels(bound, output, photo.shape)
    at_picture = upstream(picture) if callable(upstream) else upstream
    at_picture = at_picture[..., ::-1] if bound.network.channel_order == "BGR" else at_picture
    at_output = np.zeros(output.shape, bound.transformer.dtype)
    at_output[: photo.shape[0], : photo.shape[1]] = at_picture * bound.network.output_scale
    return picture, cache, bound.engine.place(at_output)


def _on_host(bound: BoundStyleNetwork, gradients: Gradients) -> Gradients:
    return {
        layer: {name: bound.engine.to_host(array) for name, array in arrays.items()}
        for layer, arrays in gradients.items()
    }
