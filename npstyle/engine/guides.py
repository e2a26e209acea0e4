"""Guides: which part of a picture a style belongs to, at every layer.

Gatys et al. 2017 ("Controlling perceptual factors in neural style transfer", arXiv 1611.07865,
section 4) give each region r of the picture its own painting. A mask over the pixels, 0..1, is
carried down to a layer's positions as t_r, and the region's guided Gram matrix is

    G_r = sum_k t_rk^2 F_k F_k^T,     sum_k t_rk^2 = 1

so that w_k = t_rk^2 / sum t_r^2 takes the place of 1/M. A mask of ones is no guide: w_k = 1/M.

On the way down a convolution leaves the mask as it is, and a pooling layer takes its mean in each
window: a position of a deep layer counts by how much of it lies in the region. (The paper's
simplest way. Its other ways leave out positions whose receptive field reaches over the border.)
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cpu.pooling import avg_pool2d
from npstyle.errors import InputError
from npstyle.images.resize import resize
from npstyle.networks.network import Network, Pool, shapes

Array = NDArray[Any]


@dataclass(frozen=True)
class Source:
    """A painting, or a part of one.

    Attributes
    ----------
    pixels : array (height, width, 3), RGB, 0..255
    blend : float
        What it counts among the sources of its region; these are divided by their sum.
    mask : array (height, width), 0..1, optional
        The part of the painting that is meant; all of it if not given.
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
        The part of the photo that is meant; all of it if not given.
    """

    sources: tuple[Source, ...]
    mask: Array | None = None


def carry_down(network: Network, wanted: Collection[str], mask: Array) -> dict[str, Array]:
    """The weights w of the positions of each wanted layer, from a mask over the pixels.

    Parameters
    ----------
    network : Network
    wanted : names of activations
    mask : array (height, width), 0..1

    Returns
    -------
    dict of arrays (height, width), by the names given
        Each with the sum 1, in the network's precision.

    Raises
    ------
    InputError
        If nothing of the mask is left at a layer.
    """
    depths = {network.depth(name): name for name in wanted}
    guide = np.asarray(mask, np.float64)[:, :, np.newaxis]
    weights = {}
    for index, (layer, shape) in enumerate(shapes(network, wanted, *mask.shape)):
        if isinstance(layer, Pool):
            guide = avg_pool2d(guide, layer.size, layer.stride)
        elif guide.shape[:2] != shape[:2]:  # a convolution with a stride, or without padding
            guide = resize(guide, shape[:2])
        if index in depths:
            squares = guide[:, :, 0] ** 2
            if not squares.sum() > 0:
                raise InputError(
                    f"--content-mask, --style-mask: nothing of a mask is left at layer "
                    f"{depths[index]}; give a larger region, or leave that layer out"
                )
            weights[depths[index]] = (squares / squares.sum()).astype(network.dtype)
    return weights
