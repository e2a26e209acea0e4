"""What a whole network gives the laboratory.

One subject per layer, at the activations of a real picture, and one per preset and feature: the
whole objective at the pixels. And the objective by tiles, held against it.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cpu import conv
from npstyle.engine.guides import Region, Source
from npstyle.engine.objective import StyleObjective, build_objective
from npstyle.images import image
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.lab.battery import (
    CHAPTERS,
    Subject,
    avg_pool_subject,
    l2_pool_subject,
    max_pool_subject,
    relu_subject,
)
from npstyle.lab.kinks import kink_pattern
from npstyle.lab.methods import Outcome, equality
from npstyle.maths.network import Conv, Pool
from npstyle.networks.network import Network, accelerate, configure, shapes
from npstyle.run.settings import PRESETS, Settings
from npstyle.tiles.cut import receptive_field
from npstyle.tiles.objective import TiledObjective

Array = NDArray[Any]


def layer_subjects(network: Network, size: int, rng: np.random.Generator) -> Iterator[Subject]:
    """Every layer that the presets use, at the activations of a picture of `size` pixels."""
    network = configure(network, "avg", np.float64)
    wanted = _preset_layers(network)
    depth = len(shapes(network, wanted, size, size))
    pixels = _picture(draw_photo(size, size), rng)
    x = image.preprocess(pixels, network.channel_order, network.mean, network.scale, network.dtype)
    for layer in network.layers[:depth]:
        if isinstance(layer, Conv):
            weight, bias, stride, padding = layer.kernel, layer.bias, layer.stride, layer.padding
            subject = Subject(
                f"{network.name} {layer.name}",
                lambda x, w=weight, b=bias, s=stride, p=padding: conv.conv2d(x, w, b, s, p),
                lambda g, x, w=weight, s=stride, p=padding: conv.conv2d_backward(
                    g, w, x.shape, s, p
                ),
                (x,),
                linear=(0,),
            )
        elif isinstance(layer, Pool):
            name = f"{network.name} {layer.name}"
            yield max_pool_subject(f"{name} max", x, layer.size, layer.stride)
            yield l2_pool_subject(f"{name} l2", x, layer.size, layer.stride)
            subject = avg_pool_subject(f"{name} avg", x, layer.size, layer.stride)
        else:
            subject = relu_subject(f"{network.name} {layer.name}", x)
        yield subject
        x = subject.function(x)


def objective_subjects(network: Network, size: int, rng: np.random.Generator) -> Iterator[Subject]:
    """The whole objective at the pixels, `size` x `size`: every preset, and what presets lack."""
    photo, painting = draw_photo(size, size), draw_painting(size, size)
    pixels = _picture(photo, rng)
    for name, configured, settings, style in _cases(network, photo, painting):
        objective = build_objective(configured, photo, style, settings)

        def traced(x: Array, f: StyleObjective = objective) -> tuple[float, Array]:
            loss, cache = f.value(x)
            return loss, kink_pattern(f.network, cache)

        yield Subject(
            f"objective {name}",
            lambda x, f=objective: f.value(x)[0],
            lambda g, x, f=objective: g * f(x).gradient,
            (pixels,),
            pattern=traced,
        )


def _cases(
    network: Network, photo: Array, painting: Array
) -> Iterator[tuple[str, Network, Settings, Array | list[Region]]]:
    """Every preset and what presets lack: name, network, settings and style."""
    gatys = PRESETS["gatys"]
    height, width = photo.shape[:2]
    left = np.tile(np.linspace(1, 0, width), (height, 1))
    square = 1 - left[:, :height].T
    sources = (Source(painting, 3.0), Source(painting[::-1], 7.0, square))
    regions = [Region(sources, left), Region((Source(painting),), 1 - left)]
    cases: list[tuple[str, Settings, Array | list[Region]]] = [
        *((name, settings, painting) for name, settings in PRESETS.items()),
        ("gatys, fast route", gatys, painting),
        ("in regions", gatys, regions),
        ("l2, replicate", replace(gatys, pooling="l2", padding="replicate"), painting),
    ]
    for name, settings, style in cases:
        configured = configure(network, settings.pooling, np.float64, settings.padding)
        if "fast" in name:
            configured = accelerate(configured, [*settings.content_layers, *settings.style_layers])
        yield name, configured, settings, style


def tile_outcomes(network: Network, seed: int) -> Iterator[tuple[str, Outcome]]:
    """The objective by tiles beside the whole picture's, on a strip cut in two, case by case.

    The strip is longer than what a position of the deepest layer sees: no tile sees all of it.
    """
    deepest = max(_preset_layers(network), key=network.depth)
    field = receptive_field(network, deepest)
    size = field.stride + 3, field.size + field.stride + 1
    tile = size[1] // 2 + field.stride
    photo, painting = draw_photo(*size), draw_painting(size[0], size[0])
    pixels = _picture(photo, np.random.default_rng(seed))
    for name, configured, settings, style in _cases(network, photo, painting):
        start = time.perf_counter()
        whole = build_objective(configured, photo, style, settings)
        tiled = TiledObjective(configured, photo, style, settings, tile)
        outcome = equality(tiled(pixels), whole(pixels), len(tiled.tiles))
        yield f"tiles, {name}", replace(outcome, seconds=time.perf_counter() - start)


def _preset_layers(network: Network) -> list[str]:
    names = [[*p.content_layers, *p.style_layers] for p in PRESETS.values()]
    return [network.canonical(name) for group in names for name in group]


def _picture(photo: Array, rng: np.random.Generator) -> Array:
    """A picture without flat places, where many units would sit at one value together."""
    return np.clip(photo + rng.normal(0, 20, photo.shape), 1, 254)


def all_subjects(network: Network, size: int, seed: int) -> Iterator[Subject]:
    """The whole battery, chapter by chapter, layer by layer, preset by preset."""
    rng = np.random.default_rng(seed)
    for chapter in CHAPTERS.values():
        yield from chapter.subjects(rng)
    smallest = max(32, size // 2)
    yield from layer_subjects(network, smallest, rng)
    yield from objective_subjects(network, size, rng)
