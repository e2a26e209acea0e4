"""The engine on NVIDIA GPUs: CuPy arrays and CUDA kernels.

This module exports the same functions as `npstyle.engine.cpu`, with the same arguments, for CuPy
arrays, with two differences. A loss is an array of one float64 on the GPU, because fetching it
would make the host wait; `numbers` fetches several at once. `pack_filters` and the `tensor_`
functions, the convolution on tensor cores, have no counterpart on the CPU.

CuPy is imported when a function first needs it, so this module can be imported without it. Arrays
must be contiguous (see `npstyle.engine.cuda.arrays`). An array `out` is returned: the derivatives
of the losses and of Gram matrices are added to it, all other functions overwrite it.
"""

from npstyle.engine.cuda.arrays import ON_GPU, numbers, place, to_host, zeros_like
from npstyle.engine.cuda.conv import conv2d, conv2d_backward, conv2d_backward_weights
from npstyle.engine.cuda.depthwise import (
    depthwise_conv2d,
    depthwise_conv2d_backward,
    depthwise_conv2d_backward_weights,
)
from npstyle.engine.cuda.gram import gram, gram_backward, mean_gram
from npstyle.engine.cuda.losses import (
    content_loss,
    content_loss_backward,
    gram_loss,
    gram_loss_backward,
    style_loss,
    style_loss_backward,
    total_variation,
    total_variation_backward,
)
from npstyle.engine.cuda.memory import LOSS_ARRAYS, strip_bytes, workspace_bytes
from npstyle.engine.cuda.normalization import (
    instance_norm,
    instance_norm_backward,
    instance_statistics,
)
from npstyle.engine.cuda.padding import (
    reflect_pad,
    reflect_pad_backward,
    replicate_pad,
    replicate_pad_backward,
    zero_pad,
    zero_pad_backward,
)
from npstyle.engine.cuda.pointwise import add, relu6, relu6_backward, sigmoid, sigmoid_backward
from npstyle.engine.cuda.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    l2_pool2d,
    l2_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from npstyle.engine.cuda.precondition import precondition, precondition_backward
from npstyle.engine.cuda.preprocessing import preprocess, preprocess_backward
from npstyle.engine.cuda.reflect_conv import reflect_conv2d, reflect_conv2d_backward
from npstyle.engine.cuda.relu import relu, relu_backward, relu_mask
from npstyle.engine.cuda.tensor_cores import (
    pack_filters,
    tensor_conv2d,
    tensor_conv2d_backward,
)
from npstyle.engine.cuda.upsampling import (
    global_avg_pool,
    global_avg_pool_backward,
    upsample,
    upsample_backward,
)
from npstyle.engine.cuda.vectors import combination, inner_products, mirror, mirror_backward
from npstyle.engine.cuda.winograd import (
    transform_filters,
    winograd_conv2d,
    winograd_conv2d_backward,
)

__all__ = [
    "LOSS_ARRAYS",
    "ON_GPU",
    "add",
    "avg_pool2d",
    "avg_pool2d_backward",
    "combination",
    "content_loss",
    "content_loss_backward",
    "conv2d",
    "conv2d_backward",
    "conv2d_backward_weights",
    "depthwise_conv2d",
    "depthwise_conv2d_backward",
    "depthwise_conv2d_backward_weights",
    "global_avg_pool",
    "global_avg_pool_backward",
    "gram",
    "gram_backward",
    "gram_loss",
    "gram_loss_backward",
    "inner_products",
    "instance_norm",
    "instance_norm_backward",
    "instance_statistics",
    "l2_pool2d",
    "l2_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "mean_gram",
    "mirror",
    "mirror_backward",
    "numbers",
    "pack_filters",
    "place",
    "precondition",
    "precondition_backward",
    "preprocess",
    "preprocess_backward",
    "reflect_conv2d",
    "reflect_conv2d_backward",
    "reflect_pad",
    "reflect_pad_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "relu_mask",
    "replicate_pad",
    "replicate_pad_backward",
    "sigmoid",
    "sigmoid_backward",
    "strip_bytes",
    "style_loss",
    "style_loss_backward",
    "tensor_conv2d",
    "tensor_conv2d_backward",
    "to_host",
    "total_variation",
    "total_variation_backward",
    "transform_filters",
    "upsample",
    "upsample_backward",
    "winograd_conv2d",
    "winograd_conv2d_backward",
    "workspace_bytes",
    "zero_pad",
    "zero_pad_backward",
    "zeros_like",
]
