"""The textbook: every formula of style transfer, with its derivative, in plain NumPy.

Each chapter is one file. Its docstring gives the formula and derives the derivative; the functions
below it read as the formulas do, with the backward function under the forward one. Nothing here is
fast, and nothing needs more than NumPy. Any float dtype will do, and complex numbers where the
formula is analytic. An image or a layer's activations are an array (height, width, channels). L is
a loss, a number, and dL/dX its derivative with respect to X, an array of the shape of X.

In reading order:

1. `preprocessing`  from pixels to the input of a network
2. `padding`        what a convolution sees beyond the edge
3. `windows`        the sliding window that convolution and pooling share
4. `conv`           convolution, and its derivatives by image, kernel and bias
5. `depthwise`      convolution of each channel by itself
6. `relu`           the rectified linear unit, and ReLU6
7. `pooling`        average, maximum, root mean square
8. `normalization`  instance normalisation
9. `upsampling`     nearest-neighbour upsampling
10. `sigmoid`       the sigmoid
11. `layers`        a layer as data, and the residual sum
12. `network`       layers in a row: forward, and the chain rule back, to image and weights
13. `conditional`   normalisations that depend on the style
14. `content`       the content loss
15. `gram`          the Gram matrix
16. `style`         the style loss
17. `variation`     total variation
18. `objective`     all of it: from the pixels to the loss, and back to the gradient at the pixels
19. `box`           how a search without bounds stays inside 0..255
20. `precondition`  other coordinates for the search: fewer steps to the same picture
21. `adam`          steps of almost equal length, whatever the size of the gradient
22. `checkerboard`  what a network repeats in every cell of a picture
23. `training`      from the loss back to the weights of a network that paints

A loss needs chapters 1 to 4, 6, 7, 11, 12 and 14 to 18, and a search of the pixels 19 to 21. The
others are for networks that paint in one pass, which are trained by steps of Adam.

`npstyle.engine` computes the same functions fast. `npstyle.lab` checks this package numerically,
and the engine against this package.
"""

from npstyle.maths.adam import adam_direction
from npstyle.maths.array import Array
from npstyle.maths.box import PIXEL_MAX, mirror, mirror_backward
from npstyle.maths.checkerboard import checkerboard_loss, checkerboard_loss_backward
from npstyle.maths.conditional import ConditionalNorm, conditioned, conditioned_backward
from npstyle.maths.content import content_loss, content_loss_backward
from npstyle.maths.conv import conv2d, conv2d_backward, conv2d_backward_weights
from npstyle.maths.depthwise import (
    depthwise_conv2d,
    depthwise_conv2d_backward,
    depthwise_conv2d_backward_weights,
)
from npstyle.maths.gram import gram, gram_backward, mean_gram, mean_gram_backward
from npstyle.maths.layers import (
    Add,
    Conv,
    DepthwiseConv,
    GlobalPool,
    InstanceNorm,
    Layer,
    Pad,
    Pool,
    Relu,
    Relu6,
    Sigmoid,
    Upsample,
)
from npstyle.maths.network import backward, backward_everywhere, backward_weights, forward
from npstyle.maths.normalization import (
    instance_norm,
    instance_norm_backward,
    instance_norm_backward_weights,
)
from npstyle.maths.objective import ContentTerm, Preprocessing, StyleTerm, objective
from npstyle.maths.padding import (
    reflect_pad,
    reflect_pad_backward,
    replicate_pad,
    replicate_pad_backward,
    zero_pad,
    zero_pad_backward,
)
from npstyle.maths.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool,
    global_avg_pool_backward,
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
from npstyle.maths.relu import relu, relu6, relu6_backward, relu_backward
from npstyle.maths.sigmoid import sigmoid, sigmoid_backward
from npstyle.maths.style import style_loss, style_loss_backward
from npstyle.maths.training import training_gradient
from npstyle.maths.upsampling import upsample, upsample_backward
from npstyle.maths.variation import total_variation, total_variation_backward
from npstyle.maths.windows import output_size, windows

__all__ = [
    "PIXEL_MAX",
    "Add",
    "Array",
    "ConditionalNorm",
    "ContentTerm",
    "Conv",
    "DepthwiseConv",
    "GlobalPool",
    "InstanceNorm",
    "Layer",
    "Pad",
    "Pool",
    "Preprocessing",
    "Relu",
    "Relu6",
    "Sigmoid",
    "StyleTerm",
    "Upsample",
    "adam_direction",
    "avg_pool2d",
    "avg_pool2d_backward",
    "backward",
    "backward_everywhere",
    "backward_weights",
    "checkerboard_loss",
    "checkerboard_loss_backward",
    "conditioned",
    "conditioned_backward",
    "content_loss",
    "content_loss_backward",
    "conv2d",
    "conv2d_backward",
    "conv2d_backward_weights",
    "dct_matrix",
    "depthwise_conv2d",
    "depthwise_conv2d_backward",
    "depthwise_conv2d_backward_weights",
    "forward",
    "global_avg_pool",
    "global_avg_pool_backward",
    "gram",
    "gram_backward",
    "instance_norm",
    "instance_norm_backward",
    "instance_norm_backward_weights",
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
    "reflect_pad",
    "reflect_pad_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "replicate_pad",
    "replicate_pad_backward",
    "sigmoid",
    "sigmoid_backward",
    "spectrum",
    "style_loss",
    "style_loss_backward",
    "total_variation",
    "total_variation_backward",
    "training_gradient",
    "upsample",
    "upsample_backward",
    "windows",
    "zero_pad",
    "zero_pad_backward",
]
