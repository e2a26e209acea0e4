"""One evaluation of the objective, layer by layer, computed by the textbook."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from npstyle import maths
from npstyle.atlas.charts import outlines
from npstyle.atlas.heatmaps import Album, Figure
from npstyle.images.write import data_address
from npstyle.lab.whole import Formula
from npstyle.maths.array import Array
from npstyle.maths.layers import Pool, Relu
from npstyle.maths.network import backward_everywhere
from npstyle.maths.objective import ContentTerm, StyleTerm
from npstyle.networks.network import Network
from npstyle.tiles.cut import receptive_field

CHANNELS = 4
"""Number of channels that are shown of each layer."""

SHOWN = 99.5
"""Percentile of a map that gets the colour at the end of its scale."""

GRAM_SIDE = 128
"""Largest side of a Gram matrix that is shown entry by entry."""

DECADES = 4
"""Powers of ten that the colours of a Gram matrix span."""


@dataclass(frozen=True)
class Group:
    """The figures of one layer, or of one term of the loss, with a heading."""

    title: str
    about: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Field:
    """The receptive field of a unit: a rectangle on the photo, in pixels.

    Attributes
    ----------
    layer : str
    x, y, width, height : int
        Of the whole field; parts of it may lie outside the photo.
    """

    layer: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Evaluation:
    """All that the page of one evaluation shows.

    Attributes
    ----------
    pictures : tuple of Figure
        The photo, the painting and the picture that is evaluated.
    loss : float
    terms : tuple of (name, value, norm of its gradient at the pixels)
    activations, grams, arriving, masks, pixels : tuples of Group
    fields : tuple of Field
    drawn_fields : (name, svg, caption)
        The fields on the photo.
    effective : tuple of Figure
        The derivative of the units of `fields` with respect to the pixels.
    """

    pictures: tuple[Figure, ...]
    loss: float
    terms: tuple[tuple[str, float, float], ...]
    activations: tuple[Group, ...]
    grams: tuple[Group, ...]
    arriving: tuple[Group, ...]
    masks: tuple[Group, ...]
    pixels: tuple[Group, ...]
    fields: tuple[Field, ...]
    drawn_fields: tuple[str, str, str]
    effective: tuple[Figure, ...]


def look(
    network: Network,
    formula: Formula,
    photo: Array,
    painting: Array,
    picture: Array,
    album: Album,
) -> Evaluation:
    """Evaluate the objective at a picture and draw what happens on the way.

    Parameters
    ----------
    network : Network
    formula : Formula
        The objective of the photo and the painting.
    photo, painting, picture : arrays (height, width, 3), RGB, 0..255
    album : Album
        Where the figures go.
    """
    prep = formula.preprocessing

    def activations(pixels: Array) -> dict[str, Array]:
        image = maths.preprocess(pixels, prep.channel_order, prep.mean, prep.scale)
        return maths.forward(formula.layers, image.astype(np.float32))

    outputs = activations(picture)
    by_term = [(term, term.gradient(outputs[term.layer])) for term in formula.terms]
    arriving = _arriving(formula, outputs, by_term)
    at_pixels = [(_name(term), _at_pixels(formula, outputs, term, g)) for term, g in by_term]
    losses = [float(term.loss(outputs[term.layer])) for term in formula.terms]
    terms = tuple(
        (name, loss, float(np.linalg.norm(g)))
        for (name, g), loss in zip(at_pixels, losses, strict=True)
    )
    fields = _fields(network, formula, outputs)
    return Evaluation(
        _pictures(album, photo, painting, picture),
        sum(losses),
        terms,
        tuple(_activations(album, name, outputs[name]) for name in _named(formula)),
        tuple(_grams(album, formula, activations(photo), outputs)),
        tuple(_map_of_gradient(album, name, arriving[name]) for name in _named(formula)[::-1]),
        tuple(_mask(album, layer.name, outputs[layer.name]) for layer in _relus(formula)),
        tuple(_pixel_gradients(album, at_pixels)),
        fields,
        _drawn_fields(photo, fields),
        tuple(_effective(album, formula, outputs, field) for field in fields),
    )


def _relus(formula: Formula) -> list[Relu]:
    return [layer for layer in formula.layers if isinstance(layer, Relu)]


def _named(formula: Formula) -> list[str]:
    """The layers whose output is shown: every ReLU and every pooling layer."""
    return [layer.name for layer in formula.layers if isinstance(layer, Relu | Pool)]


def _name(term: ContentTerm | StyleTerm) -> str:
    return f"{'content' if isinstance(term, ContentTerm) else 'style'} at {term.layer}"


def _arriving(
    formula: Formula,
    outputs: Mapping[str, Array],
    by_term: list[tuple[ContentTerm | StyleTerm, Array]],
) -> dict[str, Array]:
    """Return the gradient of the whole loss at every layer."""
    gradients: dict[str, Array] = {}
    for term, gradient in by_term:
        gradients[term.layer] = gradients.get(term.layer, 0) + gradient
    return backward_everywhere(formula.layers, outputs, gradients)


def _at_pixels(
    formula: Formula, outputs: Mapping[str, Array], term: ContentTerm | StyleTerm, gradient: Array
) -> Array:
    """Return one term's gradient at the pixels; only the layers up to the term are walked."""
    at_image = maths.backward(_up_to(formula, term.layer), outputs, {term.layer: gradient})
    prep = formula.preprocessing
    return maths.preprocess_backward(at_image, prep.channel_order, prep.scale)


