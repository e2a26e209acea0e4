"""Neural style transfer from scratch on NumPy: every derivative written by hand.

    import npstyle
    done = npstyle.transfer("town.jpg", "starry_night.jpg", settings=npstyle.Settings(size=256))
    npstyle.save_image("out.png", done.result.image, done.record)

`npstyle.maths` is the textbook: the formulas and their derivatives as plain functions on arrays.
`StyleObjective` is the fast loss and its gradient at the pixels, `TiledObjective` the same for a
picture larger than memory. `check_gradient` checks a derivative numerically, and `explain` shows a
chapter of the textbook with its checks.
"""

import lazy_loader

__version__ = "0.1.0"

# Names are imported when they are first used, so `npstyle --help` does not wait for NumPy and
# SciPy. `__init__.pyi` lists them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
