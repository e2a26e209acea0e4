"""What a whole network gives the laboratory.

One subject per layer, at the activations of a real picture, and one per preset and feature: the
whole objective at the pixels.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle import image
from npstyle.demo import draw_painting, draw_photo
from npstyle.guides import Region, Source
from npstyle.lab.battery import (
    CHAPTERS,
    Subject,
    avg_pool_subject,
    l2_pool_subject,
    max_pool_subject,
    relu_subject,
)
from npstyle.network import Conv, Network, Pool, Relu, accelerate, configure, shapes
from npstyle.objective import StyleObjective, build_objective
from npstyle.ops import conv, pool
from npstyle.passes import Tape, rectified
from npstyle.presets import PRESETS, Settings

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
            weight, bias, stride, padding = layer.weight, layer.bias, layer.stride, layer.padding
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
    gatys = PRESETS["gatys"]
    left = np.tile(np.linspace(1, 0, size), (size, 1))
    sources = (Source(painting, 3.0), Source(photo[::-1], 7.0, left.T))
    regions = [Region(sources, left), Region((Source(photo),), 1 - left)]
    cases: list[tuple[str, Settings, Array | list[Region]]] = [
        *((f"objective {name}", settings, painting) for name, settings in PRESETS.items()),
        ("objective gatys, fast route", gatys, painting),
        ("objective in regions", gatys, regions),
        ("objective, l2, replicate", replace(gatys, pooling="l2", edges="replicate"), painting),
    ]
    for name, settings, style in cases:
        configured = configure(network, settings.pooling, np.float64, settings.edges)
        if "fast" in name:
            configured = accelerate(configured, [*settings.content_layers, *settings.style_layers])
        objective = build_objective(configured, photo, style, settings)

        def traced(x: Array, f: StyleObjective = objective) -> tuple[float, Array]:
            loss, tape = f.value(x)
            return loss, kink_pattern(f.network, tape)

        yield Subject(
            name,
            lambda x, f=objective: f.value(x)[0],
            lambda g, x, f=objective: g * f(x).gradient,
            (pixels,),
            pattern=traced,
        )


def kink_pattern(network: Network, tape: Tape) -> Array:
    """On which side of every kink a forward pass was: units active, winners of max pooling."""
    sides = [np.zeros(0, np.uint8)]
    for index, kept in enumerate(tape.entries):
        layer = network.layers[index]
        if isinstance(layer, Pool) and layer.mode == "max":
            sides.append(pool.max_pool2d_winners(kept[0], layer.size, layer.stride).ravel())
        elif isinstance(layer, Pool) and layer.mode == "l2":
            sides.append((kept[1] > 0).ravel().view(np.uint8))
        elif isinstance(layer, Relu):
            sides.append((rectified(network, tape, index) > 0).ravel().view(np.uint8))
    return np.concatenate(sides)


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
