"""The textbook: every formula of style transfer, with its derivative, in plain NumPy.

Each chapter is one file. Its docstring gives the formula and derives the derivative; the functions
below it read as the formulas do, with the backward function under the forward one. Nothing here is
fast, and nothing needs more than NumPy. Any float dtype will do, and complex numbers where the
formula is analytic. An image or a layer's activations are an array (height, width, channels).

In reading order:

1. `preprocessing`  from pixels to the input of a network
2. `padding`        what a convolution sees beyond the edge
3. `windows`        the sliding window that convolution and pooling share
4. `conv`           convolution, and its derivatives by image, kernel and bias
5. `relu`           the rectified linear unit
6. `pooling`        average, maximum, root mean square
7. `network`        layers in a row: forward, and the chain rule back
8. `content`        the content loss
9. `gram`           the Gram matrix
10. `style`         the style loss
11. `variation`     total variation
12. `objective`     all of it: from the pixels to the loss, and back to the gradient at the pixels
13. `box`           how a search without bounds stays inside 0..255
14. `precondition`  other coordinates for the search: fewer steps to the same picture

`npstyle.engine` computes the same functions fast. `npstyle.lab` checks this package numerically,
and the engine against this package.
"""

from npstyle.maths.array import Array
from npstyle.maths.box import PIXEL_MAX, mirror, mirror_backward
from npstyle.maths.content import content_loss, content_loss_backward
from npstyle.maths.conv import conv2d, conv2d_backward, conv2d_backward_weights
from npstyle.maths.gram import gram, gram_backward, mean_gram, mean_gram_backward
from npstyle.maths.network import Conv, Layer, Pool, Relu, backward, forward
from npstyle.maths.objective import ContentTerm, Preprocessing, StyleTerm, objective
from npstyle.maths.padding import (
    replicate_pad,
    replicate_pad_backward,
    zero_pad,
    zero_pad_backward,
)
from npstyle.maths.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    l2_pool2d,
    l2_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_winners,
)
from npstyle.maths.precondition import (
    dct_matrix,
    precondition,
    precondition_backward,
    spectrum,
)
from npstyle.maths.preprocessing import preprocess, preprocess_backward
from npstyle.maths.relu import relu, relu_backward
from npstyle.maths.style import style_loss, style_loss_backward
from npstyle.maths.variation import total_variation, total_variation_backward
from npstyle.maths.windows import output_size, windows

__all__ = [
    "PIXEL_MAX",
    "Array",
    "ContentTerm",
    "Conv",
    "Layer",
    "Pool",
    "Preprocessing",
    "Relu",
    "StyleTerm",
    "avg_pool2d",
    "avg_pool2d_backward",
    "backward",
    "content_loss",
    "content_loss_backward",
    "conv2d",
    "conv2d_backward",
    "conv2d_backward_weights",
    "dct_matrix",
    "forward",
    "gram",
    "gram_backward",
    "l2_pool2d",
    "l2_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_winners",
    "mean_gram",
    "mean_gram_backward",
    "mirror",
    "mirror_backward",
    "objective",
    "output_size",
    "precondition",
    "precondition_backward",
    "preprocess",
    "preprocess_backward",
    "relu",
    "relu_backward",
    "replicate_pad",
    "replicate_pad_backward",
    "spectrum",
    "style_loss",
    "style_loss_backward",
    "total_variation",
    "total_variation_backward",
    "windows",
    "zero_pad",
    "zero_pad_backward",
]
