"""The checks of a whole network, which complete the battery.

- One subject per layer, at the activations of a picture, and the textbook's objective at the pixels
  for every preset (`layer_subjects`, `objective_subjects`).
- The engine's passes and its objective against the textbook's (`whole_agreements`).
- The objective by tiles against the engine's objective of the whole picture (`tile_outcomes`).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np

from npstyle import maths
from npstyle.engine import passes
from npstyle.engine.bind import Route, bind
from npstyle.engine.guides import Region, Source, carry_down
from npstyle.engine.losses import Losses, regions_of
from npstyle.engine.objective import StyleObjective
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.lab.agreement import relative_error
from npstyle.lab.battery import CHAPTERS
from npstyle.lab.kinks import sides_of_bound
from npstyle.lab.methods import EQUALITY_TOLERANCE, Outcome
from npstyle.lab.pages import objective_subject
from npstyle.lab.subjects import (
    Subject,
    avg_pool_subject,
    l2_pool_subject,
    max_pool_subject,
    relu_subject,
)
from npstyle.maths.array import Array
from npstyle.maths.layers import Conv, Layer, Pool, run_layer, run_layer_backward
from npstyle.maths.objective import ContentTerm, Preprocessing, StyleTerm
from npstyle.networks.network import Network, configure, shapes
from npstyle.run.settings import PRESETS, Settings
from npstyle.tiles.cut import receptive_field
from npstyle.tiles.objective import TiledObjective

SMALLEST = 32
"""Least side of the picture that the layers are checked on, in pixels."""


@dataclass(frozen=True)
class Case:
    """A preset, or a feature that no preset has, with a network configured for it."""

    name: str
    network: Network
    losses: Losses
    style: Array | list[Region]
    route: Route = "plain"


@dataclass(frozen=True)
class Formula:
    """The arguments of `npstyle.maths.objective` that follow the pixels."""

    layers: tuple[Layer, ...]
    preprocessing: Preprocessing
    terms: tuple[ContentTerm | StyleTerm, ...]
    gamma: float

    def __call__(self, pixels: Array) -> tuple[float, Array]:
        """Evaluate loss and gradient."""
        return maths.objective(pixels, self.layers, self.preprocessing, self.terms, self.gamma)


def textbook_objective(
    network: Network, photo: Array, style: Array | list[Region], losses: Losses
) -> Formula:
    """Return the textbook's objective for the arguments of the engine's `StyleObjective`.

    Parameters
    ----------
    network : Network
    photo : array (height, width, 3), pixels 0..255
    style : array (any height, any width, 3), or list of Region
    losses : Losses

    Raises
    ------
    InputError
        If a layer is unknown, or a picture is too small for it.
    """
    losses = losses.canonical(network)
    depths = {name: network.depth(name) for name in losses.layers}
    layers = network.layers[: max(depths.values()) + 1]
    prep = Preprocessing(network.channel_order, network.mean, network.scale)
    means = losses.scaling == "means"

    def activations(pixels: Array) -> dict[str, Array]:
        shapes(network, depths, *pixels.shape[:2])  # raises if the picture is too small
        image = maths.preprocess(pixels, prep.channel_order, prep.mean, prep.scale)
        outputs = maths.forward(layers, image)
        return {name: outputs[layers[depth].name] for name, depth in depths.items()}

    def guides(mask: Array | None) -> dict[str, Array]:
        return {} if mask is None else carry_down(network, losses.style_layers, mask)

    terms: list[ContentTerm | StyleTerm] = []
    of_photo = activations(photo)
    for name, w in losses.content_layers.items():
        P = of_photo[name]
        alpha = losses.content_weight * w * (2 / P.size if means else 1)
        terms.append(ContentTerm(layers[depths[name]].name, alpha, P))
    for region in regions_of(style):
        whole = sum(source.blend for source in region.sources)
        of_sources = [(s.blend, activations(s.pixels), guides(s.mask)) for s in region.sources]
        of_region = guides(region.mask)
        for name, w in losses.style_layers.items():
            grams = [blend * maths.mean_gram(F[name], g.get(name)) for blend, F, g in of_sources]
            A = sum(grams[1:], grams[0]) / whole
            beta = losses.style_weight * w * (4 / len(A) ** 2 if means else 1)
            terms.append(StyleTerm(layers[depths[name]].name, beta, A, of_region.get(name)))
    return Formula(layers, prep, tuple(terms), losses.tv_weight)


def layer_subjects(network: Network, size: int, rng: np.random.Generator) -> Iterator[Subject]:
    """Yield every layer that the presets use, at the activations of a picture of `size` pixels."""
    network = configure(network, "avg", np.float64)
    depth = len(shapes(network, _preset_layers(network), size, size))
    pixels = _picture(draw_photo(size, size), rng)
    x = maths.preprocess(pixels, network.channel_order, network.mean, network.scale)
    for layer in network.layers[:depth]:
        name = f"{network.name} {layer.name}"
        if isinstance(layer, Conv):
            subject = Subject(
                name,
                lambda x, layer=layer: run_layer(layer, x),
                lambda g, x, layer=layer: run_layer_backward(layer, g, x, g),
                (x,),
                linear=(0,),
            )
        elif isinstance(layer, Pool):
            yield max_pool_subject(f"{name} max", x, layer.size, layer.stride)
            yield l2_pool_subject(f"{name} l2", x, layer.size, layer.stride)
            subject = avg_pool_subject(f"{name} avg", x, layer.size, layer.stride)
        else:
            subject = relu_subject(name, x)
        yield subject
        x = subject.function(x)


def objective_subjects(network: Network, size: int, rng: np.random.Generator) -> Iterator[Subject]:
    """Yield the objective at the pixels, `size` x `size`, for every preset and further features.

    The objective is the textbook's or, with Winograd's convolution, the engine's.
    """
    photo, painting = draw_photo(size, size), draw_painting(size, size)
    pixels = _picture(photo, rng)
    for case in cases(network, photo, painting):
        name = f"objective {case.name}"
        if case.route == "plain":
            f = textbook_objective(case.network, photo, case.style, case.losses)
            yield objective_subject(name, pixels, f.layers, f.preprocessing, f.terms, f.gamma)
        else:
            bound = bind(case.network, case.losses.layers, route=case.route)
            objective = StyleObjective(bound, photo, case.style, case.losses)
            yield engine_subject(name, objective, pixels)


def engine_subject(name: str, objective: StyleObjective, pixels: Array) -> Subject:
    """Return the engine's objective on the CPU at some pixels."""

    def traced(x: Array) -> tuple[float, Array]:
        loss, cache = objective.value(x)
        return loss, sides_of_bound(objective.bound, cache)

    return Subject(
        name,
        lambda x: objective.value(x)[0],
        lambda g, x: g * objective(x).gradient,
        (pixels,),
        pattern=traced,
    )


