"""The engine on the CPU: the functions of `npstyle.maths` on several threads, in strips of rows.

`npstyle.engine.cuda` exports the same functions for NVIDIA GPUs. A network is bound to one of the
two (`npstyle.engine.bind`).
"""

from npstyle.engine.cpu.arrays import ON_GPU, numbers, place, to_host, zeros_like
from npstyle.engine.cpu.conv import conv2d, conv2d_backward
from npstyle.engine.cpu.conv_weights import conv2d_backward_weights
from npstyle.engine.cpu.depthwise import (
    depthwise_conv2d,
    depthwise_conv2d_backward,
    depthwise_conv2d_backward_weights,
)
from npstyle.engine.cpu.gram import gram, gram_backward, mean_gram
from npstyle.engine.cpu.losses import (
    content_loss,
    content_loss_backward,
    gram_loss,
    gram_loss_backward,
    style_loss,
    style_loss_backward,
    total_variation,
    total_variation_backward,
)
from npstyle.engine.cpu.memory import LOSS_ARRAYS, strip_bytes, workspace_bytes
from npstyle.engine.cpu.normalization import (
    instance_norm,
    instance_norm_backward,
    instance_statistics,
)
from npstyle.engine.cpu.padding import replicate_pad, replicate_pad_backward
from npstyle.engine.cpu.pointwise import add, relu6, relu6_backward, sigmoid, sigmoid_backward
from npstyle.engine.cpu.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    l2_pool2d,
    l2_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from npstyle.engine.cpu.precondition import precondition, precondition_backward
from npstyle.engine.cpu.preprocessing import preprocess, preprocess_backward
from npstyle.engine.cpu.reflect_conv import reflect_conv2d, reflect_conv2d_backward
from npstyle.engine.cpu.reflection import (
    reflect_pad,
    reflect_pad_backward,
    zero_pad,
    zero_pad_backward,
)
from npstyle.engine.cpu.relu import relu, relu_backward, relu_mask
from npstyle.engine.cpu.upsampling import (
    global_avg_pool,
    global_avg_pool_backward,
    upsample,
    upsample_backward,
)
from npstyle.engine.cpu.vectors import combination, inner_products, mirror, mirror_backward
from npstyle.engine.cpu.winograd import (
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
