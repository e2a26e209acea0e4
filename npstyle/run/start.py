"""The picture that the search starts from."""

import numpy as np

from npstyle.images.color import with_statistics
from npstyle.images.read import load_image
from npstyle.images.resize import resize
from npstyle.maths.array import Array
from npstyle.maths.box import PIXEL_MAX
from npstyle.run.settings import Settings

NOISE_DEVIATION = 10.0
"""Standard deviation of the white noise around middle grey, in pixel values 0..255. Stronger noise
leaves grain that pooling hides from the network."""


def starting_picture(settings: Settings, photo: Array, painting: Array | None) -> Array:
    """Return the picture (height, width, 3) that the search starts from, in the photo's size.

    Parameters
    ----------
    settings : Settings
        `init` and `seed` are used.
    photo, painting : arrays (height, width, 3), 0..255
        The painting may be None if `init` does not need it.

    Raises
    ------
    InputError
        If `settings.init` is a file that cannot be read.
    """
    height, width = photo.shape[:2]
    rng = np.random.default_rng(settings.seed)
    if settings.init == "content":
        return photo
    if settings.init == "noise":
        noise = rng.normal(0, NOISE_DEVIATION, photo.shape)
        return np.clip(PIXEL_MAX / 2 + noise, 0, PIXEL_MAX)
    if settings.init == "style" and painting is not None:
        return resize(painting, (height, width))
    if settings.init == "style-stats" and painting is not None:
        return with_statistics(rng.standard_normal(photo.shape), painting)
    return resize(load_image(settings.init), (height, width))
