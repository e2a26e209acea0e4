"""The objective: pixels in, one number and its gradient at the pixels out.

Here network and losses meet. With x the picture,

    f(x) = sum_c alpha_c L_c + sum_l beta_l E_l + gamma T(x)

where L_c and E_l look at the activations that the network makes of x. An evaluation runs the
network forward once, takes every loss and its derivative at the activations, and runs the
network backward once. The pixel x and the gradient df/dx are float64 arrays (height, width, 3),
RGB, 0..255; inside, the engine works in the network's own precision.
"""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.arena import Arena
from npstyle.engine.cpu.losses import (
    content_loss,
    content_loss_backward,
    mean_gram,
    style_loss,
    style_loss_backward,
    total_variation,
    total_variation_backward,
)
from npstyle.engine.cuda import arrays as card
from npstyle.engine.cuda import kernels as gpu
from npstyle.engine.cuda.replay import NotRecordedError, Replay
from npstyle.engine.guides import Region, Source, carry_down
from npstyle.engine.memory import evaluation_bytes, with_gaps
from npstyle.engine.passes import Cache, LossGradient, backward, forward
from npstyle.engine.threads import on_gpu
from npstyle.errors import InputError
from npstyle.images.image import preprocess, preprocess_backward
from npstyle.networks.network import Network
from npstyle.run.settings import Scaling, Settings

T = TypeVar("T")
Array = NDArray[Any]


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


def term(parts: Mapping[str, float], kind: str) -> float:
    """Sum of all terms of one kind: "content", "style" or "tv"."""
    return sum(value for name, value in parts.items() if name.split()[0] == kind)