def _up_to(formula: Formula, name: str) -> tuple[maths.Layer, ...]:
    depth = [layer.name for layer in formula.layers].index(name)
    return formula.layers[: depth + 1]


def _pictures(album: Album, photo: Array, painting: Array, picture: Array) -> tuple[Figure, ...]:
    named = {
        "photo": (photo, "The photo."),
        "painting": (painting, "The painting."),
        "picture": (picture, "The picture that is evaluated, on its way from one to the other."),
    }
    return tuple(
        album.photo(name, pixels, caption, caption) for name, (pixels, caption) in named.items()
    )


def _activations(album: Album, name: str, F: Array) -> Group:
    """Draw the mean of a layer's channels and the strongest channels."""
    strength = F.mean(axis=(0, 1))
    mean = F.mean(axis=2)
    limit = float(np.percentile(mean, SHOWN))
    figures = [
        album.heat(
            f"{name}-mean",
            mean,
            limit,
            f"mean of the channels; yellow: {limit:.3g} or more",
            f"{name}: mean of all channels",
        )
    ]
    for c in np.argsort(-strength)[:CHANNELS]:
        top = float(np.percentile(F[..., c], SHOWN)) or float(F[..., c].max())
        figures.append(
            album.heat(
                f"{name}-channel-{c}",
                F[..., c],
                top,
                f"channel {c}, mean {strength[c]:.3g}; yellow: {top:.3g} or more",
                f"{name}: channel {c}",
            )
        )
    about = f"{F.shape[1]}×{F.shape[0]} positions, {F.shape[2]} channels, mean {F.mean():.3g}"
    return Group(name, about, tuple(figures))


def _grams(
    album: Album, formula: Formula, of_photo: Mapping[str, Array], outputs: Mapping[str, Array]
) -> list[Group]:
    """Draw the Gram matrices of photo, painting and picture at each style layer."""
    groups = []
    for term in formula.terms:
        if not isinstance(term, StyleTerm):
            continue
        matrices = {
            "photo": maths.mean_gram(of_photo[term.layer]),
            "painting": term.A,
            "picture": maths.mean_gram(outputs[term.layer]),
        }
        top = max(float(np.max(G)) for G in matrices.values()) or 1.0
        figures = [
            album.heat(
                f"{term.layer}-gram-{of}",
                np.log10(np.maximum(_shrunk(G) / top, 10.0**-DECADES)) + DECADES,
                DECADES,
                f"the {of}'s",
                f"Gram matrix of the {of} at {term.layer}",
            )
            for of, G in matrices.items()
        ]
        far = [
            float(np.linalg.norm(matrices[of] - term.A) / np.linalg.norm(term.A))
            for of in ("photo", "picture")
        ]
        about = (
            f"{len(term.A)}×{len(term.A)}, in units of squared activations; yellow: {top:.3g}, "
            f"blue: {top / 10**DECADES:.1g} or less, on a logarithmic scale. From the painting's "
            f"matrix the photo's is {far[0]:.0%} of its norm away, the picture's {far[1]:.0%}."
        )
        groups.append(Group(term.layer, about, tuple(figures)))
    return groups


