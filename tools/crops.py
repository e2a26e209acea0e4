"""Random crops of pictures, the training data of `tools/train_builtin.py`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from npstyle.images.pixels import Pixels
from npstyle.images.read import image_size, load_image
from npstyle.images.resize import resize

LONGEST_SIDES = (224, 640)
"""Range of a picture's longest side in pixels before it is cropped; drawn log-uniformly."""


def load_pictures(paths: Sequence[Path]) -> list[Pixels]:
    """Load pictures (height, width, 3), scaled down to the largest scale that crops need."""
    return [load_image(path, min(LONGEST_SIDES[1], max(image_size(path)))) for path in paths]


def draw_crop(rng: np.random.Generator, pictures: Sequence[Pixels], size: int) -> Pixels:
    """Draw a square crop: random scale, flips, changed colours, and noise in some of them.

    Parameters
    ----------
    rng : Generator
    pictures : sequence of arrays (height, width, 3), RGB, 0..255
    size : int
        Side of the crop in pixels.

    Returns
    -------
    float64 array (size, size, 3), 0..255
    """
    picture = pictures[int(rng.integers(len(pictures)))]
    height, width, _ = picture.shape
    longest = np.exp(rng.uniform(*np.log(LONGEST_SIDES)))
    # Enlarge only if the short side would otherwise be smaller than the crop.
    factor = max(min(longest / max(height, width), 1.0), size / min(height, width))
    scaled = resize(picture, (max(size, round(height * factor)), max(size, round(width * factor))))
    top = rng.integers(scaled.shape[0] - size + 1)
    left = rng.integers(scaled.shape[1] - size + 1)
    crop = scaled[top : top + size, left : left + size]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < 0.25:
        crop = crop[::-1].transpose(1, 0, 2)
    crop = recolor(rng, crop)
    if rng.random() < 0.3:
        crop = crop + rng.uniform(0, 40) * rng.standard_normal(crop.shape)
    return np.clip(crop, 0, 255)


def recolor(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """Change saturation, contrast and the gain of each channel of pixels (height, width, 3)."""
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + rng.uniform(0.3, 1.5) * (pixels - grey)
    middle = pixels.mean()
    pixels = middle + rng.uniform(0.6, 1.4) * (pixels - middle)
    return pixels * rng.uniform(0.8, 1.25, 3) + rng.uniform(-25, 25)
