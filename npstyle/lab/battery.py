"""The battery: every derivative of npstyle, by chapter, ready for `check_subject`.

Most chapters are pages of the textbook, `npstyle.maths` (see `npstyle.lab.pages`). Two belong to
the engine and have no page of their own: Winograd's convolution, and the objective by tiles. For
subjects that need a network see `npstyle.lab.whole`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from npstyle import maths
from npstyle.engine.cpu import winograd
from npstyle.lab import pages
from npstyle.lab.subjects import Subject
from npstyle.maths import box, content, conv, network, objective, padding, pooling, preprocessing
from npstyle.maths import gram as gram_page
from npstyle.maths import relu as relu_page
from npstyle.maths import style, variation
from npstyle.maths import windows as windows_page
from npstyle.maths.array import Array
