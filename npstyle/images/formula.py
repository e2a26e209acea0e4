"""A photo-like and a painting-like picture, drawn by formula: the demo needs no files.

The "photo" is a landscape: a sky with a sun, three ranges of hills whose ridges are sums of sine
waves, and a lake that mirrors them. The "painting" is brushwork: noise smeared along the stream
lines of a field of whirls (line integral convolution, Cabral and Leedom, SIGGRAPH 1993), whose
brightness picks colours from a palette of blues and yellows.
"""

import numpy as np

from npstyle.maths.array import Array

PALETTE = np.array(
    [
        [12, 20, 58],
        [24, 52, 120],
        [52, 98, 172],
        [120, 168, 200],
        [226, 214, 150],
        [250, 196, 60],
    ],
    np.float64,
)
"""RGB colours of the painting, dark to bright."""


def draw_photo(height: int, width: int, seed: int = 0) -> Array:
    """Draw the landscape.

    Parameters
    ----------
    height, width : int
        Size in pixels.
    seed : int
        Of the hills' shapes and the fine grain; another seed is another landscape.

    Returns
    -------
    float64 array (height, width, 3), RGB, 0..255
    """
    rng = np.random.default_rng(seed)
    y, x = _grid(height, width)
    horizon = 0.68
    # Below the horizon the lake shows what is above it, squeezed, rippled and darker.
    ripple = 0.012 * np.sin(90 * np.sqrt(np.maximum(y - horizon, 0)) + 9 * np.sin(7 * x))
    lake = y > horizon
    seen = np.where(lake, np.clip(horizon - 0.9 * (y - horizon) + ripple, 0, horizon), y)

    picture = _mix(seen / horizon, (58, 110, 190), (248, 214, 170))
    sun = np.hypot(x - 0.72 * width / height, seen - 0.24)
    picture += 190 * np.exp(-((sun / 0.07) ** 4))[..., None] * np.array([1.0, 0.85, 0.5])
    picture += 60 * np.exp(-sun / 0.25)[..., None] * np.array([1.0, 0.7, 0.3])
    for layer, color in enumerate([(120, 140, 175), (70, 100, 96), (34, 56, 40)]):
        ridge = np.full_like(x, 0.40 + 0.09 * layer)
        for wave in range(1, 7):
            phase, height_of_wave = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.0)
            frequency = wave * (2.1 + layer)
            ridge = ridge + 0.05 * height_of_wave / wave * np.sin(frequency * x + phase)
        shade = 1.15 - 0.9 * (seen - ridge) + 0.12 * np.sin(60 * seen + 25 * x + layer)
        hill = np.array(color, np.float64) * shade[..., None]
        picture = np.where((seen > ridge)[..., None], hill, picture)
    picture = np.where(lake[..., None], 0.72 * picture + np.array([0.0, 8.0, 22.0]), picture)
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255)


def draw_painting(height: int, width: int, seed: int = 0) -> Array:
    """Draw the brushwork.

    Parameters
    ----------
    height, width : int
        Size in pixels.
    seed : int
        Of the whirls and the bristles; another seed is another painting.

    Returns
    -------
    float64 array (height, width, 3), RGB, 0..255
    """
    rng = np.random.default_rng(seed)
    y, x = _grid(height, width)
    flow_y, flow_x = 0.25 * np.cos(5 * x), np.ones_like(x)
    glow = 0.18 * np.sin(3 * x + 4 * y)
    for _ in range(7):
        center_y, center_x = rng.uniform(0, 1), rng.uniform(0, width / height)
        turn = rng.choice([-1.0, 1.0])
        radius = rng.uniform(0.10, 0.24)
        away_y, away_x = y - center_y, x - center_x
        strength = 6 * turn * np.exp(-(away_y**2 + away_x**2) / (2 * radius**2)) / radius
        flow_y += strength * away_x
        flow_x -= strength * away_y
        glow += 0.75 * np.exp(-(away_y**2 + away_x**2) / (0.5 * radius**2))
    length = np.hypot(flow_y, flow_x) + 1e-9
    bristles = _smear(rng, flow_y / length, flow_x / length)
    brightness = 0.27 + 0.5 * glow + 0.2 * bristles
    hue = 0.05 * _smear(rng, flow_y / length, flow_x / length)
    position = np.clip(brightness, 0, 1) * (len(PALETTE) - 1)
    channels = [np.interp(position, np.arange(len(PALETTE)), PALETTE[:, c]) for c in range(3)]
    relief = 22 * (bristles - np.roll(bristles, 1, axis=0))
    picture = np.stack(channels, axis=2) + relief[..., None]
    return np.clip(picture * (1 + hue[..., None] * np.array([1.0, 0.2, -1.0])), 0, 255)


def _smear(rng: np.random.Generator, flow_y: Array, flow_x: Array) -> Array:
    """Average white noise along the stream lines; the result has mean 0 and deviation 1."""
    height, width = flow_y.shape
    grain = max(1, min(height, width) // 128)
    noise = rng.standard_normal((-(-height // grain), -(-width // grain)))
    noise = np.repeat(np.repeat(noise, grain, axis=0), grain, axis=1)[:height, :width]
    reach = max(3, min(height, width) // 22)
    total = noise.copy()
    for sign in (1.0, -1.0):
        at_y, at_x = (np.asarray(a, np.float64) for a in np.indices((height, width)))
        for _ in range(reach):
            row, column = at_y.astype(int) % height, at_x.astype(int) % width
            at_y = at_y + sign * flow_y[row, column]
            at_x = at_x + sign * flow_x[row, column]
            total += noise[at_y.astype(int) % height, at_x.astype(int) % width]
    return (total - total.mean()) / max(total.std(), 1e-9)


def _grid(height: int, width: int) -> tuple[Array, Array]:
    """Coordinates in units of the picture's height: y from 0 to 1, x from 0 to width / height."""
    rows, columns = np.indices((height, width))
    return (rows + 0.5) / height, (columns + 0.5) / height


def _mix(share: Array, first: tuple[int, ...], second: tuple[int, ...]) -> Array:
    """Blend two colours: `share` 0 is the first, 1 the second."""
    share = np.clip(share, 0, 1)[..., None]
    return (1 - share) * np.array(first, np.float64) + share * np.array(second, np.float64)
