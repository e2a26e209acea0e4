"""The engine on the CPU with compiled loops: float32, through Numba (the extra `fast`).

This module exports the same functions as `npstyle.engine.cpu`. Those that gain from it are loops
compiled for this processor, each a single pass over the memory where NumPy makes several; the
others are NumPy's. A network is bound to this engine only if it computes in float32.

The loops are compiled when this package is imported, and stored (see `kernel`). Importing it raises
ImportError without Numba.
"""

from npstyle.engine.cpu.arrays import ON_GPU, numbers, place, to_host, zeros_like
from npstyle.engine.cpu.compiled.conv import conv2d, conv2d_backward
from npstyle.engine.cpu.compiled.memory import LOSS_ARRAYS, strip_bytes, workspace_bytes
from npstyle.engine.cpu.compiled.pooling import avg_pool2d
from npstyle.engine.cpu.compiled.winograd import winograd_conv2d, winograd_conv2d_backward
from npstyle.engine.cpu.conv import conv2d_backward_weights
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
from npstyle.engine.cpu.padding import replicate_pad, replicate_pad_backward
from npstyle.engine.cpu.pooling import (
    avg_pool2d_backward,
    l2_pool2d,
    l2_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from npstyle.engine.cpu.precondition import precondition, precondition_backward
from npstyle.engine.cpu.preprocessing import preprocess, preprocess_backward
from npstyle.engine.cpu.relu import relu, relu_backward, relu_mask
from npstyle.engine.cpu.vectors import combination, inner_products, mirror, mirror_backward
from npstyle.engine.cpu.winograd import transform_filters
from npstyle.engine.machine import release_library

release_library("libllvmlite")  # the compiler has done its work; this saves 70 MB

__all__ = [
    "LOSS_ARRAYS",
    "ON_GPU",
    "avg_pool2d",
    "avg_pool2d_backward",
    "combination",
    "content_loss",
    "content_loss_backward",
    "conv2d",
    "conv2d_backward",
    "conv2d_backward_weights",
    "gram",
    "gram_backward",
    "gram_loss",
    "gram_loss_backward",
    "inner_products",
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
    "relu",
    "relu_backward",
    "relu_mask",
    "replicate_pad",
    "replicate_pad_backward",
    "strip_bytes",
    "style_loss",
    "style_loss_backward",
    "to_host",
    "total_variation",
    "total_variation_backward",
    "transform_filters",
    "winograd_conv2d",
    "winograd_conv2d_backward",
    "workspace_bytes",
    "zeros_like",
]
