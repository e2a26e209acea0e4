"""The engine on the CPU with compiled loops: float32, through Numba (the extra `fast`).

This module exports the same functions as `npstyle.engine.cpu`. Those that gain from it are loops
compiled for this processor, each a single pass over the memory where NumPy makes several; the
others are NumPy's. A network is bound to this engine only if it computes in float32.

The loops are compiled when this package is imported, and stored (see `kernel`). Importing it raises
ImportError without Numba.
"""

from npstyle.engine.cpu import *  # noqa: F403  those that gain nothing from compiled loops
from npstyle.engine.cpu import __all__ as __all__
from npstyle.engine.cpu.compiled.conv import conv2d as conv2d
from npstyle.engine.cpu.compiled.conv import conv2d_backward as conv2d_backward
from npstyle.engine.cpu.compiled.memory import strip_bytes as strip_bytes
from npstyle.engine.cpu.compiled.memory import workspace_bytes as workspace_bytes
from npstyle.engine.cpu.compiled.pooling import avg_pool2d as avg_pool2d
from npstyle.engine.cpu.compiled.winograd import winograd_conv2d as winograd_conv2d
from npstyle.engine.cpu.compiled.winograd import (
    winograd_conv2d_backward as winograd_conv2d_backward,
)
from npstyle.engine.machine import release_library

release_library("libllvmlite")  # the compiler has done its work; this saves 70 MB
