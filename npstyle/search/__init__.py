"""The search: moves the pixels to lower the objective."""

from typing import Literal

Optimizer = Literal["lbfgs", "adam"]
"""The optimisers of `npstyle.search.optimize`."""