def _shrunk(G: Array) -> Array:
    """Average blocks of a large matrix."""
    k = -(-len(G) // GRAM_SIDE)
    size = len(G) // k
    return G[: size * k, : size * k].reshape(size, k, size, k).mean(axis=(1, 3))


def _map_of_gradient(album: Album, name: str, gradient: Array) -> Group:
    """Draw the size of the gradient at every position of a layer."""
    size = np.sqrt(np.sum(gradient**2, axis=2, dtype=np.float64))
    limit = float(np.percentile(size, SHOWN))
    figure = album.heat(
        f"{name}-arriving",
        size,
        limit,
        f"yellow: {limit:.2g} or more",
        f"size of the gradient at {name}",
    )
    return Group(name, f"norm of all {float(np.linalg.norm(gradient)):.3g}", (figure,))


def _mask(album: Album, name: str, F: Array) -> Group:
    """Draw the share of the channels that a ReLU lets pass, and one channel's mask."""
    is_open = F > 0
    c = int(np.argmax(is_open.mean(axis=(0, 1)) * (1 - is_open.mean(axis=(0, 1)))))
    figures = (
        album.heat(
            f"{name}-open",
            is_open.mean(axis=2),
            1.0,
            "share of the channels that pass; yellow: all",
            f"{name}: share of channels above 0",
        ),
        album.heat(
            f"{name}-mask-{c}",
            is_open[..., c].astype(np.float32),
            1.0,
            f"channel {c}; yellow: the gradient passes",
            f"{name}: mask of channel {c}",
        ),
    )
    return Group(name, f"{is_open.mean():.0%} of all units pass the gradient", figures)


def _pixel_gradients(album: Album, at_pixels: list[tuple[str, Array]]) -> list[Group]:
    """Draw each term's gradient at the pixels, and their sum, in grey."""
    total = sum((g for _, g in at_pixels), np.zeros(()))
    groups = []
    for name, gradient in [*at_pixels, ("all terms", total)]:
        grey = gradient.mean(axis=2)
        limit = float(np.percentile(np.abs(grey), SHOWN))
        figure = album.signed(
            f"pixels-{name.replace(' ', '-')}",
            grey,
            limit,
            f"mean of the colours; red: {limit:.2g}, blue: −{limit:.2g}",
            f"gradient at the pixels, {name}",
        )
        groups.append(Group(name, f"norm {float(np.linalg.norm(gradient)):.3g}", (figure,)))
    return groups


def _fields(network: Network, formula: Formula, outputs: Mapping[str, Array]) -> tuple[Field, ...]:
    """Return the receptive field of the unit in the middle of each layer with a loss."""
    found = []
    for name in dict.fromkeys(term.layer for term in formula.terms):
        spans = []
        for axis in (0, 1):
            field = receptive_field(network, name, axis)
            middle = outputs[name].shape[axis] // 2
            spans.append((field.of(middle, middle + 1)[0], field.size))
        (y, height), (x, width) = spans
        found.append(Field(name, x, y, width, height))
    return tuple(sorted(found, key=lambda field: field.width))


def _drawn_fields(photo: Array, fields: tuple[Field, ...]) -> tuple[str, str, str]:
    height, width = photo.shape[:2]
    named = [(f"{f.layer}: {f.width}×{f.height}", (f.x, f.y, f.width, f.height)) for f in fields]
    address = data_address(photo, max(width, height))
    drawing = outlines("Receptive fields on the photo", address, (width, height), named)
    caption = "What one unit in the middle of each layer sees of the photo, in pixels."
    return "receptive-fields", drawing, caption


def _effective(
    album: Album, formula: Formula, outputs: Mapping[str, Array], field: Field
) -> Figure:
    """Draw the derivative of the strongest channel of a unit with respect to the pixels."""
    F = outputs[field.layer]
    unit = np.zeros_like(F)
    y, x = F.shape[0] // 2, F.shape[1] // 2
    c = int(np.argmax(F[y, x]))
    unit[y, x, c] = 1.0
    at_image = maths.backward(_up_to(formula, field.layer), outputs, {field.layer: unit})
    size = np.sqrt(np.sum(at_image**2, axis=2, dtype=np.float64))
    limit = float(np.percentile(size[size > 0], 98)) if size.any() else 1.0
    return album.heat(
        f"{field.layer}-field",
        size,
        limit,
        f"{field.layer}: {field.width}×{field.height} pixels; derivative of channel {c} of the "
        f"middle unit; yellow: {limit:.2g} per unit of the network's input",
        f"receptive field of a unit of {field.layer}",
    )
