"""The search: moves the pixels to lower the objective."""

from typing import Literal

Optimizer = Literal["lbfgs", "scipy", "adam"]
"""The optimisers of `npstyle.search.optimize`."""

Precondition = Literal["on", "off"]
"""Whether L-BFGS moves the frequencies of the picture or its pixels."""
