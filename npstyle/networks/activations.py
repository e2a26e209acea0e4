"""Activations of a picture, computed by the textbook (`npstyle.maths.network`)."""

from collections.abc import Iterable, Iterator

from npstyle.maths.array import Array
from npstyle.maths.layers import run_layer
from npstyle.maths.preprocessing import preprocess
from npstyle.networks.network import Network, shapes


def activations(
    network: Network, pixels: Array, names: Iterable[str]
) -> Iterator[tuple[str, Array]]:
    """Run a network on a picture and yield the requested activations in the order of the layers.

    Only the output of the current layer is kept in memory.

    Parameters
    ----------
    network : Network
        Its dtype is the precision of the computation.
    pixels : array (height, width, 3), RGB, 0..255
    names : iterable of str
        "conv1_1" is the output of the ReLU that follows the convolution, as in the paper.

    Yields
    ------
    (name, array (height, width, channels))

    Raises
    ------
    InputError
        If the network has no such activation, or the picture is too small for the deepest one.
    """
    wanted = {network.depth(name): name for name in names}
    shapes(network, wanted.values(), pixels.shape[0], pixels.shape[1])  # raises if too small
    X = preprocess(pixels, network.channel_order, network.mean, network.scale)
    X = X.astype(network.dtype)
    for index in range(max(wanted, default=-1) + 1):
        X = run_layer(network.layers[index], X)
        if index in wanted:
            yield wanted[index], X
