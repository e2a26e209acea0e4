"""The layers and weights of the losses, for the whole and for the tiled objective.

    f(x) = sum_c alpha_c L_c + sum_l beta_l E_l + gamma T(x)

`Losses` has the weights that the user gives. `factors` turns them into alpha and beta.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal, NamedTuple

from npstyle.engine.guides import Region, Source
from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.networks.network import Network

Scaling = Literal["means", "sums"]


class Evaluation(NamedTuple):
    """One evaluation of the objective.

    Attributes
    ----------
    loss : float
        f(x).
    gradient : float64 array (height, width, 3)
        df/dx.
    parts : dict
        Every weighted term of the sum, by "content conv4_2", "style conv1_1", ..., "tv".
    """

    loss: float
    gradient: Array
    parts: dict[str, float]

    @classmethod
    def of(cls, found: Any, shape: tuple[int, ...]) -> "Evaluation":
        """Return what a user's objective returned, (loss, gradient) or (loss, gradient, parts).

        Raises
        ------
        InputError
            If it is neither, or the gradient is not of the given shape.
        """
        if isinstance(found, cls):
            return found
        if not isinstance(found, tuple) or len(found) not in (2, 3):
            raise InputError(
                "the objective must return (loss, gradient) or (loss, gradient, parts)"
            )
        loss, gradient, *parts = found
        if getattr(gradient, "shape", ()) != shape:
            raise InputError(
                f"the objective returned a gradient of shape {getattr(gradient, 'shape', ())}; "
                f"the image has {shape}"
            )
        return cls(float(loss), gradient, *(parts or [{}]))

    def _repr_html_(self) -> str:
        """Return a table of the terms and the gradient's size, for a notebook."""
        sizes = abs(self.gradient)
        rows = {
            "loss": self.loss,
            **self.parts,
            "gradient, root mean square": float((sizes**2).mean()) ** 0.5,
            "gradient, largest": float(sizes.max()),
        }
        cells = (f"<td>{escape(name)}</td><td>{value:.4g}</td>" for name, value in rows.items())
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The layers with a loss, and the weights of the losses.

    Attributes
    ----------
    content_layers, style_layers : mapping from layer to w_l
        Either may be empty, but not both.
    content_weight, style_weight, tv_weight : float
        alpha, beta and gamma, in the units of `scaling`.
    scaling : "means" or "sums"
        "sums": alpha_c = content_weight w_c and beta_l = style_weight w_l, the paper's formulas.
        "means": the same times 2/(N M) and 4/N^2, which turns the sums into mean squared
        differences, as in the published programs.
    """

    content_layers: Mapping[str, float]
    style_layers: Mapping[str, float]
    content_weight: float = 1.0
    style_weight: float = 1e3
    tv_weight: float = 0.0
    scaling: Scaling = "means"

    def canonical(self, network: Network) -> "Losses":
        """Return the same losses with each layer under its canonical name.

        Raises
        ------
        InputError
            If there is no layer at all, or the network has no layer of a name.
        """
        if not self.content_layers and not self.style_layers:
            raise InputError("--content-layers, --style-layers: both are empty; name a layer")
        return Losses(
            content_layers={network.canonical(n): w for n, w in self.content_layers.items()},
            style_layers={network.canonical(n): w for n, w in self.style_layers.items()},
            content_weight=self.content_weight,
            style_weight=self.style_weight,
            tv_weight=self.tv_weight,
            scaling=self.scaling,
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers with a loss, each once."""
        return tuple(dict.fromkeys([*self.content_layers, *self.style_layers]))


def factors(
    losses: Losses, content_sizes: Mapping[str, int], style_targets: Sequence[Mapping[str, Array]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Compute alpha_c and beta_l by layer.

    Parameters
    ----------
    losses : Losses
    content_sizes : mapping
        N M, the number of values of each content layer.
    style_targets : sequence of mappings
        A (N, N) by style layer, for each region; empty if there is no style layer.
    """
    means = losses.scaling == "means"
    alpha = {
        name: losses.content_weight * w * (2 / content_sizes[name] if means else 1)
        for name, w in losses.content_layers.items()
    }
    beta = {
        name: losses.style_weight * w * (4 / len(style_targets[0][name]) ** 2 if means else 1)
        for name, w in losses.style_layers.items()
    }
    return alpha, beta


def regions_of(painting: Array | Sequence[Region]) -> Sequence[Region]:
    """Return the regions of the photo: a single painting is one region without a mask."""
    return painting if isinstance(painting, Sequence) else [Region((Source(painting),))]


def blended(region: Region, grams: Callable[[Source], Mapping[str, Array]]) -> dict[str, Array]:
    """Blend a region's paintings: sum_k blend_k A'_k / sum_k blend_k.

    Parameters
    ----------
    region : Region
    grams : callable
        From a painting to its Gram matrices, by layer.
    """
    whole = sum(source.blend for source in region.sources)
    target: dict[str, Array] = {}
    for source in region.sources:
        for name, gram in grams(source).items():
            share = gram * gram.dtype.type(source.blend / whole)
            target[name] = target[name] + share if name in target else share
    return target


def weighted_parts(
    terms: Mapping[str, Any],
    alpha: Mapping[str, float],
    beta: Mapping[str, float],
    gamma: float,
) -> dict[str, float]:
    """Multiply terms, by "content conv4_2", "style conv1_1", ... or "tv", by their weights."""
    weights = {
        "tv": gamma,
        **{f"content {name}": value for name, value in alpha.items()},
        **{f"style {name}": value for name, value in beta.items()},
    }
    return {name: weights[name] * value for name, value in terms.items()}


def term(parts: Mapping[str, float], kind: str) -> float:
    """Add all terms of one kind: "content", "style" or "tv"."""
    return sum(value for name, value in parts.items() if name.split()[0] == kind)