def cases(network: Network, photo: Array, painting: Array) -> Iterator[Case]:
    """Yield every preset and the features that no preset has, in float64."""
    gatys = PRESETS["gatys"]
    height, width = photo.shape[:2]
    left = np.tile(np.linspace(1, 0, width), (height, 1))
    square = 1 - left[:, :height].T
    sources = (Source(painting, 3.0), Source(painting[::-1], 7.0, square))
    regions = [Region(sources, left), Region((Source(painting),), 1 - left)]
    listed: list[tuple[str, Settings, Array | list[Region], Route]] = [
        *((name, settings, painting, "plain") for name, settings in PRESETS.items()),
        ("gatys, Winograd", gatys, painting, "fast"),
        ("in regions", gatys, regions, "plain"),
        ("l2, replicate", replace(gatys, pooling="l2", padding="replicate"), painting, "plain"),
    ]
    for name, settings, style, route in listed:
        configured = configure(network, settings.pooling, np.float64, settings.padding)
        yield Case(name, configured, settings.losses(), style, route)


def whole_agreements(
    network: Network, engine: ModuleType, size: int, seed: int
) -> Iterator[tuple[str, Outcome]]:
    """Compare the engine's passes and its objective with the textbook's, in float64.

    Parameters
    ----------
    network : Network
    engine : module
        `npstyle.engine.cpu` or `npstyle.engine.cuda`.
    size : int
        Side of the picture in pixels.
    seed : int
        Of the noise in the picture and of the gradients.

    Yields
    ------
    name : str
    outcome : Outcome
    """
    rng = np.random.default_rng(seed)
    photo, painting = draw_photo(size, size), draw_painting(size, size)
    pixels = _picture(photo, rng)
    yield "network", passes_outcome(network, engine, pixels, rng)
    for case in cases(network, photo, painting):
        if case.route == "plain" or not engine.ON_GPU:
            yield f"objective {case.name}", objective_outcome(case, engine, photo, pixels)