class StyleObjective:
    """The style transfer objective for one photo and one painting, or several.

    Parameters
    ----------
    network : Network
    photo : array (height, width, 3), pixels 0..255
        Its activations at `content_layers` are the content's target.
    painting : array (any height, any width, 3), pixels 0..255; or a sequence of Region
        Its Gram matrices at `style_layers` are the style's target. Of several regions each has its
        own E_l, and they are added.
    content_layers, style_layers : mapping from layer to w_l
        Where the losses sit; either may be empty, not both.
    content_weight, style_weight, tv_weight : float
        alpha, beta and gamma, in the units of `scaling`.
    scaling : "means" or "sums"
        "sums": alpha_c = content_weight w_c and beta_l = style_weight w_l, the paper's formulas.
        "means": the same times 2/(N M) and 4/N^2, as the published programs have it (see
        `npstyle.run.settings`).

    Attributes
    ----------
    replays : bool
        With the network on a GPU: whether evaluations are recorded as a CUDA graph by the first,
        and replayed by the others. May be set to False; if CuPy lets nothing be recorded, a warning
        says so.

    Raises
    ------
    InputError
        If a layer is unknown, a picture is too small for it, or nothing of a mask is left there.
    """

    def __init__(
        self,
        network: Network,
        photo: Array,
        painting: Array | Sequence[Region],
        *,
        content_layers: Mapping[str, float],
        style_layers: Mapping[str, float],
        content_weight: float = 1.0,
        style_weight: float = 1e3,
        tv_weight: float = 0.0,
        scaling: Scaling = "means",
    ) -> None:
        self.network = network
        self.shape = photo.shape
        self.tv_weight = tv_weight
        content, style = weights_by_layer(network, content_layers, style_layers)
        self._wanted = tuple(dict.fromkeys([*content, *style]))

        self.content_targets = self._forward(photo, dict.fromkeys(content, lambda F: F))[0]
        regions = regions_of(painting)
        self.style_targets = [
            blended(region, lambda source: self._grams(source, style)) for region in regions
        ]
        self.guides = [self._guides(region.mask, style) for region in regions]

        need = evaluation_bytes(network, self._wanted, photo.shape[:2])
        self.arena = Arena(0 if network.is_on_gpu else with_gaps(need))
        self.replays = network.is_on_gpu
        self._replay: Replay[tuple[dict[str, Array], Array]] | None = None

        self.alpha, self.beta = factors(
            {name: content_weight * w for name, w in content.items()},
            {name: style_weight * w for name, w in style.items()},
            {name: target.size for name, target in self.content_targets.items()},
            self.style_targets,
            scaling,
        )

    def _guides(self, mask: Array | None, style: Collection[str]) -> dict[str, Array]:
        """The weights of the positions at each layer; none without a mask."""
        if mask is None:
            return {}
        weights = carry_down(self.network, style, mask)
        return {name: self._placed(weight) for name, weight in weights.items()}

    def _grams(self, source: Source, style: Collection[str]) -> dict[str, Array]:
        """The Gram matrices of a painting, or of the part of it that is meant."""
        guides = self._guides(source.mask, style)
        taken = {name: partial(mean_gram, weights=guides.get(name)) for name in style}
        return self._forward(source.pixels, taken)[0]

    def _forward(
        self, pixels: Array, wanted: Mapping[str, Callable[[Array], T]]
    ) -> tuple[dict[str, T], Cache]:
        placed = self._placed(pixels, np.float64)
        return forward(self.network, network_input(self.network, placed), wanted)

    def _placed(self, array: Array, dtype: Any = None) -> Array:
        """The array where the network is: on the GPU, or as it is."""
        return card.to_device(array, dtype) if self.network.is_on_gpu else array

    def __call__(self, pixels: Array) -> Evaluation:
        """Evaluate f and df/dx.

        Parameters
        ----------
        pixels : array (height, width, 3), RGB, 0..255
            x, of the photo's size. With the network on a GPU it may be there, too.

        Returns
        -------
        Evaluation
            (loss, gradient, parts); the gradient is where the pixels were.

        Raises
        ------
        ValueError
            If the picture has another size than the photo.
        """
        self._check(pixels)
        if self.network.is_on_gpu:
            terms, gradient = self._evaluate_on_gpu(card.to_device(pixels, np.float64))
            gradient = gradient if on_gpu(pixels) else card.to_host(gradient)
        else:
            terms, gradient = self._evaluate(pixels)
        parts = self._weighed(terms)
        return Evaluation(sum(parts.values()), gradient, parts)

    def _evaluate(self, pixels: Array) -> tuple[dict[str, Any], Array]:
        """The terms of f without their weights, and df/dx."""
        network = self.network
        with self.arena.lent():
            terms, losses, cache = self._run(pixels)
            image_gradient = backward(network, cache, losses)
        gradient = network_input_backward(network, image_gradient).astype(np.float64, copy=False)
        if self.tv_weight:
            gradient = total_variation_backward(pixels, self.tv_weight, gradient)
        return terms, gradient

    def _evaluate_on_gpu(self, pixels: Array) -> tuple[dict[str, Any], Array]:
        """The same by a CUDA graph, which is recorded the first time."""
        if self.replays and self._replay is None:
            try:
                self._replay = Replay(self._evaluate, pixels)
            except NotRecordedError as error:
                self.replays = False
                reason = f"the GPU's kernels are launched one by one, no CUDA graph: {error}"
                warnings.warn(reason, RuntimeWarning, stacklevel=3)
        if not self.replays or self._replay is None:
            return self._evaluate(pixels)
        terms, gradient = self._replay(pixels)
        return terms, gradient.copy()

    def _weighed(self, terms: Mapping[str, Any]) -> dict[str, float]:
        """The terms of f, on the host."""
        on_card = self.network.is_on_gpu
        found = card.numbers([*terms.values()]) if on_card else map(float, terms.values())
        return {name: self._weight(name) * value for name, value in zip(terms, found, strict=True)}

    def _weight(self, term: str) -> float:
        """Alpha, beta or gamma of a term of f."""
        kind, _, layer = term.partition(" ")
        return {"content": self.alpha, "style": self.beta}[kind][layer] if layer else self.tv_weight

    def value(self, pixels: Array) -> tuple[float, Cache]:
        """Evaluate f alone, by the forward pass; the cache says which units were active.

        Parameters and errors are those of a full evaluation.
        """
        self._check(pixels)
        terms, _, cache = self._run(self._placed(pixels, np.float64))
        return sum(self._weighed(terms).values()), cache

    def _check(self, pixels: Array) -> None:
        if pixels.shape != self.shape:
            raise ValueError(f"the picture is {pixels.shape}, the photo is {self.shape}")

    def _run(self, pixels: Array) -> tuple[dict[str, Any], dict[str, LossGradient], Cache]:
        """The terms of f without their weights; what adds their derivatives; the network's cache."""
        wanted = {name: partial(self._terms, name) for name in self._wanted}
        taken, cache = self._forward(pixels, wanted)
        terms: dict[str, Any] = {}
        losses: dict[str, LossGradient] = {}
        for name in self._wanted:
            own, grams = taken[name]
            terms |= own
            losses[name] = partial(self._add_derivatives, name, grams)
        if self.tv_weight:
            terms["tv"] = total_variation(pixels)
        return terms, losses, cache

    def _terms(self, name: str, activation: Array) -> tuple[dict[str, Any], list[Array]]:
        """The losses at one activation, and each region's Gram matrix if it is of style."""
        terms: dict[str, Any] = {}
        grams: list[Array] = []
        if name in self.content_targets:
            terms[f"content {name}"] = content_loss(activation, self.content_targets[name])
        if name in self.beta:
            grams = [mean_gram(activation, guides.get(name)) for guides in self.guides]
            losses = map(style_loss, grams, [targets[name] for targets in self.style_targets])
            terms[f"style {name}"] = sum(losses)
        return terms, grams

    def _add_derivatives(
        self, name: str, grams: list[Array], activation: Array, gradient: Array | None
    ) -> Array:
        """Add the derivatives of the same terms to what arrives from deeper layers.

        All activations come out of a ReLU, or of pooling behind one: it gates their sum.
        """
        if name in self.content_targets:
            target = self.content_targets[name]
            gradient = content_loss_backward(
                activation, target, self.alpha[name], gradient, gated=False
            )
        for gram, targets, guides in zip(grams, self.style_targets, self.guides, strict=False):
            gradient = style_loss_backward(
                activation,
                gram,
                targets[name],
                self.beta[name],
                gradient,
                guides.get(name),
                gated=False,
            )
        assert gradient is not None  # every activation that is wanted has a loss
        return gradient


