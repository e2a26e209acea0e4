"""Guides: the part of a picture that a style belongs to, at every layer.

Gatys et al. 2017 ("Controlling perceptual factors in neural style transfer", arXiv 1611.07865,
section 4) give each region r of the picture its own painting. A mask over the pixels, 0..1, is
carried down to the positions of a layer as t_r, and the region has the guided Gram matrix

    G_r = sum_k t_rk^2 F_k F_k^T,     sum_k t_rk^2 = 1

So the guide is w_k = t_rk^2 / sum t_r^2, in the place of 1/M (`npstyle.maths.gram`). A mask of ones
gives w_k = 1/M.

On the way down a convolution leaves the mask as it is, and a pooling layer takes its mean in each
window: a position of a deep layer counts by how much of it lies in the region. This is the simplest
of the paper's methods. The others leave out positions whose receptive field crosses the border.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from npstyle.errors import InputError
from npstyle.images.resize import resize
from npstyle.maths.array import Array
from npstyle.maths.layers import Pool
from npstyle.maths.pooling import avg_pool2d
from npstyle.networks.network import Network, shapes


@dataclass(frozen=True)
class Source:
    """A painting, or a part of one.

    Attributes
    ----------
    pixels : array (height, width, 3), RGB, 0..255
    blend : float
        Its share among the sources of its region; the shares are divided by their sum.
    mask : array (height, width), 0..1, optional
        The part of the painting whose style is taken; the whole painting by default.
    """

    pixels: Array
    blend: float = 1.0
    mask: Array | None = None


@dataclass(frozen=True)
class Region:
    """A part of the photo, and the paintings whose style it takes.

    Attributes
    ----------
    sources : tuple of Source
        Their Gram matrices are blended: the target is sum_k blend_k A_k.
    mask : array (height, width), 0..1, optional
        The part of the photo; the whole photo by default.
    """

    sources: tuple[Source, ...]
    mask: Array | None = None


def carry_down(network: Network, wanted: Collection[str], mask: Array) -> dict[str, Array]:
    """Compute the guides at each wanted layer from a mask over the pixels.

    Parameters
    ----------
    network : Network
    wanted : names of activations
    mask : array (height, width), 0..1

    Returns
    -------
    dict of float64 arrays (height, width), by the names given
        w, with sum 1.

    Raises
    ------
    InputError
        If the mask is 0 everywhere at a layer.
    """
    depths = {network.depth(name): name for name in wanted}
    carried = np.asarray(mask, np.float64)[:, :, np.newaxis]
    guides = {}
    for index, (layer, shape) in enumerate(shapes(network, wanted, *mask.shape)):
        if isinstance(layer, Pool):
            carried = avg_pool2d(carried, layer.size, layer.stride)
        elif carried.shape[:2] != shape[:2]:  # a convolution with a stride, or without padding
            carried = resize(carried, shape[:2])
        if index in depths:
            squares = carried[:, :, 0] ** 2
            if not squares.sum() > 0:
                raise InputError(
                    f"--content-mask, --style-mask: a mask is 0 everywhere at layer "
                    f"{depths[index]}; give a larger region, or leave that layer out"
                )
            guides[depths[index]] = squares / squares.sum()
    return guides