def passes_outcome(
    network: Network, engine: ModuleType, pixels: Array, rng: np.random.Generator
) -> Outcome:
    """Compare the activations, and the gradient from random ones at every activation."""
    start = time.perf_counter()
    network = configure(network, "max", np.float64)
    names = list(dict.fromkeys(_preset_layers(network)))
    bound = bind(network, names, engine=engine)
    image = maths.preprocess(pixels, network.channel_order, network.mean, network.scale)
    layers = network.layers[: len(bound.layers)]
    outputs = maths.forward(layers, image)
    own = {name: layers[network.depth(name)].name for name in names}
    upstream = {own[name]: rng.standard_normal(outputs[own[name]].shape) for name in names}

    cache = passes.prepare(bound, engine.place(image), names)
    errors = {
        name: relative_error(engine.to_host(F), outputs[own[name]])
        for name, F in passes.forward(bound, cache)
    }
    for name, _, out in passes.backward(bound, cache):
        out += engine.place(upstream[own[name]])
    expected = maths.backward(layers, outputs, upstream)
    errors["gradient"] = relative_error(engine.to_host(cache.gradient), expected)
    return judged("textbook", errors, "npstyle.maths.network", time.perf_counter() - start)


def objective_outcome(case: Case, engine: ModuleType, photo: Array, pixels: Array) -> Outcome:
    """Compare loss and gradient of the engine's objective with the textbook's."""
    start = time.perf_counter()
    bound = bind(case.network, case.losses.layers, engine=engine, route=case.route)
    found = StyleObjective(bound, photo, case.style, case.losses)(pixels)
    textbook = textbook_objective(case.network, photo, case.style, case.losses)
    loss, gradient = textbook(pixels)
    errors = {
        "loss": relative_error(found.loss, loss),
        "gradient": relative_error(found.gradient, gradient),
    }
    return judged("textbook", errors, "npstyle.maths.objective", time.perf_counter() - start)


def tile_outcomes(network: Network, seed: int) -> Iterator[tuple[str, Outcome]]:
    """Compare the objective by tiles with the whole picture's, case by case, on a long strip.

    The strip is longer than the receptive field of the deepest layer, so no tile sees all of it.
    """
    deepest = max(_preset_layers(network), key=network.depth)
    field = receptive_field(network, deepest)
    size = field.stride + 3, field.size + field.stride + 1
    tile = size[1] // 2 + field.stride
    photo, painting = draw_photo(*size), draw_painting(size[0], size[0])
    pixels = _picture(photo, np.random.default_rng(seed))
    for case in cases(network, photo, painting):
        start = time.perf_counter()
        bound = bind(case.network, case.losses.layers, route=case.route)
        expected = StyleObjective(bound, photo, case.style, case.losses)(pixels)
        tiled = TiledObjective(bound, photo, case.style, case.losses, tile)
        found = tiled(pixels)
        errors = {
            name: relative_error(found.parts[name], value) for name, value in expected.parts.items()
        }
        errors["loss"] = relative_error(found.loss, expected.loss)
        errors["gradient"] = relative_error(found.gradient, expected.gradient)
        outcome = judged("equals whole", errors, "the whole", time.perf_counter() - start)
        yield f"tiles, {case.name}", replace(outcome, checked=len(tiled.tiles))


def judged(method: str, errors: dict[str, float], of: str, seconds: float) -> Outcome:
    """Judge relative errors in float64, by the names of the quantities."""
    worst = max(errors, key=lambda name: errors[name])
    error = errors[worst]
    passed = error <= EQUALITY_TOLERANCE
    note = f"agrees with {of} to {error:.0e}" if passed else f"the {worst} differs by {error:.1e}"
    return Outcome(
        method, 0, passed, error, EQUALITY_TOLERANCE, len(errors), note=note, seconds=seconds
    )


def check_size(network: Network, size: int) -> None:
    """Raise InputError if a picture of `size` x `size` is too small for the presets' objectives."""
    shapes(network, _preset_layers(network), size, size)


def _preset_layers(network: Network) -> list[str]:
    names = [[*p.content_layers, *p.style_layers] for p in PRESETS.values()]
    return [network.canonical(name) for group in names for name in group]


def _picture(photo: Array, rng: np.random.Generator) -> Array:
    """Add noise to a photo: in a flat area, many units would have the same value."""
    return np.clip(photo + rng.normal(0, 20, photo.shape), 1, 254)


def all_subjects(network: Network, size: int, seed: int) -> Iterator[Subject]:
    """Yield the whole battery, chapter by chapter, layer by layer, preset by preset."""
    rng = np.random.default_rng(seed)
    for chapter in CHAPTERS.values():
        yield from chapter.subjects(rng)
    yield from layer_subjects(network, max(SMALLEST, size // 2), rng)
    yield from objective_subjects(network, size, rng)