def weights_by_layer(
    network: Network, content_layers: Mapping[str, float], style_layers: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """w_l of content and of style, each layer by its one name; InputError if there is none."""
    if not content_layers and not style_layers:
        raise InputError("--content-layers, --style-layers: both are empty; name a layer")
    content = {network.canonical(name): w for name, w in content_layers.items()}
    style = {network.canonical(name): w for name, w in style_layers.items()}
    return content, style


def regions_of(painting: Array | Sequence[Region]) -> Sequence[Region]:
    """The regions of the photo: a painting alone is one, without a mask."""
    return [Region((Source(painting),))] if isinstance(painting, np.ndarray) else painting


def blended(region: Region, grams: Callable[[Source], Mapping[str, Array]]) -> dict[str, Array]:
    """A region's target: the Gram matrices of its paintings, sum_k blend_k A'_k / sum_k blend_k.

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


def factors(
    content: Mapping[str, float],
    style: Mapping[str, float],
    content_sizes: Mapping[str, int],
    style_targets: Sequence[Mapping[str, Array]],
    scaling: Scaling,
) -> tuple[dict[str, float], dict[str, float]]:
    """alpha_c and beta_l by layer, from the layers' weights in the units of `scaling`.

    `content_sizes` says how many numbers each content layer has, N M.
    """
    means = scaling == "means"
    alpha = {name: w * (2 / content_sizes[name] if means else 1) for name, w in content.items()}
    beta = {
        name: w * (4 / len(style_targets[0][name]) ** 2 if means else 1)
        for name, w in style.items()
    }
    return alpha, beta


def network_input(network: Network, pixels: Array) -> Array:
    """What the network is fed, (height, width, channels), from pixels that lie where it does."""
    fed = gpu.preprocess if network.is_on_gpu else preprocess
    return fed(pixels, network.channel_order, network.mean, network.scale, network.dtype)


def network_input_backward(network: Network, gradient: Array) -> Array:
    """Derivative of `network_input`: dL/dx, (height, width, 3), from dL/dz."""
    fed_backward = gpu.preprocess_backward if network.is_on_gpu else preprocess_backward
    return fed_backward(gradient, network.channel_order, network.scale)


def build_objective(
    network: Network, photo: Array, painting: Array | Sequence[Region], settings: Settings
) -> StyleObjective:
    """The objective that `settings` describe; the network is taken as it is.

    Parameters
    ----------
    network : Network
    photo, painting
        As for `StyleObjective`, already scaled.
    settings : Settings
        Layers, weights and scaling are used.
    """
    return StyleObjective(
        network,
        photo,
        painting,
        content_layers=settings.content_layers,
        style_layers=settings.style_layers,
        content_weight=settings.content_weight,
        style_weight=settings.style_weight,
        tv_weight=settings.tv_weight,
        scaling=settings.scaling,
    )
